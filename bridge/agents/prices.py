"""Money: what the tokens of a call cost, by a dated table (`prices.toml`).

Sums are exact (`Decimal`, US dollars). What has no price, or no figures from the vendor, is never guessed: it
is left out of the sum, and the sum says that it is not complete.
"""

from __future__ import annotations

import datetime as dt
import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any, Final

from bridge.core.messages import Usage
from bridge.errors import ConfigError

TABLE: Final = Path(__file__).with_name("prices.toml")
_MILLION: Final = 1_000_000
_KINDS: Final = ("text", "audio", "image")
TIMES: Final = ("minute", "session_minute", "sound_second")
OPENAI: Final = "openai"
"""The vendor of an entry that names none."""
# A snapshot costs what its model costs: gpt-realtime-mini-2025-12-15.
_SNAPSHOT: Final = re.compile(r"-\d{4}-\d{2}-\d{2}$")


@dataclass(frozen=True, slots=True)
class Rate:
    """Dollars for a million tokens of one kind; None: no price is known. Cached input without a price of its
    own costs what any input costs.
    """

    into: Decimal | None = None
    cached: Decimal | None = None
    out: Decimal | None = None


_NOTHING: Final = Rate(Decimal(0), Decimal(0), Decimal(0))


@dataclass(frozen=True, slots=True)
class Price:
    """What one model costs at one vendor from the day `since` on, in dollars.

    `minute` is for a minute of sound, of a model that transcribes; `session_minute` for each minute that a
    session is open; `sound_second` for each second of sound that the vendor bills. Where one of the last two
    is given, `text`, `audio` and `image` are for the tokens that are billed besides, if any are.
    """

    model: str
    since: dt.date
    text: Rate = Rate()
    audio: Rate = Rate()
    image: Rate = Rate()
    minute: Decimal | None = None
    session_minute: Decimal | None = None
    sound_second: Decimal | None = None
    vendor: str = OPENAI

    @property
    def by_time(self) -> bool:
        """Whether time is what is sold."""
        return self.session_minute is not None or self.sound_second is not None

    def of_tokens(self, usage: Usage) -> Decimal | None:
        """What these tokens cost; None if some of them have no price.

        Costs guide: every response reads the whole conversation again, and `cached_*` is a subset of the
        input count: it is taken out of that before the rest is priced.
        """
        total = Decimal(0)
        for kind in _KINDS:
            rate: Rate = getattr(self, kind)
            into = getattr(usage, f"{kind}_in")
            cached = min(getattr(usage, f"cached_{kind}"), into)
            out = getattr(usage, f"{kind}_out", 0)
            cached_rate = rate.into if rate.cached is None else rate.cached
            for tokens, dollars in ((into - cached, rate.into), (cached, cached_rate), (out, rate.out)):
                if not tokens:
                    continue
                if dollars is None and not self.by_time:
                    return None
                total += tokens * (dollars or 0)
        return total / _MILLION

    def of_sound(self, seconds: float) -> Decimal | None:
        """What transcribing so much sound costs; None if the model is not sold by the minute."""
        return None if self.minute is None else self.minute * Decimal(str(seconds)) / 60

    def of_session(self, seconds: float) -> Decimal | None:
        """What so many billed seconds of a session cost; None if time is not what is sold."""
        if not self.by_time:
            return None
        a_second = (self.session_minute or 0) / Decimal(60) + (self.sound_second or 0)
        return a_second * Decimal(str(seconds))


class Prices:
    """A price table. `of(model, day, vendor)` is what that vendor asks for a model on a day, None if there is
    none.
    """

    def __init__(self, entries: Iterable[Price], *, free: bool = False) -> None:
        self._free = free
        self._by_model: dict[tuple[str, str], list[Price]] = {}
        for entry in entries:
            self._by_model.setdefault((entry.vendor, entry.model), []).append(entry)
        for listed in self._by_model.values():
            listed.sort(key=lambda entry: entry.since)

    @classmethod
    def load(cls, path: Path | None = None) -> Prices:
        """The bundled table, and before it the one in that file (BRIDGE_PRICES): a model that it lists has
        its prices from there alone. Raises ConfigError for a file that cannot be read.
        """
        ours = _read(TABLE)
        if path is None:
            return cls(ours)
        theirs = _read(path)
        replaced = {(entry.vendor, entry.model) for entry in theirs}
        kept = (entry for entry in ours if (entry.vendor, entry.model) not in replaced)
        return cls([*theirs, *kept])

    @classmethod
    def free(cls) -> Prices:
        """No model costs anything: what a rehearsal uses, whatever the model is called."""
        return cls((), free=True)

    def of(self, model: str, day: dt.date, vendor: str = OPENAI) -> Price | None:
        if self._free:
            return Price(model, dt.date.min, _NOTHING, _NOTHING, _NOTHING, Decimal(0))
        named = (model, _SNAPSHOT.sub("", model))
        listed = next((found for one in named if (found := self._by_model.get((vendor, one)))), [])
        return next((entry for entry in reversed(listed) if entry.since <= day), None)


@dataclass(frozen=True, slots=True)
class Cost:
    """Money spent so far. `complete` is false when something in it could not be priced: a response without
    figures (cancelled, failed), or a model that the table does not have. Then the truth is more than `usd`.
    """

    usd: Decimal = Decimal(0)
    complete: bool = True

    def plus(self, usd: Decimal | None) -> Cost:
        """The sum with one more item; None stands for an item without a known price."""
        return Cost(self.usd, False) if usd is None else Cost(self.usd + usd, self.complete)


class Bill:
    """What one call has cost: fed with the usage of each response and each transcription, priced by the
    table as of one day. `cost` is the sum so far, `usage` the tokens of all responses.
    """

    def __init__(
        self, prices: Prices, model: str, transcription: str | None, day: dt.date, vendor: str = OPENAI
    ) -> None:
        self._model = prices.of(model, day, vendor)
        self._transcription = None if transcription is None else prices.of(transcription, day, vendor)
        self.cost = Cost()
        self.usage = Usage()

    def response(self, usage: Usage | None) -> None:
        """A response ended with this usage; None if the vendor gave no figures."""
        if usage is not None:
            sums = {
                name: getattr(self.usage, name) + getattr(usage, name) for name in usage.__struct_fields__
            }
            self.usage = Usage(**sums)
        elif self._model is not None and self._model.by_time:
            return  # its tokens are not what is sold
        priced = None if usage is None or self._model is None else self._model.of_tokens(usage)
        self.cost = self.cost.plus(priced)

    def seconds(self, seconds: float) -> None:
        """The vendor has counted so many more seconds of its session."""
        priced = None if self._model is None else self._model.of_session(seconds)
        self.cost = self.cost.plus(priced)

    def elsewhere(self) -> None:
        """The call goes on with another vendor, whose prices are not these: the sum is not complete from the
        next item on. The call's limit of money knows all prices.
        """
        self._model = self._transcription = None

    def transcription(self, seconds: float, usage: Usage | None) -> None:
        """A turn was transcribed; billed by `seconds` or by `usage`, as the vendor says. Neither: nothing."""
        if not seconds and usage is None:
            return
        price = self._transcription
        if price is None:
            self.cost = self.cost.plus(None)
        elif usage is not None:
            self.cost = self.cost.plus(price.of_tokens(usage))
        else:
            self.cost = self.cost.plus(price.of_sound(seconds))


def _read(path: Path) -> list[Price]:
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError, RecursionError) as error:
        raise ConfigError(f"{path} cannot be read as a price table: {error}") from error
    entries = table.get("price")
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise ConfigError(f"{path} is no price table: it has no [[price]] entries")
    return [_price(entry, f"{path}, price {number}") for number, entry in enumerate(entries, start=1)]


def _price(entry: Mapping[str, Any], where: str) -> Price:
    unknown = entry.keys() - {"model", "vendor", "since", *TIMES, *_KINDS}
    if unknown:
        raise ConfigError(f"{where}: there is no {', '.join(sorted(unknown))}")
    model, since = entry.get("model"), entry.get("since", dt.date.min)
    if not isinstance(model, str) or not model:
        raise ConfigError(f"{where}: which model is it?")
    if type(since) is not dt.date:
        raise ConfigError(f"{where}: since is a date, as in 2026-11-20")
    vendor = entry.get("vendor", OPENAI)
    if not isinstance(vendor, str) or not vendor:
        raise ConfigError(f"{where}: vendor is a name, as in BRIDGE_UPSTREAM")
    named: dict[str, Any] = {kind: _rate(entry[kind], f"{where}, {kind}") for kind in _KINDS if kind in entry}
    named |= {name: _dollars(entry[name], f"{where}, {name}") for name in TIMES if name in entry}
    return Price(model, since, vendor=vendor, **named)


def _rate(entry: Any, where: str) -> Rate:
    if not isinstance(entry, dict) or entry.keys() - {"in", "cached", "out"}:
        raise ConfigError(f"{where}: it has in, cached and out, and nothing else")
    known = {name: _dollars(value, f"{where}, {name}") for name, value in entry.items()}
    return Rate(known.get("in"), known.get("cached"), known.get("out"))


def _dollars(value: Any, where: str) -> Decimal:
    """Written as text, so that 0.40 stays 0.40; whole and decimal numbers are taken too."""
    try:
        dollars = Decimal(str(value))
    except InvalidOperation:
        dollars = Decimal("NaN")
    if isinstance(value, bool) or not dollars.is_finite() or dollars < 0:
        raise ConfigError(f"{where}: dollars are a number of 0 or more, not {value!r}")
    return dollars
