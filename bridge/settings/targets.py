"""Where a call can be sent: a number, a number with an extension, or a SIP address.

A target is written in one line, which is how settings keep it:

    +15550100001                    a number, E.164
    +15550100001;ext=ww204          keys that are pressed when it answers: `w` waits half a second
    sip:desk@pbx.example.com        a SIP address; what proves us to its host stands in its own setting

https://www.twilio.com/docs/voice/twiml/number#attributes-sendDigits and .../voice/twiml/sip
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from pydantic import SecretStr

EXTENSION: Final = ";ext="
_KEYS: Final = re.compile(r"[0-9*#ABCDwW]{1,32}")
# RFC 3261, 25.1, without what needs an escape: a user, a host or an address of four numbers, a port, and
# parameters like `transport=tls`.
_SIP: Final = re.compile(
    r"(?P<scheme>sips?):(?P<user>[A-Za-z0-9_.!~*'()&=+$/-]{1,64})@"
    r"(?P<host>[A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?)(?P<port>:[0-9]{1,5})?"
    r"(?P<parameters>(;[a-z0-9-]{1,32}(=[A-Za-z0-9._-]{1,64})?){0,8})"
)
MOST_CHARS: Final = 255


class SipLogin(NamedTuple):
    """What proves us to a SIP host."""

    user: str
    password: SecretStr


class Target(NamedTuple):
    """A number or a SIP address, the keys that are pressed when it answers, and what proves us there."""

    address: str
    keys: str = ""
    login: SipLogin | None = None

    @classmethod
    def of(cls, text: str) -> Target:
        """Of a line that settings have read."""
        if is_sip(text):
            return cls(text)
        address, _, keys = text.partition(EXTENSION)
        return cls(address, keys)

    @property
    def sip(self) -> bool:
        """Whether it is a SIP address."""
        return is_sip(self.address)

    @property
    def host(self) -> str:
        """The host of a SIP address, in lower case; "" of a number."""
        found = _SIP.fullmatch(self.address)
        return "" if found is None else found["host"].lower()


def is_sip(text: str) -> bool:
    """Whether this line means a SIP address, good or bad."""
    return text[:5].lower().startswith(("sip:", "sips:"))


def sip_address(text: str) -> str | None:
    """The address with its scheme in lower case; None if `text` is not a SIP address."""
    scheme, _, rest = text.partition(":")
    whole = f"{scheme.lower()}:{rest}"
    return whole if len(whole) <= MOST_CHARS and _SIP.fullmatch(whole) else None


def extension_keys(text: str) -> str | None:
    """The keys of an extension; None for what holds another character than `0-9*#ABCDw`, or more than 32."""
    return text.replace("W", "w") if _KEYS.fullmatch(text) else None
