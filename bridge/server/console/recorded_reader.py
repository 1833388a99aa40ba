"""The process that reads recordings for the console: `python -m bridge.server.console.recorded_reader`.

To read one keeps the interpreter's lock for a second; in the process that carries audio, every call would
hear it. On standard input comes a line of JSON for each order. On standard output goes a byte that says
whether it was done (1) or why not (0), the size of the answer in eight bytes, and the answer.
"""

from __future__ import annotations

import hashlib
import os
import sys
from collections import OrderedDict
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import msgspec

from bridge.codecs.wav import stereo_of
from bridge.errors import ConfigError
from bridge.ops.recorded import lines_of
from bridge.ops.recorded_index import Listed, RecordedIndex, Wanted, read
from bridge.picture import Story, page, tell
from bridge.recording.channels import Channels, channels
from bridge.recording.cutting import AFTER_MS
from bridge.recording.make_test import make_test, must_replay
from bridge.recording.marks import marks_of, nearest, wish_of
from bridge.recording.moments import walk_through

from . import hidden, recorded_view
from .readers import HEAD

MOST_ROWS: Final = 50
_KEPT_SOUNDS: Final = 2
_MOST_PICTURE_SOUND: Final = 10_000_000
"""Bytes of sound in a picture that is kept; with more it would not open any more."""
_NICE: Final = 10


class Orders:
    """What can be asked, by name. Each raises ConfigError with what is wrong, in words for the operator."""

    def __init__(self) -> None:
        self._folders: list[Path] = []
        self._index = RecordedIndex(lambda: self._folders)
        self._sounds: OrderedDict[tuple[Path, int], Channels] = OrderedDict()

    def do(self, order: dict[str, Any]) -> bytes:
        """Raises ConfigError also for what the bridge never records: a file may come from anywhere."""
        given = dict(order)
        try:
            match given.pop("do"):
                case "search":
                    return self._search(**given)
                case "find":
                    return self._find(**given)
                case "call":
                    return self._call(_listed(**given))
                case "sound":
                    return self._sound(_listed(**given))
                case "peaks":
                    return recorded_view.peaks(self._channels(_listed(**given)))
                case "picture":
                    return self._picture(**given)
                case "test":
                    return _test(**given)
        except ConfigError:
            raise
        except OSError as error:
            raise ConfigError(f"the recording can't be read: {error.strerror or error}") from error
        except Exception as error:
            raise ConfigError(f"the recording can't be understood: {type(error).__name__}") from error
        raise ConfigError("there is no such order")

    def _search(self, folders: list[str], wanted: dict[str, Any], after: str, live: list[str]) -> bytes:
        self._folders = [Path(folder) for folder in folders]
        found = self._index.search(Wanted(**wanted), after, MOST_ROWS, live)
        rows = [recorded_view.row(one) for one in found.found]
        return msgspec.json.encode(
            {"rows": rows, "after": found.after, "looked_at": found.looked_at, "of": found.of}
        )

    def _find(self, folders: list[str], name: str) -> bytes:
        """The path of the recording of that name, b"" if no recording has it."""
        self._folders = [Path(folder) for folder in folders]
        path = self._index.find(name)
        return b"" if path is None else os.fsencode(path)

    def _call(self, one: Listed) -> bytes:
        return msgspec.json.encode(recorded_view.view(one, _told(_lines(one))))

    def _sound(self, one: Listed) -> bytes:
        both = self._channels(one)
        return stereo_of(both.caller, both.heard)

    def _picture(self, path: str, nonce: str, keep: bool) -> bytes:
        one = _listed(path)
        lines = _lines(one)
        sound = None
        if keep and one.recorded is not None and one.recorded.sound:
            sound = self._sound(one)
            sound = sound if len(sound) <= 2 * _MOST_PICTURE_SOUND else None
        return page(_told(lines), one.name, sound, nonce=nonce).encode()

    def _channels(self, one: Listed) -> Channels:
        """Both sides of the call; those of the last calls are kept. Raises ConfigError without sound."""
        key = (one.path, one.path.stat().st_mtime_ns)
        found = self._sounds.pop(key, None) or channels(_lines(one))
        self._sounds[key] = found
        while len(self._sounds) > _KEPT_SOUNDS:
            self._sounds.popitem(last=False)
        return found


def _test(path: str, at_ms: int, should: str) -> bytes:
    """A test of a moment, as `phonebridge make-test` makes it: always masked."""
    one = _listed(path)
    lines = _lines(one)
    wish = wish_of(should) if should else None
    call = walk_through(lines, at_ms)
    mark = nearest(marks_of(call.facts), at_ms, wish.kinds if wish is not None else ())
    if wish is None:
        must_replay(lines, mark.at_ms + AFTER_MS)
    made = make_test(call, mark, wish, sha256=hashlib.sha256(one.path.read_bytes()).hexdigest())
    return msgspec.json.encode(recorded_view.test(one, made, should))


def _told(lines: list[str]) -> Story:
    """What is hidden of a live call is hidden of one that is over."""
    return tell(lines, hide=hidden.shown)


def _lines(one: Listed) -> list[str]:
    try:
        return lines_of(one.path)
    except ConfigError as error:
        raise ConfigError(f"the recording can't be read: {error}") from error


def _listed(path: str) -> Listed:
    return read(Path(path))


def main() -> None:
    """Until its input ends."""
    orders, out = Orders(), sys.stdout.buffer
    sys.stdout = sys.stderr
    with suppress(OSError, AttributeError):
        os.nice(_NICE)  # calls come first
    for line in sys.stdin.buffer:
        try:
            done, answer = 1, orders.do(msgspec.json.decode(line))
        except ConfigError as error:
            done, answer = 0, str(error).encode(errors="replace")
        out.write(HEAD.pack(done, len(answer)) + answer)
        out.flush()


if __name__ == "__main__":
    main()
