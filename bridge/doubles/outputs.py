"""What an output item streams while it is open: spoken, written, or the arguments of a call."""

from __future__ import annotations

import re
from base64 import b64encode
from typing import Any, Protocol

from .items import Item

WORD = re.compile(r"\s*\S+\s*")


class Emit(Protocol):
    """Sends one event."""

    def __call__(self, kind: str, /, **fields: Any) -> None: ...


class Utterance:
    """Sound with its transcript, in deltas; it comes by `add`. `size_bytes` is how much the next one takes.

    The words run a little ahead of the sound, or `ahead_bytes`. Nothing ties the two: so it is on the wire.
    """

    def __init__(self, emit: Emit, location: dict[str, Any], item: Item, ahead_bytes: int = 0) -> None:
        self.size_bytes = 0
        self.item = item
        self.output_index: int = location["output_index"]
        self._emit = emit
        self._location = {**location, "content_index": 0}
        self._ahead_bytes = ahead_bytes
        self._words: list[str] = []
        self._said = 0
        self._sound = b""
        self._sent_bytes = 0
        self._part = (0, 0)
        """Words and bytes before those that were added last."""

    @property
    def left_bytes(self) -> int:
        """Sound not sent yet."""
        return len(self._sound) - self._sent_bytes

    @property
    def end_byte(self) -> int:
        """Where the next delta will end."""
        return min(self._sent_bytes + self.size_bytes, len(self._sound))

    def add(self, text: str, sound: bytes) -> None:
        """More words with their sound; all before them has left."""
        self._part = (len(self._words), len(self._sound))
        self._words += WORD.findall(text)
        self._sound += sound

    def open(self) -> None:
        self.item.fields["content"] = [{"type": "output_audio", "transcript": ""}]
        part = {"type": "audio", "transcript": ""}
        self._emit("response.content_part.added", **self._location, part=part)

    def say(self) -> None:
        """The next delta of each."""
        start, end = self._sent_bytes, self.end_byte
        first, before = self._part
        ran = min(end + self._ahead_bytes, len(self._sound)) - before
        said = first - (-(len(self._words) - first) * ran // (len(self._sound) - before))
        if words := "".join(self._words[self._said : said]):
            self._emit("response.output_audio_transcript.delta", **self._location, delta=words)
        self._emit(
            "response.output_audio.delta", **self._location, delta=b64encode(self._sound[start:end]).decode()
        )
        self._said, self._sent_bytes = said, end
        if self.item.truncated_ms is None:
            self.item.sent_bytes = end
            self.item.fields["content"] = [{"type": "output_audio", "transcript": self._transcript}]

    def close(self) -> None:
        self._emit("response.output_audio.done", **self._location)
        self._emit("response.output_audio_transcript.done", **self._location, transcript=self._transcript)
        part = {"type": "audio", "transcript": self._transcript}
        self._emit("response.content_part.done", **self._location, part=part)

    @property
    def _transcript(self) -> str:
        return "".join(self._words[: self._said])


class Writing:
    """Text, where the response has no sound."""

    def __init__(self, emit: Emit, location: dict[str, Any], item: Item, text: str) -> None:
        self.item = item
        self.output_index: int = location["output_index"]
        self._emit = emit
        self._location = {**location, "content_index": 0}
        self._text = text

    def write(self) -> None:
        self._emit("response.content_part.added", **self._location, part={"type": "text", "text": ""})
        for word in WORD.findall(self._text):
            self._emit("response.output_text.delta", **self._location, delta=word)
        self.item.fields["content"] = [{"type": "output_text", "text": self._text}]

    def close(self) -> None:
        self._emit("response.output_text.done", **self._location, text=self._text)
        part = {"type": "text", "text": self._text}
        self._emit("response.content_part.done", **self._location, part=part)


class Calling:
    """The arguments of a function call. Cut off, they are no JSON."""

    def __init__(self, emit: Emit, location: dict[str, Any], item: Item) -> None:
        self.item = item
        self.output_index: int = location["output_index"]
        self._emit = emit
        self._location = location

    def write(self, arguments: str) -> None:
        fields = self.item.fields
        fields["arguments"] += arguments
        if arguments:
            call_id = fields["call_id"]
            kind = "response.function_call_arguments.delta"
            self._emit(kind, **self._location, call_id=call_id, delta=arguments)

    def close(self) -> None:
        self._emit("response.function_call_arguments.done", **self._location, **self.item.fields)
