"""Upstreams: the wire events of a realtime speech model, in and out of the messages of the core.

Floor 2: pure. `realtime.py` is the dialect that OpenAI coined and most others imitate; one file a vendor says
what is its own: where to dial, how to say who we are, and the session it is configured with.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Protocol

from bridge.core.messages import SessionConfig, UpstreamCommand, UpstreamEvent

from .dial import Dial
from .openai import OpenAI, embedded


class Upstream(Protocol):
    """One upstream session of a call: what it is dialled with, and what is spoken there."""

    def dial(self, config: SessionConfig) -> Dial:
        """Where this session is to be had; the shell adds the key. Raises ConfigError for a configuration
        that cannot be sent: a call dials before anything else, so this is the earliest look at it. To check
        settings at start, dial and throw the answer away.
        """
        ...

    def parse(self, frame: str | bytes) -> UpstreamEvent | None:
        """What a frame says, stamped with this session's epoch; None for one that says nothing to us, such as
        a kind that we do not know. Raises UpstreamError for a frame that breaks the protocol: that frame is
        lost, the call is not.
        """
        ...

    def write(self, command: UpstreamCommand) -> str | bytes:
        """The one frame that says this. Each has an event id that says what it was about
        (`truncate:item_7`): a fault that it causes names it in `about`. The audio of an AppendAudio is
        trusted: the door that let it in has checked its base64. The words of a SendVendorEvent are the
        user's, and go as they are.
        """
        ...

    def append(self, audio: str) -> str | bytes:
        """What `write` makes of an AppendAudio, without the object: it is asked for fifty times a second."""
        ...


class Vendor(Protocol):
    """Makes the `Upstream` of one session. `epoch` numbers a call's sessions from 1; `url` is a base
    websocket URL in place of the vendor's, None for the vendor's own.
    """

    def __call__(self, epoch: int = 1, url: str | None = None) -> Upstream: ...


UPSTREAMS: Final[Mapping[str, Vendor]] = {"openai": OpenAI, "embedded": embedded, "parrot": embedded}
"""The table: an upstream's name in settings, and what to make for each session of a call."""

REHEARSALS: Final = frozenset({"embedded", "parrot"})
"""Upstreams of our own, without a model: the front desk, and the parrot. They speak every provider's dialect,
and cost nothing.
"""

__all__ = ["REHEARSALS", "UPSTREAMS", "Dial", "OpenAI", "Upstream", "Vendor"]
