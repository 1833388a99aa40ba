"""The carrier's door: what its stream says, and what it is told."""

from __future__ import annotations

from typing import TypeAlias

from .base import Message


class Started(Message, frozen=True, gc=False):
    """The carrier opened a stream; `parameters` are ours, with secrets already taken out.

    A second one with another `stream_id` says that a newer stream has taken the place of the first (its token
    was the newer one). The shell has admitted it, sends to it from now on, and says nothing any more of the
    first: neither its frames nor its end.
    """

    stream_id: str
    call_id: str
    account_id: str
    parameters: dict[str, str] = {}


class CallerAudio(Message, frozen=True, gc=False):
    """One frame of the caller's sound; `at_ms` is the carrier's stream clock, which does not start at 0."""

    audio: str
    size_bytes: int
    at_ms: int = 0


class MarkReached(Message, frozen=True, gc=False):
    """An echo: playout reached the mark, or a clear flushed it. Which of the two, only the ledger knows."""

    name: str


class DigitPressed(Message, frozen=True, gc=False):
    """The caller pressed a key; `HIDDEN_KEY` where a recording does not say which."""

    digit: str


class Stopped(Message, frozen=True, gc=False):
    """The carrier says that its stream is over: the caller hung up, or the call was taken elsewhere."""


CarrierEvent: TypeAlias = Started | CallerAudio | MarkReached | DigitPressed | Stopped


class PlayAudio(Message, frozen=True, gc=False):
    audio: str
    size_bytes: int


class SendMark(Message, frozen=True, gc=False):
    name: str


class ClearPlayout(Message, frozen=True, gc=False):
    """Empty the carrier's buffer: the caller stops hearing us."""


CarrierCommand: TypeAlias = PlayAudio | SendMark | ClearPlayout
