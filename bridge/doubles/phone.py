"""A phone on Media Streams: the carrier's buffer and the caller who speaks into it and hears it.

It keeps exactly what the caller heard, refuses what Twilio refuses, and never closes because of it.
"""

from __future__ import annotations

import itertools
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, assert_never

from .carrier_frames import (
    FRAME_BYTES,
    SILENT_FRAME,
    CarrierFrames,
    Clear,
    Mark,
    Media,
    Message,
    Refused,
    parse,
)
from .playout import BYTES_PER_MS, SILENCE, Cleared, HeardSpan, Playout

FRAME_MS: Final = FRAME_BYTES // BYTES_PER_MS
DIGITS: Final = "0123456789*#"
NO_PARAMETERS: Final[Mapping[str, str]] = MappingProxyType({})


@dataclass(frozen=True, slots=True, kw_only=True)
class PhoneOptions:
    """How this phone differs from an ideal one. A delay may be one number or one for each message in turn;
    order is kept either way, as TCP keeps it.
    """

    clear_echo_ms: int = 40
    """How long after a `clear` its waiting marks come back; long enough, and they meet the next reply."""
    delay_out_ms: int | Iterable[int] = 0
    """Server to handset: delays when sound, marks and clears take effect."""
    delay_back_ms: int | Iterable[int] = 0
    """Handset to server, for echoes."""
    echoes_per_mark: int = 1
    """0 for marks that never come back, 2 for marks that come twice."""
    echoes_on_receipt: bool = False
    """Marks come back as soon as they arrive, whatever waits to be played before them."""
    first_media_ms: int = 120
    """Timestamp of the first `media`: captures show 102, 155 and 171. The clock does not start at 0."""
    jitter_ms: tuple[int, ...] = (0, 2, -1, 3, -3, 1, 0, -2)
    """Added to the frames' times in turn: captures show that they are no exact multiples of 20."""
    keep_sound: bool = True
    """False where a long call must cost no memory; then `recording` is empty."""


class Phone:
    """The carrier's end of one stream. Every method that takes `now_ms` returns the frames to send, in order.

    `start` first; then `receive` for every frame that comes, `wake` when `deadline_ms` has come, `gone` when
    the other side closed the socket. When `close` is set the shell is to close it, after sending the frames
    it was given last. `speech` is what the caller says, µ-law; silence after its end. `parameters` None
    leaves `customParameters` out.
    """

    def __init__(
        self,
        call_sid: str = f"CA{1:032x}",
        account_sid: str = f"AC{1:032x}",
        stream_sid: str = f"MZ{1:032x}",
        parameters: Mapping[str, str] | None = NO_PARAMETERS,
        speech: bytes = b"",
        options: PhoneOptions | None = None,
    ) -> None:
        self.options = options or PhoneOptions()
        self.frames = CarrierFrames(call_sid, account_sid, stream_sid)
        self.parameters = parameters
        self.refused: Counter[str] = Counter()
        """Messages discarded, by reason: see `carrier_frames.parse`, and `before_start`, `after_stop`."""
        self.echoed: list[str] = []
        """Every mark that was sent back, in order."""
        self.started_ms: int | None = None
        self.close: tuple[int, str] | None = None
        """Code and reason, once this phone wants its socket closed; 1006 for a cut without a close frame."""
        self.closed = False
        """True once either side has ended the call."""
        self.stalled = False
        """True while this phone does not read: a shell should stop reading its socket too."""
        self._playout = Playout(0)
        self._now_ms = 0
        self._said = bytearray()
        self._speech = speech
        self._spoken_bytes = 0
        self._frame_index = 0
        self._media_due_ms = 0
        self._held_until_ms = 0
        self._delays_out = _in_turn(self.options.delay_out_ms)
        self._delays_back = _in_turn(self.options.delay_back_ms)
        self._unread: list[str | bytes] = []
        self._arriving: deque[tuple[int, Message]] = deque()
        self._returned: deque[tuple[int, str]] = deque()
        self._echoing: deque[tuple[int, str]] = deque()

    def next_stream(self, parameters: Mapping[str, str]) -> Phone:
        """The carrier's end of the same call's next stream, which has not started yet."""
        account, call, stream = self.frames.account_sid, self.frames.call_sid, self.frames.stream_sid
        number = int(stream.removeprefix("MZ"), 16) + 1
        return Phone(call, account, f"MZ{number:032x}", parameters, options=self.options)

    # --- what happens to it ---------------------------------------------------------------------------------

    def start(self, now_ms: int) -> list[str]:
        """The carrier connects: `connected` and `start`. `media` follows by `wake`."""
        self.started_ms = self._now_ms = now_ms
        self._playout = Playout(now_ms, keep_sound=self.options.keep_sound)
        self._set_media_due()
        return [self.frames.connected(), self.frames.start(self.parameters)]

    def receive(self, frame: str | bytes, now_ms: int) -> list[str]:
        """One frame from the server. Malformed ones are counted in `refused` and otherwise ignored."""
        out = self.wake(now_ms)
        if self.stalled:
            self._unread.append(frame)
        else:
            self._read(frame, now_ms, out)
        return out

    def wake(self, now_ms: int) -> list[str]:
        """All that has become due by now, in the order of its time; [] when nothing has."""
        out: list[str] = []
        while (due_ms := self.deadline_ms) is not None and due_ms <= now_ms:
            self._step(due_ms, out)
        self._now_ms = max(self._now_ms, now_ms) if self._live else self._now_ms
        return out

    @property
    def deadline_ms(self) -> int | None:
        """When something is due next; None before the start and after the end."""
        if not self._live:
            return None
        due_ms = self._media_due_ms
        for queue in (self._arriving, self._returned, self._echoing):
            if queue and queue[0][0] < due_ms:
                due_ms = queue[0][0]
        mark_ms = self._playout.mark_due_ms
        return due_ms if mark_ms is None or mark_ms > due_ms else mark_ms

    def gone(self, now_ms: int) -> list[str]:
        """The other side closed the socket, or it was cut: time stands still from here. Returns []."""
        self.wake(now_ms)
        self._end(now_ms)
        return []

    # --- what the caller does -------------------------------------------------------------------------------

    def say(self, speech: bytes, now_ms: int, *, instead: bool = False) -> list[str]:
        """Speak, from the next frame on or when what is being said is over; `instead` breaks that off."""
        out = self.wake(now_ms)
        self._speech = speech if instead else self._speech[self._spoken_bytes :] + speech
        self._spoken_bytes = 0
        return out

    def press(self, digit: str, now_ms: int) -> list[str]:
        """One key, `0`-`9`, `*` or `#`. Raises ValueError for anything else."""
        if len(digit) != 1 or digit not in DIGITS:
            raise ValueError(f"{digit!r} is no key of a phone")
        out = self.wake(now_ms)
        return [*out, self.frames.dtmf(digit)] if self._live else out

    def hang_up(self, now_ms: int) -> list[str]:
        """`stop`, then close."""
        out = self.wake(now_ms)
        if self._live:
            out.append(self.frames.stop())
            self.close = (1000, "")
        self._end(now_ms)
        return out

    def drop(self, now_ms: int, *, code: int = 1006) -> list[str]:
        """Close without a `stop`: a carrier that lost the call. 1006 asks for a cut without a close frame."""
        out = self.wake(now_ms)
        if self._live:
            self.close = (code, "")
        self._end(now_ms)
        return out

    # --- what the network does ------------------------------------------------------------------------------

    def withhold_media(self, for_ms: int, now_ms: int) -> list[str]:
        """No `media` for this long, though the clock of its timestamps runs on. The caller speaks on
        afterwards.
        """
        out = self.wake(now_ms)
        self._held_until_ms = now_ms + for_ms
        return out

    def stall(self, now_ms: int) -> list[str]:
        """Stop reading: what arrives waits, as in a full socket, until `resume`. What was read plays on."""
        out = self.wake(now_ms)
        self.stalled = True
        return out

    def resume(self, now_ms: int) -> list[str]:
        """Read again, beginning with what has waited."""
        out = self.wake(now_ms)
        self.stalled = False
        for frame in self._unread:
            self._read(frame, now_ms, out)
        self._unread.clear()
        return out

    # --- what it knows --------------------------------------------------------------------------------------

    @property
    def speaking(self) -> bool:
        """Whether the caller has not yet said all that they were given to say."""
        return self._spoken_bytes < len(self._speech)

    def playing(self, now_ms: int) -> bool:
        """Whether the caller hears us at this moment."""
        return self._playout.queued_bytes(now_ms) > 0

    def queued_ms(self, now_ms: int) -> int:
        """Sound that waits at the carrier, milliseconds, rounded up."""
        return -(-self._playout.queued_bytes(now_ms) // BYTES_PER_MS)

    @property
    def cleared(self) -> list[Cleared]:
        """Each `clear` as it took effect: (at_ms, bytes of all our sound played by then)."""
        return self._playout.cleared

    @property
    def received_bytes(self) -> int:
        """All sound ever received, heard or not."""
        return self._playout.received_bytes

    @property
    def played_bytes(self) -> int:
        """Sound the caller has heard, up to the last `now_ms`."""
        return self._playout.played_bytes(self._now_ms)

    @property
    def heard_spans(self) -> list[HeardSpan]:
        """When the caller heard us, up to the last `now_ms`: (at_ms, size_bytes) of each span."""
        return self._playout.spans(self._now_ms)

    @property
    def heard(self) -> bytes:
        """What the caller heard from the start to the last `now_ms`: 8 bytes a ms, 0xFF in the gaps."""
        return self._playout.heard(self._now_ms)

    def heard_bytes_of(self, start_byte: int, end_byte: int) -> int:
        """How much the caller heard, up to the last `now_ms`, of that part of the `received_bytes`."""
        return self._playout.heard_bytes_of(start_byte, end_byte, self._now_ms)

    def recording(self) -> tuple[bytes, bytes]:
        """The call in real time, µ-law, both of equal length: what the caller said, what the caller heard."""
        heard = self.heard
        return bytes(self._said[: len(heard)]).ljust(len(heard), SILENCE), heard

    # --- inside ---------------------------------------------------------------------------------------------

    @property
    def _live(self) -> bool:
        return self.started_ms is not None and not self.closed

    def _end(self, now_ms: int) -> None:
        if self._live:
            self._playout.stop(now_ms)
        self.closed = True

    def _read(self, frame: str | bytes, now_ms: int, out: list[str]) -> None:
        try:
            if not self._live:
                raise Refused("after_stop" if self.closed else "before_start")
            message = parse(frame, self.frames.stream_sid)
        except Refused as refused:
            self.refused[refused.reason] += 1
            return
        arrives_ms = now_ms + next(self._delays_out)
        if self._arriving:
            arrives_ms = max(arrives_ms, self._arriving[-1][0])
        if arrives_ms > now_ms:
            self._arriving.append((arrives_ms, message))
        else:
            self._arrive(message, now_ms, out)

    def _step(self, at_ms: int, out: list[str]) -> None:
        """The one thing that is due at this moment. Playout moves before what arrives at the same
        millisecond.
        """
        if (name := self._playout.next_mark(at_ms)) is not None:
            self._send_back(name, at_ms, out)
        elif self._returned and self._returned[0][0] <= at_ms:
            self._send_back(self._returned.popleft()[1], at_ms, out)
        elif self._echoing and self._echoing[0][0] <= at_ms:
            self._echo(self._echoing.popleft()[1], out)
        elif self._arriving and self._arriving[0][0] <= at_ms:
            self._arrive(self._arriving.popleft()[1], at_ms, out)
        else:
            self._send_media(at_ms, out)

    def _arrive(self, message: Message, at_ms: int, out: list[str]) -> None:
        match message:
            case Media():
                self._playout.add(message.media.payload, at_ms)
            case Mark() if self.options.echoes_on_receipt:
                self._send_back(message.mark.name, at_ms, out)
            case Mark():
                self._playout.mark(message.mark.name, at_ms)
                while (name := self._playout.next_mark(at_ms)) is not None:
                    self._send_back(name, at_ms, out)
            case Clear():
                # Twilio, "Clear message": every mark that still waits is returned. The echo does not say why.
                due_ms = at_ms + self.options.clear_echo_ms
                self._returned += [(due_ms, name) for name in self._playout.clear(at_ms)]
            case _:
                assert_never(message)

    def _send_back(self, name: str, at_ms: int, out: list[str]) -> None:
        for _ in range(self.options.echoes_per_mark):
            due_ms = at_ms + next(self._delays_back)
            if self._echoing:
                due_ms = max(due_ms, self._echoing[-1][0])
            if due_ms > at_ms:
                self._echoing.append((due_ms, name))
            else:
                self._echo(name, out)

    def _echo(self, name: str, out: list[str]) -> None:
        self.echoed.append(name)
        out.append(self.frames.mark(name))

    def _send_media(self, at_ms: int, out: list[str]) -> None:
        if at_ms >= self._held_until_ms:
            sound = self._next_sound(at_ms).ljust(FRAME_BYTES, SILENCE) or SILENT_FRAME
            if self.options.keep_sound:
                self._keep(sound)
            out.append(self.frames.media(sound, at_ms - (self.started_ms or 0)))
        self._frame_index += 1
        self._set_media_due()

    def _next_sound(self, at_ms: int) -> bytes:  # noqa: ARG002  a person hears first what came by then
        """What the caller says in the next frame, at most 20 ms; less when they have less to say."""
        sound = self._speech[self._spoken_bytes : self._spoken_bytes + FRAME_BYTES]
        self._spoken_bytes += len(sound)
        return sound

    def _keep(self, sound: bytes) -> None:
        """A frame holds the 20 ms before it is sent."""
        start_ms = self.options.first_media_ms + (self._frame_index - 1) * FRAME_MS
        self._said += SILENCE * (start_ms * BYTES_PER_MS - len(self._said)) + sound

    def _set_media_due(self) -> None:
        jitter_ms = self.options.jitter_ms[self._frame_index % len(self.options.jitter_ms)]
        timestamp_ms = self.options.first_media_ms + self._frame_index * FRAME_MS + jitter_ms
        self._media_due_ms = (self.started_ms or 0) + timestamp_ms


def _in_turn(delays_ms: int | Iterable[int]) -> Iterator[int]:
    """One delay for each message; the last of a finite sequence stays."""
    if isinstance(delays_ms, int):
        return itertools.repeat(delays_ms)
    return _then_the_last(delays_ms)


def _then_the_last(delays_ms: Iterable[int]) -> Iterator[int]:
    delay_ms = 0
    for delay_ms in delays_ms:
        yield delay_ms
    yield from itertools.repeat(delay_ms)
