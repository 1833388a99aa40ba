"""The caller's side of a session: appended sound becomes turns, turns become items, items get transcripts."""

from __future__ import annotations

import binascii
import functools
import itertools
from collections.abc import Callable
from typing import Any, Final, Protocol

from .ears import Listening, Words
from .faults import Fault
from .formats import Ear
from .items import Conversation, Item
from .options import ServerOptions
from .outputs import WORD
from .session import Session
from .turns import BYTES_PER_MS, Heard, InputBuffer, TurnStarted
from .usage import CALLER_MS_PER_TOKEN

MIN_COMMIT_MS: Final = 100
MAX_APPEND_CHARACTERS: Final = 20 * 1024 * 1024
""""input_audio_buffer.append": at most 15 MiB of audio, here as base64."""


class Host(Protocol):
    """What listening needs of the server it belongs to."""

    options: ServerOptions
    conversation: Conversation
    session: Session

    def emit(self, kind: str, /, **fields: Any) -> None:
        """Send one event."""
        ...

    def new_id(self, prefix: str) -> str:
        """The next id of its kind."""
        ...

    def at(self, due_ms: int, do: Callable[[int], None]) -> None:
        """Call back when that moment has come."""
        ...


class Listener:
    """One session's input audio buffer with all that becomes of it.

    The item that a turn will become gets its id when the turn starts: `speech_started` names it already.
    """

    def __init__(self, host: Host) -> None:
        self._host = host
        self._buffer = InputBuffer(host.options.detector, host.options.min_speech_ms)
        self._caller_audio = Ear("")
        self._turn_id = ""
        ears = host.options.ears
        self._ears = None if ears is None else Listening(ears, self._buffer)
        self._words: list[Words] = []
        self._untranscribed: list[Item] = []
        self._transcription_ms = itertools.cycle(host.options.transcription_ms)
        self.configure()

    def configure(self) -> None:
        """Take over what the session says now."""
        self._buffer.configure(self._host.session.turn_detection)
        if self._host.options.ears is not None:
            self._host.options.ears.configure(self._host.session.tree["tools"])
        name = self._host.session.input["format"]["type"]
        if name != self._caller_audio.name:
            self._caller_audio = Ear(name)

    @property
    def _scribe(self) -> str | None:
        """The model that transcribes."""
        transcription = self._host.session.input["transcription"]
        return None if transcription is None else transcription.get("model")

    @property
    def speaking(self) -> bool:
        """Whether the caller is in the middle of a turn."""
        return self._buffer.speaking

    def hear(self, audio: object, *, heeded: bool = True) -> tuple[int, list[Heard]]:
        """Append base64 sound; what is not `heeded` is lost. Returns its size in bytes and what was noticed
        in it. Raises `Fault`.
        """
        if not isinstance(audio, str) or len(audio) > MAX_APPEND_CHARACTERS:
            raise Fault("invalid_value", "Invalid 'audio': expected base64, 15 MiB of it at most.", "audio")
        try:
            sound = binascii.a2b_base64(audio, strict_mode=True)
        except ValueError:
            raise Fault("invalid_value", "Invalid 'audio': not base64.", "audio") from None
        if not heeded:
            return len(sound), []
        heard = self._buffer.write(self._caller_audio.hear(sound))
        if self._ears is not None:
            self._words += self._ears.hear(heard)
        return len(sound), heard

    def announce(self, started: TurnStarted) -> None:
        """`speech_started`."""
        self._turn_id = self._host.new_id("item")
        kind = "input_audio_buffer.speech_started"
        self._host.emit(kind, audio_start_ms=started.audio_start_ms, item_id=self._turn_id)

    def turn(self, audio_end_ms: int, sound: bytes, now_ms: int) -> None:
        """`speech_stopped`, and the turn becomes an item."""
        kind = "input_audio_buffer.speech_stopped"
        self._host.emit(kind, audio_end_ms=audio_end_ms, item_id=self._turn_id)
        self._add(sound, now_ms)

    def commit(self, now_ms: int) -> None:
        """What the client asks for where there is no voice detection. Raises `Fault` for less than 100 ms."""
        if self._buffer.buffered_ms < MIN_COMMIT_MS:
            message = (
                "Error committing input audio buffer: buffer too small. Expected at least 100ms of audio, "
                f"but buffer only has {self._buffer.buffered_ms}.00ms of audio."
            )
            raise Fault("input_audio_buffer_commit_empty", message)
        if not self._buffer.speaking:
            self._turn_id = self._host.new_id("item")
        sound, ears = self._buffer.take(), self._host.options.ears
        if ears is not None:
            ears.feed(sound)
            self._words.append(ears.finish())
        self._add(sound, now_ms)

    def idle(self, now_ms: int) -> None:
        """Neither side spoke for the idle timeout: `timeout_triggered`, and the silence becomes an item."""
        self._turn_id = self._host.new_id("item")
        offsets = {"audio_start_ms": self._buffer.start_ms, "audio_end_ms": self._buffer.written_ms}
        self._host.emit("input_audio_buffer.timeout_triggered", **offsets, item_id=self._turn_id)
        self._add(self._buffer.take(), now_ms)

    def clear(self) -> None:
        """Forget what is buffered."""
        self._buffer.take()
        self._host.emit("input_audio_buffer.cleared")

    def _add(self, sound: bytes, now_ms: int) -> None:
        host = self._host
        content = [{"type": "input_audio", "transcript": None}]
        item = Item(self._turn_id, "message", {"role": "user", "content": content}, sound=sound)
        item.words = self._words.pop(0) if self._words else None
        host.conversation.add(item)
        host.emit("input_audio_buffer.committed", item_id=item.id, previous_item_id=item.previous_id)
        host.emit("conversation.item.added", item=item.wire(), previous_item_id=item.previous_id)
        host.emit("conversation.item.done", item=item.wire(), previous_item_id=item.previous_id)
        if host.session.input["transcription"] is not None:
            self._untranscribed.append(item)
            if not host.options.transcription_last:
                self.transcribe(now_ms)

    def transcribe(self, now_ms: int) -> None:
        """Begin with what is not transcribed yet."""
        items, self._untranscribed = self._untranscribed, []
        for item in items:
            self._host.at(now_ms + next(self._transcription_ms), functools.partial(self._transcribe, item))

    def _transcribe(self, item: Item, now_ms: int) -> None:
        kind = "conversation.item.input_audio_transcription."
        known, name = self._host.options.transcribers, self._scribe
        if known is not None and name not in known:
            # As Azure has it, where a transcription is named by its deployment.
            message = f"Input transcription failed for item '{item.id}'."
            error = {"type": "server_error", "code": "DeploymentNotFound", "message": message, "param": None}
            self._host.emit(kind + "failed", item_id=item.id, content_index=0, error=error)
            return
        transcript = self._host.options.transcribe(item)
        if transcript is None:
            error = {"type": "transcription_error", "code": "audio_unintelligible", "param": None}
            error["message"] = "The audio could not be transcribed."
            self._host.emit(kind + "failed", item_id=item.id, content_index=0, error=error)
            return
        words = WORD.findall(transcript) if self._host.options.transcription_word_ms is not None else []
        self._write(item, transcript, words or [transcript], now_ms)

    def _write(self, item: Item, transcript: str, deltas: list[str], now_ms: int) -> None:
        first, *others = deltas
        kind = "conversation.item.input_audio_transcription."
        self._host.emit(kind + "delta", item_id=item.id, content_index=0, delta=first)
        if others:
            due_ms = now_ms + (self._host.options.transcription_word_ms or 0)
            self._host.at(due_ms, functools.partial(self._write, item, transcript, others))
            return
        item.fields["content"] = [{"type": "input_audio", "transcript": transcript}]
        tokens_in = -(-len(item.sound) // (CALLER_MS_PER_TOKEN * BYTES_PER_MS))
        tokens_out = -(-len(transcript) // 4)
        usage = {
            "type": "tokens",
            "total_tokens": tokens_in + tokens_out,
            "input_tokens": tokens_in,
            "input_token_details": {"text_tokens": 0, "audio_tokens": tokens_in},
            "output_tokens": tokens_out,
        }
        done = {"item_id": item.id, "content_index": 0, "transcript": transcript}
        self._host.emit(kind + "completed", **done, usage=usage)
