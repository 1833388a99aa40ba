"""Phone numbers: one way to write each, the country it is in, and which time it is there.

Needs the package `phonenumbers` (the extra `outbound`), Google's data on the numbering plans of the world.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any, Final, NamedTuple

from bridge.errors import ConfigError
from bridge.settings.values import costly, plain_number

UNKNOWN_ZONE: Final = "Etc/Unknown"
MOST_CHARACTERS: Final = 40
MISSING: Final = (
    "calls out need the package phonenumbers, which knows countries and their time: "
    "`pip install phonenumbers`"
)


class Number(NamedTuple):
    """A number as E.164. `country` is an ISO 3166 code, empty for none; `kind` says why it is never called,
    empty for an ordinary one.
    """

    e164: str
    country: str
    kind: str


class Numbers:
    """Reads numbers as people of one country write them. Raises ConfigError without `phonenumbers`."""

    def __init__(self, home: str) -> None:
        self._library, self._zones_of = _library()
        found = self._parsed(home, None)
        self.home: str = self._country(found) if found is not None else ""

    def read(self, text: str) -> Number | None:
        """The number that this text means: with + and country code, or as it is dialled at home. None for a
        text that is no number, for one with an extension, and for short numbers, emergency calls among them.
        """
        found = self._parsed(text, self.home or None)
        if found is None:
            return None
        e164 = plain_number(self._library.format_number(found, self._library.PhoneNumberFormat.E164))
        return None if e164 is None else Number(e164, self._country(found), self._kind(found, e164))

    def zones(self, e164: str) -> Sequence[str]:
        """The time zones that the number may be in, by their IANA names; none where that is unknown."""
        found = self._parsed(e164, None)
        return [] if found is None else [zone for zone in self._zones_of(found) if zone != UNKNOWN_ZONE]

    def _parsed(self, text: str, home: str | None) -> Any:
        if len(text) > MOST_CHARACTERS or not text.isascii():
            return None
        try:
            found = self._library.parse(text, home)
        except self._library.NumberParseException:
            return None
        short = home is not None and self._library.is_emergency_number(text, home)
        usable = self._library.is_possible_number(found) and not found.extension and not short
        return found if usable else None

    def _country(self, found: Any) -> str:
        library = self._library
        exact = library.region_code_for_number(found)
        code = exact or library.region_code_for_country_code(found.country_code)
        return code if len(code) == 2 and code.isalpha() and code != "ZZ" else ""

    def _kind(self, found: Any, e164: str) -> str:
        kinds = self._library.PhoneNumberType
        named = {
            kinds.PREMIUM_RATE: "premium",
            kinds.SHARED_COST: "shared cost",
            kinds.PERSONAL_NUMBER: "personal",
            kinds.PAGER: "pager",
        }
        return costly(e164) or named.get(self._library.number_type(found), "")


def _library() -> tuple[ModuleType, Callable[[Any], Sequence[str]]]:
    try:
        import phonenumbers  # noqa: PLC0415  an extra, and large
        from phonenumbers.timezone import time_zones_for_number  # noqa: PLC0415
    except ImportError as error:
        raise ConfigError(MISSING) from error
    return phonenumbers, time_zones_for_number
