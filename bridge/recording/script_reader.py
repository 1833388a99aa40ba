"""Reads the caller's script out of a recording."""

from __future__ import annotations

from base64 import b64decode
from bisect import bisect_left, bisect_right
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

from bridge.codecs.level import level_dbfs
from bridge.core import messages as m
from bridge.core.call import Call

from .caller_script import Act, Anchor, CallerScript, Kind, ToolAnswer, answered, canonical
from .header import Header
from .walking import Walk, Walked

_BLOCK_MS: Final = 20
_FRAGMENT_MS: Final = 200
"""Words of a model that listens and speaks at once are told to so many ms."""
_SILENCE: Final = b"\xff\x7f"
"""Both zeros of µ-law."""
_QUIET_DBFS: Final = -50
_MOST_FLOOR_DBFS: Final = -36
_ABOVE_FLOOR_DB: Final = 6
_UNNOTICED_DBFS: Final = -40
_PAUSE_MS: Final = 300
"""Of quiet, in speech that the model's voice detection did not notice."""
_LEAST_MS: Final = 100
"""Of loud sound make such speech; less is a click."""
_MOST_MS: Final = 10_000
"""More of it is a noise or music."""


def caller_script(lines: Iterable[str]) -> CallerScript:
    """The caller's script. Raises ConfigError for what is no recording, and for one of a call that does not
    begin with its caller's stream.
    """
    walk = Walk(lines)
    reader = _Reader(walk.header)
    for walked in walk:
        reader.step(walked)
    return reader.script(walk.call)


@dataclass(slots=True)
class _Upload:
    """What one session was sent of the caller's sound, and where on the call's clock it belongs."""

    sound: bytearray = field(default_factory=bytearray)
    frames: list[tuple[int, int]] = field(default_factory=list)
    """Of each append: its first byte, and when that byte was spoken."""

    def add(self, audio: str, spoken_ms: int) -> None:
        self.frames.append((len(self.sound), spoken_ms))
        self.sound += b64decode(audio)

    def spoken_ms(self, byte: int, bytes_per_ms: int) -> int:
        """When this byte was spoken."""
        place = bisect_right(self.frames, byte, key=lambda frame: frame[0])
        first, at_ms = self.frames[max(0, place - 1)]
        return at_ms + (byte - first) // bytes_per_ms


@dataclass(slots=True)
class _Turn:
    """A turn as the session's voice detection saw it."""

    epoch: int
    item_id: str
    start_ms: int
    stop_ms: int | None = None


@dataclass(slots=True)
class _Raw:
    """An act before its anchor is known."""

    kind: Kind
    at_ms: int
    end_ms: int
    sound: bytes = b""
    digits: str = ""
    noticed: bool = True
    item_id: str = ""
    words: str = ""
    over_us: bool = False
    """While the caller heard us; of speech the sound itself tells."""


class _Reader:
    """Collects what the steps of a walk say."""

    def __init__(self, header: Header) -> None:
        self._header = header
        self._bytes_per_ms = header.config.bytes_per_ms
        self._uploads: dict[int, _Upload] = {}
        self._held: deque[tuple[str, int]] = deque()
        self._track: list[tuple[int, str]] = []
        self._turns: list[_Turn] = []
        self._words: dict[str, str] = {}
        self._fragments: list[m.Fragment] = []
        self._acts: list[_Raw] = []
        self._heard: list[list[int]] = []
        self._sounding = False
        self._unsettled: list[list[int]] = []
        self._tools: dict[str, tuple[m.ToolWanted, int]] = {}
        self._answers: dict[str, tuple[m.ToolFinished, int, m.Reconfigure | None]] = {}
        self._becomes: m.Reconfigure | None = None
        self._generated: dict[str, str] = {}
        self._hung_up = False
        self._began_ms: int | None = None
        self._parameters: dict[str, str] = {}
        self._now_ms = 0

    # --- step by step ------------------------------------------------------------------------------------

    def step(self, walked: Walked) -> None:
        now_ms = self._now_ms = walked.step.t_ms
        if self._sounding and walked.before.position_bytes >= walked.before.sent_bytes:
            self._fell_silent(now_ms)
        self._event(walked.event, now_ms)
        for action in walked.actions:
            self._action(action, now_ms)
        self._line(walked, now_ms)
        self._settled(answered(walked.call, now_ms), now_ms)

    def _event(self, event: m.Event | None, now_ms: int) -> None:
        match event:
            case m.CallerAudio():
                spoken_ms = now_ms - event.size_bytes // self._bytes_per_ms
                self._held.append((event.audio, spoken_ms))
                self._track.append((spoken_ms, event.audio))
            case m.Started() if self._began_ms is None:
                self._began_ms = now_ms
                self._parameters = event.parameters
            case m.SpeechStarted():
                self._turns.append(_Turn(event.epoch, event.item_id, event.at_ms))
            case m.SpeechStopped():
                for turn in reversed(self._turns):
                    if turn.epoch == event.epoch and turn.stop_ms is None:
                        turn.stop_ms = event.at_ms
                        break
            case m.CallerTranscribed(failed=False):
                self._words[event.item_id] = event.text
            case m.Fragment(role="user"):
                self._fragments.append(event)
            case m.DigitPressed():
                self._acts.append(
                    _Raw(Kind.PRESSES, now_ms, now_ms, digits=event.digit, over_us=self._sounding)
                )
            case m.ToolFinished():
                self._answers.setdefault(event.call_id, (event, now_ms, self._becomes))
                self._becomes = None
            case m.Reconfigure():
                self._becomes = event
            case m.Stopped() | m.CarrierClosed() if not self._hung_up:
                self._hung_up = True
                self._acts.append(_Raw(Kind.HANGS_UP, now_ms, now_ms, over_us=self._sounding))

    def _action(self, action: m.Action, now_ms: int) -> None:
        match action:
            case m.AppendAudio():
                upload = self._uploads.setdefault(action.epoch, _Upload())
                upload.add(action.audio, self._spoken_ms(action.audio, now_ms))
            case m.ClearPlayout():
                self._fell_silent(now_ms)
            case m.ToolWanted():
                self._tools.setdefault(action.call_id, (action, now_ms))
            case m.Spoken() if action.generated:
                self._generated[action.item_id] = action.generated

    def _spoken_ms(self, audio: str, now_ms: int) -> int:
        """When this append was spoken: with the frame that holds it. What no frame holds (silence in a gap)
        is of now.
        """
        for place, (held, spoken_ms) in enumerate(self._held):
            if held == audio:
                for _ in range(place + 1):
                    self._held.popleft()
                return spoken_ms
        if self._held and len(audio) == len(self._held[-1][0]):  # the caller is muted
            return self._held.pop()[1]
        return now_ms

    def _line(self, walked: Walked, now_ms: int) -> None:
        left_ms = walked.call.playout.line.ledger.unplayed_ms(now_ms)
        if left_ms <= 0:
            return
        if not self._sounding:
            self._heard.append([now_ms, now_ms])
            self._sounding = True
        self._heard[-1][1] = now_ms + left_ms

    def _fell_silent(self, now_ms: int) -> None:
        if self._sounding:
            self._heard[-1][1] = min(self._heard[-1][1], now_ms)
        self._sounding = False

    def _settled(self, complete: bool, now_ms: int) -> None:
        open_ = self._unsettled and self._unsettled[-1][1] < 0
        if not complete and not open_:
            self._unsettled.append([now_ms, -1])
        elif complete and open_:
            self._unsettled[-1][1] = now_ms

    # --- the script --------------------------------------------------------------------------------------

    def script(self, call: Call) -> CallerScript:
        self._fell_silent(self._now_ms)
        turns = [
            self._spoke(turn, before) for before, turn in zip([None, *self._turns], self._turns, strict=False)
        ]
        spoken = sorted((turn for turn in turns if turn is not None), key=lambda act: act.at_ms)
        unnoticed = self._unnoticed(spoken)
        self._worded(unnoticed)
        raw = sorted([*self._acts, *spoken, *unnoticed], key=lambda act: act.at_ms)
        acts: list[Act] = []
        before_ms = self._began_ms or 0
        for act in raw:
            acts.append(self._anchored(act, before_ms))
            before_ms = max(before_ms, act.end_ms)
            if act.kind is Kind.HANGS_UP:
                break
        return CallerScript(
            self._header,
            tuple(acts),
            tuple(self._answer(call_id) for call_id in self._tools),
            tuple(self._generated.values()),
            self._now_ms,
            call.stats,
            {**self._header.parameters, **self._parameters},
        )

    def _answer(self, call_id: str) -> ToolAnswer:
        wanted, wanted_ms = self._tools[call_id]
        name, arguments = wanted.name, canonical(wanted.arguments)
        if call_id not in self._answers:
            return ToolAnswer(name, arguments)
        finished, at_ms, becomes = self._answers[call_id]
        return ToolAnswer(name, arguments, finished.output, finished.respond, at_ms - wanted_ms, becomes)

    def _spoke(self, turn: _Turn, before: _Turn | None) -> _Raw | None:
        upload = self._uploads.get(turn.epoch)
        if upload is None or not upload.frames:
            return None
        per_ms = self._bytes_per_ms
        start_ms = max(0, turn.start_ms)
        if before is not None and before.epoch == turn.epoch and before.stop_ms is not None:
            start_ms = max(start_ms, before.stop_ms)
        stop = len(upload.sound) if turn.stop_ms is None else max(0, turn.stop_ms) * per_ms
        whole = bytes(upload.sound[start_ms * per_ms : stop])
        lead, sound = trimmed(whole, per_ms) if self._header.sound else self._as_told(whole)
        first = min(start_ms * per_ms + lead, len(upload.sound) - 1)
        at_ms = upload.spoken_ms(first, per_ms)
        end_ms = at_ms + -(-len(sound) // per_ms)
        kept = sound if self._header.sound else b""
        return _Raw(Kind.SAYS, at_ms, end_ms, kept, item_id=turn.item_id) if sound else None

    def _as_told(self, whole: bytes) -> tuple[int, bytes]:
        """A turn without sound: what the voice detection has put around it is taken off."""
        detection = self._header.config.session.turn_detection
        server = detection if isinstance(detection, m.ServerVad) else m.ServerVad()
        lead = min(server.prefix_padding_ms * self._bytes_per_ms, len(whole) // 2)
        tail = min(server.silence_duration_ms * self._bytes_per_ms, len(whole) // 2)
        return lead, whole[lead : len(whole) - tail]

    def _unnoticed(self, spoken: Iterable[_Raw]) -> list[_Raw]:
        """Speech in which no turn was found."""
        if not self._header.sound:
            return []
        covered = deque((act.at_ms - _BLOCK_MS, act.end_ms + _BLOCK_MS) for act in spoken)
        found: list[_Raw] = []
        quiet_ms = _PAUSE_MS
        levels = sorted(level_dbfs(b64decode(audio)) for _, audio in self._track)
        floor = levels[len(levels) // 10] if levels else 0
        least = max(_UNNOTICED_DBFS, min(floor, _MOST_FLOOR_DBFS) + _ABOVE_FLOOR_DB)
        for at_ms, audio in self._track:
            while covered and covered[0][1] <= at_ms:
                covered.popleft()
            if covered and covered[0][0] <= at_ms:
                quiet_ms = _PAUSE_MS
                continue
            frame = b64decode(audio)
            loud = level_dbfs(frame) >= least
            length_ms = len(frame) // self._bytes_per_ms
            if quiet_ms >= _PAUSE_MS and loud:
                found.append(_Raw(Kind.SAYS, at_ms, at_ms, noticed=False))
            quiet_ms = 0 if loud else quiet_ms + length_ms
            if found and quiet_ms < _PAUSE_MS:
                found[-1].sound += frame
                found[-1].end_ms = at_ms + length_ms
        for act in found:
            _, act.sound = trimmed(act.sound, self._bytes_per_ms)
            act.end_ms = act.at_ms + len(act.sound) // self._bytes_per_ms
        return [act for act in found if _LEAST_MS <= act.end_ms - act.at_ms <= _MOST_MS]

    def _worded(self, unnoticed: Sequence[_Raw]) -> None:
        """What a model that sees no turns has understood, put to the speech that it lies in."""
        for one in self._fragments:
            upload = self._uploads.get(one.epoch)
            if upload is None:
                continue
            middle_ms = (one.start_ms + one.end_ms) // 2
            at_ms = upload.spoken_ms(middle_ms * self._bytes_per_ms, self._bytes_per_ms)
            place = bisect_right(unnoticed, at_ms + _FRAGMENT_MS, key=lambda act: act.at_ms)
            if place:
                unnoticed[place - 1].words += one.text

    def _anchored(self, act: _Raw, before_ms: int) -> Act:
        anchor, ms = Anchor.PAUSE, act.at_ms - before_ms
        first = bisect_right(self._heard, before_ms, key=lambda span: span[1])
        last = bisect_left(self._heard, act.at_ms, key=lambda span: span[0])
        since = [(max(start, before_ms), min(end, act.at_ms)) for start, end in self._heard[first:last]]
        heard_ms = sum(end - start for start, end in since)
        over_us = act.over_us or (last > 0 and act.at_ms < self._heard[last - 1][1])
        if over_us and heard_ms:
            anchor, ms = Anchor.BARGE, heard_ms
        elif heard_ms:
            anchor = Anchor.BETWEEN if self._waits_for_more(act.at_ms) else Anchor.GAP
            ms = act.at_ms - since[-1][1]
        words = self._words.get(act.item_id, act.words.strip() or None) if act.kind is Kind.SAYS else None
        return Act(
            act.kind,
            anchor,
            max(0, ms),
            act.at_ms,
            act.end_ms,
            act.sound,
            words,
            act.digits,
            act.noticed,
            act.item_id,
        )

    def _waits_for_more(self, at_ms: int) -> bool:
        """More of the answer was to come. That it was complete is noticed a frame later."""
        at_ms += 2 * _BLOCK_MS
        place = bisect_left(self._unsettled, at_ms, key=lambda span: span[0])
        end_ms = self._unsettled[place - 1][1] if place else 0
        return end_ms < 0 or at_ms < end_ms


def trimmed(sound: bytes, bytes_per_ms: int = 8) -> tuple[int, bytes]:
    """The sound without the silence at both its ends, and how many bytes were taken off its beginning. On a
    line with noise silence is what is hardly louder than the quietest tenth of it.
    """
    body = sound.rstrip(_SILENCE)
    size = _BLOCK_MS * bytes_per_ms
    levels = sorted(level_dbfs(sound[at : at + size]) for at in range(0, len(sound), size))
    if not levels:
        return 0, b""
    floor = min(levels[len(levels) // 10], _MOST_FLOOR_DBFS) + _ABOVE_FLOOR_DB
    quiet = max(_QUIET_DBFS, floor)
    first = len(body) - len(body.lstrip(_SILENCE))
    while first < len(body) and level_dbfs(body[first : first + size]) < quiet:
        first += size
    end = len(body)
    while end > first and level_dbfs(body[max(first, end - size) : end]) < quiet:
        end -= size
    return min(first, len(sound)), body[first : max(first, end)]
