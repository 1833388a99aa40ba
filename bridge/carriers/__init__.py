"""Carriers: the wire frames of a phone company, in and out of the messages of the core.

Floor 2: pure. One file a carrier, one object a call. An oddity of a carrier stays in its file.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Protocol

from bridge.codecs import AudioFormat
from bridge.core.messages import CarrierCommand, CarrierEvent

from .twilio import NOT_BASE64, Twilio


class Carrier(Protocol):
    """What the carrier leg of a call speaks. It may remember the stream's id, and nothing else."""

    @property
    def audio(self) -> AudioFormat:
        """The sound on this leg, both ways; the ledger counts in it."""
        ...

    @property
    def marks(self) -> bool:
        """Whether it echoes marks. Without, the ledger goes by the clock alone."""
        ...

    def parse(self, frame: str | bytes) -> CarrierEvent | None:
        """What a frame says, with all that it holds: a start goes through `redact` before the core may see
        it. None for a frame that says nothing to us, such as a kind that we do not know.

        `frame` is what one websocket message held: `str` of a text message, `bytes` of a binary one. Raises
        CarrierError for a frame that breaks the carrier's protocol. The object is then as it was before: the
        frame is lost, the call is not.
        """
        ...

    def write(self, command: CarrierCommand) -> str | bytes:
        """The one frame that says this. The audio of a command is trusted: each door that lets sound in has
        checked its base64. Raises BrokenInvariant before the stream has started.
        """
        ...

    @staticmethod
    def redact(frame: str | bytes) -> str:
        """The frame as it may be written down and shown to the core: no secret parameter, no phone number.
        Never raises. Anything but a start comes back as it is; what is not the carrier's protocol comes back
        elided, as `errors.elide` does it.
        """
        ...

    @staticmethod
    def hide_key(frame: str) -> str:
        """The frame with `HIDDEN_KEY` in the place of the key that was pressed, if it tells of one; any other
        as it is. Never raises.
        """
        ...


CARRIERS: Final[Mapping[str, type[Carrier]]] = {"twilio": Twilio}
"""The table: a carrier's name in settings and recordings, and what to make for each of its calls."""

__all__ = ["CARRIERS", "NOT_BASE64", "Carrier", "Twilio"]
