"""A call that is asked of the carrier, and what its API made of the request.

The API does not promise that a repeated request places no second call. So there are three answers. The third
is "unknown": the request went out and no answer can be read.

https://www.twilio.com/docs/voice/api/call-resource#create-a-call-resource
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, NamedTuple, TypeAlias

EVENTS: Final = ("initiated", "ringing", "answered", "completed")
"""Everything the carrier tells about a call; left to itself it tells of `completed` only."""


class Advice(enum.Enum):
    """What to do about a refusal. Nothing was placed, whichever it is."""

    FINAL = "do not call this number again"
    WAIT = "try again in a while"
    STOP = "stop: no call can be placed until an operator changes something"
    STOP_COUNTRY = "stop calls to this country until an operator permits it"
    FEWER = "fewer calls at once"
    BUG = "the request is wrong"


class Placed(NamedTuple):
    """The carrier has the call. It does not ring yet: the carrier says that it waits `queue_ms` first."""

    sid: str
    queue_ms: int = 0


class Refused(NamedTuple):
    """The carrier has no such call. `code` is the vendor's, 0 where it gave none."""

    status: int
    code: int
    meaning: str
    advice: Advice


class Ambiguous(NamedTuple):
    """The call may have been placed, or not: `why` there is no answer. Look before asking again."""

    why: str


Created: TypeAlias = Placed | Refused | Ambiguous


class ListedCall(NamedTuple):
    """A call as the carrier tells of it."""

    sid: str
    status: str
    created: datetime | None = None
    talk_s: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class NewCall:
    """A call to place. `url` is asked for its TwiML when it is answered. `ring_s` is how long it may ring,
    `time_limit_s` how long it may last. `send_digits` are pressed at the answer; the carrier detects no
    machine then. `ref` names the request for logs and for the carrier's header of repeated requests.
    """

    to: str
    from_: str
    url: str
    status_callback: str | None = None
    events: tuple[str, ...] = EVENTS
    amd_callback: str | None = None
    """Where the verdict of asynchronous machine detection goes; None detects nothing."""
    ring_s: int | None = None
    time_limit_s: int | None = None
    send_digits: str | None = None
    sip_user: str | None = None
    sip_password: str | None = None
    ref: str = ""

    def parameters(self) -> dict[str, Any]:
        """The arguments of the SDK's `calls.create`."""
        given: dict[str, Any] = {
            "timeout": self.ring_s,
            "time_limit": self.time_limit_s,
            "send_digits": self.send_digits,
            "sip_auth_username": self.sip_user,
            "sip_auth_password": self.sip_password,
        }
        asked = {name: value for name, value in given.items() if value is not None}
        asked |= {"to": self.to, "from_": self.from_, "url": self.url, "method": "POST"}
        if self.status_callback is not None:
            asked |= {"status_callback": self.status_callback, "status_callback_method": "POST"}
            asked["status_callback_event"] = list(self.events)
        if self.amd_callback is not None:
            # Only asynchronous detection: the other kind is seconds of silence in the person's ear.
            asked |= {"machine_detection": "DetectMessageEnd", "async_amd": "true"}
            asked |= {
                "async_amd_status_callback": self.amd_callback,
                "async_amd_status_callback_method": "POST",
            }
        return asked


MEANINGS: Final[Mapping[int, tuple[str, Advice]]] = {
    20003: ("the credentials are not accepted", Advice.STOP),
    20429: ("too many requests at once", Advice.WAIT),
    10001: ("the account is not active", Advice.STOP),
    10004: ("the account has all the calls at once that it may have", Advice.FEWER),
    13224: ("the number cannot be dialled", Advice.FINAL),
    14111: ("a trial account only calls numbers that it has verified", Advice.STOP),
    21201: ("there is no number to call", Advice.FINAL),
    21205: ("a URL of the request is not valid", Advice.BUG),
    21210: ("the number to call from is not verified", Advice.STOP),
    21211: ("the number to call is not valid", Advice.FINAL),
    21212: ("the number to call from is not valid", Advice.STOP),
    21213: ("there is no number to call from", Advice.STOP),
    21214: ("the number to call cannot be reached", Advice.FINAL),
    21215: ("the account may not call this country", Advice.STOP_COUNTRY),
    21216: ("the carrier blocks calls to this number, or the account lacks a customer profile", Advice.STOP),
    21217: ("the number to call is not in a form that can be dialled", Advice.FINAL),
    21219: ("a trial account only calls numbers that it has verified", Advice.STOP),
    21262: ("machine detection has no address for its verdict", Advice.BUG),
    22005: ("the call would wait in the carrier's queue for more than a day", Advice.STOP),
    573002: ("a trial account calls from the number that was given to it", Advice.STOP),
    573005: ("a trial account only calls numbers that it has verified", Advice.STOP),
}


def refusal(status: int, code: int) -> Refused:
    """What an error of the API means. `status` is 400 to 499."""
    if code in MEANINGS:
        return Refused(status, code, *MEANINGS[code])
    match status:
        case 401 | 403:
            return Refused(status, code, "the credentials are not accepted", Advice.STOP)
        case 404:
            return Refused(status, code, "the carrier knows no such account", Advice.STOP)
        case 429:
            return Refused(status, code, "too many requests at once", Advice.WAIT)
    return Refused(status, code, "the carrier refuses the request", Advice.BUG)


NO_CREDENTIALS: Final = Refused(0, 0, "there are no credentials for the carrier's API", Advice.STOP)
NOT_REACHED: Final = Refused(0, 0, "the carrier's API cannot be reached", Advice.WAIT)
