"""Writes down a call while it lives: a few lines a second, from what the gate of the runner tells."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import msgspec

from bridge.carriers import CARRIERS
from bridge.codecs import is_clean, size_bytes
from bridge.core import messages as m
from bridge.core.keys import Keys
from bridge.errors import ConfigError, why_refused

from .bounds import Budget
from .header import Header, header_line
from .json_text import one_line, quoted
from .lines import action_field, event_field, frame_field
from .shapes import Shapes, mark_name
from .sound import LEAST_CHARACTERS, silence, without_sound

RUN_MS: Final = 1_000
"""A run is written down when it is this long, so that a killed process loses little."""
RUN_STEPS: Final = 500
"""Or when it has this many steps: a model may send much in one second, and a line is read as a whole."""
FRAME_CHARACTERS: Final = 216
"""Of 160 bytes in base64, the caller's usual frame; two of them are padding."""
FRAME_MS: Final = 20

RUN_FRAME_CHARACTERS: Final = 512
"""As many at most has a usual frame of the caller, put together again."""

_COMMANDS: Final = {
    "carrier": m.CarrierCommand,
    "upstream": m.UpstreamCommand,
    "shell": m.ShellCommand,
}
DOOR_OF: Final[dict[type, str]] = {
    kind: door for door, commands in _COMMANDS.items() for kind in commands.__args__
}
"""Where an action goes; all others are events for the session."""

EPOCH_OF: Final = {"carrier": 0, "upstream": 1}
"""The epoch of a frame of which no line says another."""

_read_text: Final = msgspec.json.Decoder(str).decode

_NUMBERS: Final = [str(number) for number in range(100)]
"""What is written fifty times a second and kept for a while: one text for all of them."""


class Recorder:
    """Gives `sink` the lines of one recording, each without its line end, the header at once.

    The mover of the call reports everything in the order in which it happens: an input (`came`, `happened`)
    before `Call.receive` sees it, then each of the actions that follow, as a frame that left (`went`) or,
    without a frame, as a decision (`decided`): events for the session, commands to the shell, and commands of
    which no frame was made yet. Caller audio held back for a slow upstream is such a command; when it leaves
    or is thrown away after all, `went` or `dropped` is told then. Every frame that was read is told, also one
    that means nothing to the call: an adapter may have learnt from it. `now_ms` never runs backwards. Nothing
    here raises, whatever the frames hold. Making one raises ConfigError for an unknown carrier.

    A recording that gets as large as its readers allow ends there (`cut`), though its call goes on.

    Keys that a handler reads are hidden unless `keys` is set; while it reads a secret, sound is silence.
    """

    def __init__(
        self, sink: Callable[[str], None], header: Header, sound: bool = False, *, keys: bool = False
    ) -> None:
        self._sink: Callable[[str], None] | None = sink
        self._sound = sound
        self._shows_keys = keys
        self._keys = Keys(header.config)
        self._secret = False
        self._least = None if sound else LEAST_CHARACTERS
        if header.carrier not in CARRIERS:
            raise ConfigError(f"a recording of {header.carrier!r}, which this phonebridge does not know")
        self._new_carrier = CARRIERS[header.carrier]
        self._carrier = self._new_carrier()
        self._stream = 0
        self._shapes = Shapes()
        self._now_ms = 0
        # The run that is being written, and when it began.
        self._run: list[str] = []
        self._run_ms = 0
        self._words: list[str] = []
        self._sounds: list[str] = []
        # Its last step, while the frame that usually follows has not come: which one, and around which sound.
        self._awaiting = ""
        self._token = ""
        self._payload = ""
        self._frame = ""
        self._epoch = 0
        # A line that may stand for several equal ones.
        self._line = ""
        self._times = 0
        self._budget = Budget()
        first = header_line(header, sound=sound)
        self._budget.spend(first)
        sink(first)

    # --- what came in ------------------------------------------------------------------------------------

    def came(self, now_ms: int, door: str, frame: str | bytes, epoch: int = 0) -> None:
        """A frame was read from a socket; `epoch` is that of the upstream session. The carrier's streams are
        counted from 0; nearly always there is one.
        """
        if self._awaiting:
            self._settle()
        if self._secret and door == "carrier" and type(frame) is str:
            frame = without_sound(frame, door)
        if type(frame) is str:
            if door == "carrier":
                if self._like_the_last(now_ms, frame):
                    return
            elif self._delta(now_ms, frame, epoch):
                return
        self._whole(now_ms, door, frame, epoch)

    def _like_the_last(self, now_ms: int, frame: str) -> bool:
        shapes = self._shapes
        sound = shapes.caller(frame)
        if sound is None:
            name = shapes.echo(frame)
            if name is not None:
                self._run.append(f"{self._since(now_ms)}k{name}")
            return name is not None
        if len(sound) < LEAST_CHARACTERS:
            return False
        if self._run and now_ms - self._run_ms < RUN_MS:
            since_ms = now_ms - self._now_ms
            self._now_ms = now_ms
        else:
            since_ms = self._since(now_ms)
        usual = len(sound) == FRAME_CHARACTERS and sound[-2] == "="
        if usual and shapes.step_ms == FRAME_MS and since_ms < len(_NUMBERS):
            self._token = _NUMBERS[since_ms]
        else:
            self._budget.frame(len(frame))
            size = "" if usual else f"m{size_bytes(sound)}"
            step = "" if shapes.step_ms == FRAME_MS else f"@{shapes.step_ms}"
            self._token = f"{since_ms}{size}{step}"
        self._awaiting = "append"
        self._payload = sound
        self._frame = frame
        return True

    def _delta(self, now_ms: int, frame: str, epoch: int) -> bool:
        shape = self._shapes.sound
        if shape is not None and shape.epoch == epoch and (sound := shape.value(frame)) is not None:
            if len(sound) < LEAST_CHARACTERS:
                return False
            self._budget.frame(len(frame))
            self._awaiting, self._token = "play", f"{self._since(now_ms)}d{size_bytes(sound)}"
            self._payload, self._frame, self._epoch = sound, frame, epoch
            return True
        shape = self._shapes.words
        if shape is not None and shape.epoch == epoch and (words := shape.value(frame)) is not None:
            words = f'"{words}"'
            try:
                _read_text(words)
            except ValueError:
                return False
            if one_line(words) is not words:
                return False
            self._run.append(f"{self._since(now_ms)}t")
            self._words.append(words)
            return True
        return False

    def _whole(self, now_ms: int, door: str, frame: str | bytes, epoch: int) -> None:
        self._flush()
        self._now_ms = now_ms
        self._budget.frame(len(frame))
        if door == "carrier":
            if epoch > self._stream:
                self._stream, self._carrier = epoch, self._new_carrier()
            # Its adapter takes secrets and numbers out. A frame that it refuses is another one without them;
            # then what it said of the frame is written down in its place.
            shown = self._carrier.redact(frame)
            if not self._shows_keys and self._keys.hidden:
                shown = self._carrier.hide_key(shown)
            try:
                self._carrier.parse(frame)
            except Exception as error:  # noqa: BLE001  as the gate does
                if shown != frame:
                    self.happened(now_ms, m.FrameRefused(door, why_refused(error)))
                    return
            frame = shown
        fields = _fields(door, frame, epoch, self._least)
        self._emit(f'{{"t":{now_ms},"from":"{door}",{fields}}}')
        if isinstance(frame, str):
            self._shapes.came(door, frame, epoch)

    def happened(self, now_ms: int, event: m.Event) -> None:
        """Something happened that was no frame."""
        self._flush()
        if isinstance(event, m.ReadKeys | m.Reconfigure):
            self._keys.read(event)
            self._secret = self._keys.secret
        self._now_ms = now_ms
        self._emit(f'{{"t":{now_ms},{event_field(event, sound=self._sound)}}}')

    # --- what followed -----------------------------------------------------------------------------------

    def went(self, now_ms: int, door: str, frame: str | bytes, epoch: int = 0) -> None:
        """A frame left one of the bridge's sockets."""
        if self._awaiting and self._as_usual(door, frame, epoch):
            return
        self._budget.frame(len(frame))
        least = self._least and (1 if door == "carrier" else LEAST_CHARACTERS)
        self._output(now_ms, f'"to":"{door}",{_fields(door, frame, epoch, least)}')
        if isinstance(frame, str):
            self._shapes.went(door, frame, epoch)

    def _as_usual(self, door: str, frame: str | bytes, epoch: int) -> bool:
        """Whether this is the frame that usually follows from the last step."""
        shapes = self._shapes
        if door == "upstream":
            around = shapes.append
            if self._awaiting == "append" and around is not None and around.epoch == epoch:
                if frame == f"{around.head}{self._payload}{around.tail}":
                    self._run.append(self._token)
                    if self._sound:
                        self._sounds.append(self._payload)
                    # Let go while they are at hand: by the next frame their memory is cold.
                    self._awaiting = self._payload = self._frame = ""
                    return True
                if frame == f"{around.head}{silence(size_bytes(self._payload))}{around.tail}":
                    # Where sound is left out it reads the same.
                    self._token = f"{self._token}~" if self._sound else self._token
                    self._commit()
                    return True
        elif self._awaiting == "play":
            around = shapes.play
            if around is not None and frame == f"{around.head}{self._payload}{around.tail}":
                self._awaiting = "mark"
                return True
        elif self._awaiting == "mark" and type(frame) is str:
            name = mark_name(frame, shapes.mark)
            if name is not None:
                self._token = f"{self._token}+{name}"
                self._commit()
                return True
        return False

    def dropped(self, now_ms: int, door: str, frame: str | bytes, epoch: int = 0) -> None:
        """A frame was thrown away before the socket."""
        self._budget.frame(len(frame))
        self._output(now_ms, f'"dropped":"{door}",{_fields(door, frame, epoch, self._least)}')

    def decided(self, now_ms: int, action: m.Action) -> None:
        """The core decided this, and no frame was made of it."""
        door = DOOR_OF.get(type(action), "session")
        if type(action) is m.DigitHeard and not self._shows_keys and self._keys.hidden:
            action = m.DigitHeard(m.HIDDEN_KEY)
        self._output(now_ms, f'"to":"{door}",{action_field(action, sound=self._sound)}')

    def close(self) -> None:
        """Nothing more will be told. The end line says that nothing is missing."""
        self._flush()
        self._emit('{"end":true}')
        self._sink = None

    def cut(self, why: str) -> None:
        """The recording ends before its call, with a line that says why. Nothing more is written."""
        sink, self._sink = self._sink, None
        if sink is not None:
            sink(f'{{"truncated":{quoted(why)}}}')

    # --- lines -------------------------------------------------------------------------------------------

    def _since(self, now_ms: int) -> int:
        """Milliseconds since the step before, in a run that is begun anew where it must."""
        if self._run and (now_ms - self._run_ms >= RUN_MS or len(self._run) >= RUN_STEPS):
            self._flush()
        since_ms = now_ms - self._now_ms
        if not self._run:
            self._run_ms = now_ms
            since_ms = 0
        self._now_ms = now_ms
        return since_ms

    def _commit(self) -> None:
        """The last step of the run is complete."""
        self._run.append(self._token)
        self._awaiting = ""
        if self._sound:
            self._sounds.append(self._payload)

    def _settle(self) -> None:
        """What usually follows from the last step will not come."""
        if self._awaiting != "mark":
            if not is_clean(self._payload):
                door, epoch = ("carrier", 0) if self._awaiting == "append" else ("upstream", self._epoch)
                self._awaiting = ""
                self._whole(self._now_ms, door, self._frame, epoch)
                return
            self._token = f"{self._token}-"
        self._commit()

    def _flush(self) -> None:
        if self._awaiting:
            self._settle()
        if not self._run:
            return
        fields = f'"t":{self._run_ms},"run":"{" ".join(self._run)}"'
        if self._words:
            fields = f'{fields},"words":[{",".join(self._words)}]'
            self._words.clear()
        if self._sounds:
            texts = '","'.join(self._sounds)
            fields = f'{fields},"sound":["{texts}"]'
            self._sounds.clear()
        self._budget.frame(len(self._run) * RUN_FRAME_CHARACTERS)
        self._run.clear()
        self._emit(f"{{{fields}}}")

    def _output(self, now_ms: int, fields: str) -> None:
        self._flush()
        late = f'"t":{now_ms},' if now_ms != self._now_ms else ""
        line = f"{{{late}{fields}}}"
        if line == self._line:
            self._times += 1
            return
        self._emit("")
        self._line, self._times = line, 1

    def _emit(self, line: str) -> None:
        """A line for the sink, after the one that may have stood for several."""
        if self._times:
            last, times = self._line, self._times
            self._line, self._times = "", 0
            self._write(last if times == 1 else f'{last[:-1]},"times":{times}}}', times)
        if line:
            self._write(line)

    def _write(self, line: str, outputs: int = 0) -> None:
        if self._sink is None:
            return
        fault = self._budget.spend(line, outputs)
        if fault is None:
            self._sink(line)
        else:
            self.cut(f"it has {fault}")


def _fields(door: str, frame: str | bytes, epoch: int, least_characters: int | None) -> str:
    field = frame_field(frame, door, least_characters)
    return field if epoch == EPOCH_OF[door] else f'{field},"epoch":{epoch}'
