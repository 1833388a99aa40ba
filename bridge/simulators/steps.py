"""What happens to a leg, in words, and what interrupts it."""

from __future__ import annotations

import enum
import xml.etree.ElementTree as ET
from dataclasses import dataclass
from typing import Final, NamedTuple

FINAL: Final = frozenset({"completed", "busy", "failed", "no-answer", "canceled"})
"""Statuses of a call that is over."""


class Kind(enum.StrEnum):
    """What a caller lives through, in one word."""

    ASKED = "asked"
    STREAM = "stream"
    STREAM_OVER = "stream over"
    STREAM_REFUSED = "stream refused"
    SAID = "said"
    PLAYED = "played"
    PAUSE = "pause"
    GATHERED = "gathered"
    RECORDED = "recorded"
    DIALLED = "dialled"
    QUEUED = "queued"
    CONFERENCE = "conference"
    REFERRED = "referred"
    HUNG_UP = "hung up"
    ENDED_BY_REST = "ended by REST"
    SENT_ON_BY_REST = "sent on by REST"
    REJECTED = "rejected"
    TIME_LIMIT = "time limit"
    CALLER_LEFT = "the caller hung up"
    DISMISSED = "the other leg ended"
    FAILED = "failed"


class Step(NamedTuple):
    """One thing that happened to the caller, `at_ms` real milliseconds after they dialled."""

    at_ms: int
    kind: Kind
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Order:
    """What interrupts the verb that runs: the person hangs up, or REST completes the call or redirects it.
    `url` and `method` where the new document has to be fetched first.
    """

    kind: Kind
    document: ET.Element | None = None
    url: str | None = None
    method: str = "POST"


class CallOver(Exception):
    """There is nothing more to follow."""
