"""The message for a mailbox: recorded, or made by the model beforehand, so that it is ready at the tone.

A response outside of the conversation makes it. It is played as a recorded sound is: whole, protected, and
what was heard of it is known to the millisecond.
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from typing import Final

from .messages import AudioDelta, CallConfig, CreateResponse, Sound

MESSAGE: Final = "voicemail"
"""Names the phrase, the response that makes it, and its sound on the line."""
MOST_TRIES: Final = 2
MOST_BYTES: Final = 960_000
"""Two minutes: no mailbox takes more."""


class MailboxMessage:
    """`sound` is None until there is one. `request` returns what is to be asked of the model, `began`,
    `delta` and `done` are told what comes of it.
    """

    __slots__ = ("_audio", "_epoch", "_response_id", "_size_bytes", "_text", "_tries", "sound")

    def __init__(self, config: CallConfig) -> None:
        self.sound: Sound | None = config.phrases.get(MESSAGE)
        self._text = config.outbound.message if config.outbound is not None else ""
        self._epoch = 0
        self._tries = 0
        self._response_id = ""
        self._audio: list[str] = []
        self._size_bytes = 0

    @property
    def possible(self) -> bool:
        """Whether there is one, or may be."""
        return self.sound is not None or (bool(self._text) and self._tries <= MOST_TRIES)

    def request(self, instructions: str, epoch: int) -> CreateResponse | None:
        """What is to be asked of this session so that there is a message; None where nothing is."""
        if self.sound is not None or not self._text or self._epoch == epoch:
            return None
        self._tries += 1
        if self._tries > MOST_TRIES:
            return None
        self._epoch = epoch
        wish = f'{instructions}\n\nSay exactly this and nothing else: "{self._text}"'.strip()
        return CreateResponse(MESSAGE, wish, "none", aside=True, epoch=epoch)

    def began(self, response_id: str, tag: str) -> None:
        """A response outside of the conversation has begun."""
        if tag == MESSAGE:
            self._response_id, self._size_bytes = response_id, 0
            self._audio.clear()

    def delta(self, event: AudioDelta) -> None:
        """Sound of such a response."""
        if event.response_id == self._response_id and self._size_bytes < MOST_BYTES:
            self._audio.append(event.audio)
            self._size_bytes += event.size_bytes

    def done(self, response_id: str, status: str) -> None:
        """One is over. One that failed, or said nothing, is asked for again, once."""
        if not response_id or response_id != self._response_id:
            return
        self._response_id = ""
        raw = b"".join(b64decode(audio) for audio in self._audio)
        self._audio.clear()
        if status == "completed" and raw:
            self.sound = Sound(b64encode(raw).decode(), len(raw), self._text)
        else:
            self._epoch = 0
