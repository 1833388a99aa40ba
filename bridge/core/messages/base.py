"""What all messages of the core are, and what a call looks like from outside."""

from __future__ import annotations

import enum

import msgspec


class Message(msgspec.Struct, frozen=True, gc=False, tag_field="is", tag=True):
    """Base of everything that enters or leaves the core."""


class Phase(enum.Enum):
    """A call as seen from outside."""

    SETUP = "setup"
    LIVE = "live"
    DRAINING = "draining"
    AWAY = "away"
    ENDED = "ended"


class Reason(enum.Enum):
    """How a call ended, in the words of its summary."""

    CALLER_HUNG_UP = "the caller hung up"
    WE_HUNG_UP = "we hung up"
    TRANSFERRED = "the call was sent on"
    HANDED_OVER = "the call was handed over to another process"
    TAKEN_OVER = "another machine has taken the call over"
    CARRIER_LOST = "the carrier's socket was lost"
    CARRIER_GIVEN_UP = "we gave the carrier's socket up"
    NO_MEDIA = "the carrier sent no media"
    UPSTREAM_LOST = "the model's socket was lost"
    UPSTREAM_UNREACHABLE = "the model could not be reached"
    UPSTREAM_REFUSED = "the model refused our configuration"
    UNCLAIMED = "the carrier never opened its stream"
    LIMIT = "a limit of this call was reached"
    SHUTDOWN = "this process is shutting down"
    BROKEN = "an internal invariant was broken"
    HANDLER_FAILED = "the handler failed"
