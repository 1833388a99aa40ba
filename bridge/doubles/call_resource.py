"""The Call resource of the carrier's REST API: what may be asked of it, and what is answered.

https://www.twilio.com/docs/voice/api/call-resource
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

Form = Mapping[str, Sequence[str]]
"""A form as it came: a name may come more than once."""

CREATE: Final = frozenset({
    "To", "From", "Method", "FallbackUrl", "FallbackMethod", "StatusCallback", "StatusCallbackEvent",
    "StatusCallbackMethod", "SendDigits", "Timeout", "Record", "RecordingChannels",
    "RecordingStatusCallback", "RecordingStatusCallbackMethod", "RecordingConfigurationId",
    "SipAuthUsername", "SipAuthPassword", "MachineDetection", "MachineDetectionTimeout",
    "RecordingStatusCallbackEvent", "Trim", "CallerId", "MachineDetectionSpeechThreshold",
    "MachineDetectionSpeechEndThreshold", "MachineDetectionSilenceTimeout", "AsyncAmd",
    "AsyncAmdStatusCallback", "AsyncAmdStatusCallbackMethod", "Passports", "Byoc", "CallReason", "CallToken",
    "RecordingTrack", "TimeLimit", "ClientNotificationUrl", "Url", "Twiml", "ApplicationSid",
})  # fmt: skip
"""The parameters of `twilio` 9.13.0's `calls.create`."""
UPDATE: Final = frozenset({
    "Url", "Method", "Status", "FallbackUrl", "FallbackMethod", "StatusCallback", "StatusCallbackMethod",
    "Twiml", "TimeLimit",
})  # fmt: skip
MOST_TWIML: Final = 4_000
_E164: Final = re.compile(r"\+[1-9]\d{1,14}")
_URL: Final = re.compile(r"(?:https?|wss?)://[^/?#]+", re.IGNORECASE)
_DIGITS: Final = re.compile(r"[0-9*#ABCDwW]{1,32}")
_RANGES: Final = {
    "Timeout": (1, 600),
    "TimeLimit": (1, 86_400),
    "MachineDetectionTimeout": (3, 59),
    "MachineDetectionSpeechThreshold": (1_000, 6_000),
    "MachineDetectionSpeechEndThreshold": (500, 5_000),
    "MachineDetectionSilenceTimeout": (2_000, 10_000),
}
_WORDS: Final = {
    "MachineDetection": {"Enable", "DetectMessageEnd"},
    "AsyncAmd": {"true", "false"},
    "Record": {"true", "false"},
    "StatusCallbackEvent": {"initiated", "ringing", "answered", "completed"},
}
_METHODS: Final = {"GET", "POST"}


class Refused(NamedTuple):
    """Why a request is not done: the vendor's error code, and words."""

    code: int
    message: str


def refused_create(form: Form) -> Refused | None:
    """What is wrong with a `POST Calls.json`, None if nothing is."""
    if unknown := sorted(set(form) - CREATE):
        return Refused(20001, f"Unknown parameters: {', '.join(unknown)}")
    given = {name: values[-1] for name, values in form.items()}
    to, from_ = given.get("To", ""), given.get("From", "")
    if not to:
        return Refused(21201, "No 'To' number is specified")
    if not from_:
        return Refused(21213, "From phone number is required")
    if not is_called(to):
        return Refused(21211, f"Invalid 'To' Phone Number: {to}")
    if not is_called(from_):
        return Refused(21212, f"Invalid From Number (caller ID): {from_}")
    if not {"Url", "Twiml", "ApplicationSid"} & set(given):
        return Refused(21205, "Url parameter is required")
    if len(given.get("Twiml", "")) > MOST_TWIML:
        return Refused(32018, f"Twiml has more than {MOST_TWIML} characters")
    return _refused_values(form) or _refused_urls(given)


def _refused_values(form: Form) -> Refused | None:
    for name, values in form.items():
        for value in values:
            if name in _RANGES:
                least, most = _RANGES[name]
                if not value.isdigit() or not least <= int(value) <= most:
                    return Refused(20001, f"{name} is {value}")
            if name in _WORDS and value not in _WORDS[name]:
                return Refused(21626 if name == "StatusCallbackEvent" else 20001, f"{name} is {value}")
            if name.endswith("Method") and value not in _METHODS:
                return Refused(21403, f"{name} is {value}")
            if name == "SendDigits" and not _DIGITS.fullmatch(value):
                return Refused(20001, f"SendDigits is {value}")
    return None


def _refused_urls(given: Mapping[str, str]) -> Refused | None:
    for name in ("Url", "FallbackUrl", "StatusCallback", "AsyncAmdStatusCallback"):
        url = given.get(name, "")
        if url and not _URL.match(url):
            return Refused(21205 if name == "Url" else 21609, f"{name} is not a valid URL: {url}")
    if "_" in re.sub(r".*?://([^/:?#]*).*", r"\1", given.get("StatusCallback", "")):
        return Refused(21609, "StatusCallback: a host name has no underscore")
    return None


def is_called(address: str) -> bool:
    """Whether that can be dialled: E.164, `sip:…` or `client:…`."""
    return bool(_E164.fullmatch(address)) or address.startswith(("sip:", "sips:", "client:"))


@dataclass(frozen=True)
class CallFacts:
    """What is known of a call. Dates are RFC 2822; None for what has not happened."""

    sid: str
    account_sid: str
    to: str
    from_: str
    status: str
    direction: str
    date_created: str
    parent_call_sid: str | None = None
    start_time: str | None = None
    end_time: str | None = None
    duration_s: int | None = None
    answered_by: str | None = None
    queue_time_ms: int = 0
    phone_number_sid: str | None = None


def call_json(facts: CallFacts) -> dict[str, Any]:
    """A Call as the API gives it."""
    uri = f"/2010-04-01/Accounts/{facts.account_sid}/Calls/{facts.sid}"
    parts = {
        "notifications": "Notifications", "recordings": "Recordings", "payments": "Payments",
        "events": "Events", "siprec": "Siprec", "streams": "Streams", "transcriptions": "Transcriptions",
        "user_defined_message_subscriptions": "UserDefinedMessageSubscriptions",
        "user_defined_messages": "UserDefinedMessages",
    }  # fmt: skip
    return {
        "sid": facts.sid, "account_sid": facts.account_sid, "parent_call_sid": facts.parent_call_sid,
        "to": facts.to, "to_formatted": facts.to, "from": facts.from_, "from_formatted": facts.from_,
        "phone_number_sid": facts.phone_number_sid, "status": facts.status, "direction": facts.direction,
        "date_created": facts.date_created, "date_updated": facts.end_time or facts.date_created,
        "start_time": facts.start_time, "end_time": facts.end_time,
        "duration": None if facts.duration_s is None else str(facts.duration_s),
        "price": None, "price_unit": "USD", "answered_by": facts.answered_by, "api_version": "2010-04-01",
        "annotation": None, "forwarded_from": None, "group_sid": None, "caller_name": None,
        "queue_time": str(facts.queue_time_ms), "trunk_sid": None, "uri": f"{uri}.json",
        "subresource_uris": {name: f"{uri}/{part}.json" for name, part in parts.items()},
    }  # fmt: skip


def page_json(name: str, entries: Sequence[Mapping[str, Any]], uri: str, query: PageQuery) -> dict[str, Any]:
    """One page of a list, as every list of the 2010 API gives it."""
    first = query.page * query.page_size
    shown = entries[first : first + query.page_size]
    more = len(entries) > first + query.page_size
    link = f"{uri}?PageSize={query.page_size}&Page="
    return {
        name: list(shown), "page": query.page, "page_size": query.page_size, "start": first,
        "end": first + max(0, len(shown) - 1), "uri": f"{link}{query.page}", "first_page_uri": f"{link}0",
        "previous_page_uri": f"{link}{query.page - 1}" if query.page else None,
        "next_page_uri": f"{link}{query.page + 1}" if more else None,
    }  # fmt: skip


class PageQuery(NamedTuple):
    """Which page: counted from 0."""

    page: int = 0
    page_size: int = 50

    @classmethod
    def of(cls, query: Mapping[str, str]) -> PageQuery:
        """From a query; what is no number counts as absent."""
        page, size = query.get("Page", ""), query.get("PageSize", "")
        page_size = min(1_000, max(1, int(size))) if size.isdigit() else 50
        return cls(int(page) if page.isdigit() else 0, page_size)


def error_json(status: int, code: int, message: str) -> dict[str, Any]:
    """An error's body."""
    more = f"https://www.twilio.com/docs/errors/{code}"
    return {"code": code, "message": message, "more_info": more, "status": status}
