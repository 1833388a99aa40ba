"""A phone number as the carrier has it, and in words where it leads.

https://www.twilio.com/docs/phone-numbers/api/incomingphonenumber-resource
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

FIELDS: Final = (
    "voice_url",
    "voice_method",
    "voice_fallback_url",
    "voice_fallback_method",
    "status_callback",
    "status_callback_method",
    "voice_application_sid",
    "trunk_sid",
    "voice_receive_mode",
)
"""The fields that decide where a call goes. An empty one decides nothing."""
_TUNNELS: Final = (
    ".ngrok.io", ".ngrok.app", ".ngrok.dev", ".ngrok-free.app", ".ngrok-free.dev", ".trycloudflare.com",
    ".loca.lt", ".localhost.run", ".lhr.life", ".serveo.net", ".devtunnels.ms", ".tunnelmole.net", ".ts.net",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class PhoneNumber:
    """One number. `application` and `trunk` say by name what comes before its webhook, "" where none does."""

    sid: str
    number: str
    account_sid: str
    fields: Mapping[str, str]
    application: str = ""
    application_url: str = ""
    trunk: str = ""
    has_voice: bool = True
    looks_up_names: bool = False

    @classmethod
    def of(cls, found: Any, **more: str) -> PhoneNumber:
        """Of what the SDK returns."""
        capabilities = getattr(found, "capabilities", None)
        voice = capabilities.get("voice", True) if isinstance(capabilities, Mapping) else True
        return cls(
            str(found.sid),
            str(found.phone_number),
            str(found.account_sid or ""),
            {name: str(getattr(found, name, None) or "") for name in FIELDS},
            has_voice=bool(voice),
            looks_up_names=bool(getattr(found, "voice_caller_id_lookup", False)),
            **more,
        )

    @property
    def leads_to(self) -> str:
        """The address that is asked about a call; "" where a trunk takes it, or nothing does."""
        if self.fields["trunk_sid"]:
            return ""
        return self.application_url if self.fields["voice_application_sid"] else self.fields["voice_url"]

    def leads_here(self, incoming_call: str) -> bool:
        """Whether its own webhook is that address."""
        taken = self.fields["trunk_sid"] or self.fields["voice_application_sid"]
        return not taken and plain(self.fields["voice_url"]) == plain(incoming_call)

    @property
    def handler(self) -> str:
        """In words, what answers a call."""
        if self.fields["trunk_sid"]:
            return f"the SIP trunk {self.trunk or self.fields['trunk_sid']}"
        if self.fields["voice_application_sid"]:
            name = self.application or self.fields["voice_application_sid"]
            return f"the TwiML application {name}: {plain(self.application_url)}"
        return plain(self.fields["voice_url"]) if self.fields["voice_url"] else "nothing"


def plain(url: str | None) -> str:
    """A URL without what may be secret in it, or does not change whom it leads to: user and password, query,
    the usual port, and what Twilio, "Connection overrides", keeps behind a #.
    """
    if not url:
        return "not set"
    try:
        parts = urlsplit(url)
        usual = {"https": 443, "http": 80}.get(parts.scheme)
        port = "" if parts.port in (None, usual) else f":{parts.port}"
    except ValueError:
        return "no URL at all"
    return f"{parts.scheme}://{parts.hostname}{port}{parts.path}"


def host(url: str) -> str:
    """The host of a URL, "" for none."""
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""


def is_tunnel(url: str) -> bool:
    """Whether the host is one of the well-known tunnels: it is gone when its program ends."""
    return f".{host(url)}".endswith(_TUNNELS)
