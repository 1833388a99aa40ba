"""What only some upstreams say or are told: a model that listens and speaks at once, on one timeline.

Times are milliseconds of that timeline, which begins at 0 with each session (`epoch`) and goes on with the
caller audio that was appended.
"""

from __future__ import annotations

from .base import Message
from .usage import Usage


class StreamAudio(Message, frozen=True, gc=False):
    """The next piece of the one stream of sound that a session sends, silence included: blocks of 20 ms that
    are all `loud`, or all not. `audio` is base64 of `size_bytes` bytes of the phone's sound. `faint`: it is
    no silence, and yet cannot be heard (`codecs.audible` says when).
    """

    audio: str
    size_bytes: int
    loud: bool
    epoch: int = 1
    faint: bool = False


class Fragment(Message, frozen=True, gc=False):
    """Words between two moments of the session's timeline, as they are: spaces belong to them. `role` is user
    (the caller) or assistant (the model, which need not have been heard).
    """

    role: str
    text: str
    start_ms: int
    end_ms: int
    epoch: int = 1


class Delegated(Message, frozen=True, gc=False):
    """The model has handed work over. `target` is client (we do it, and answer with `TellModel` whose
    `delegation` is this `id`) or responses (a backend of the vendor's does it, and calls our tools:
    `ToolCalled`). `offset_ms` is the moment of the timeline at which it did.
    """

    id: str
    target: str
    offset_ms: int = 0
    epoch: int = 1


class BackendDone(Message, frozen=True, gc=False):
    """A response of the vendor's backend is over; `id` is that response's. `failed`: its tool calls are void,
    and no result is taken for them. `usage` None where it is unknown.
    """

    id: str
    failed: bool = False
    usage: Usage | None = None
    why: str = ""
    epoch: int = 1


class Accepted(Message, frozen=True, gc=False):
    """What we told the model is in its context now, not spoken yet. `about` is that of the `TellModel`."""

    about: str
    epoch: int = 1


class TellModel(Message, frozen=True, gc=False):
    """Tell a model that has no items something. `kind` is rule (to be obeyed from now on), fact (to be known)
    or say (to be said, in its own words). `about` says what it was about, and comes back in `Accepted` or
    `UpstreamFaulted`; `delegation` is the id of the `Delegated` that it answers, "" for none.
    """

    kind: str
    text: str
    about: str = ""
    delegation: str = ""
    epoch: int = 1


class ContinueBackend(Message, frozen=True, gc=False):
    """All tool calls of the backend have their results: it may go on."""

    epoch: int = 1


class MuteInput(Message, frozen=True, gc=False):
    """The model hears silence from now on (`on`), or the caller again."""

    on: bool
    epoch: int = 1


class CloseSession(Message, frozen=True, gc=False):
    """End the session in the vendor's own way, so that it tells the final usage; `CloseUpstream` follows."""

    epoch: int = 1
