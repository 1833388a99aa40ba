"""A recording without its sound: the same lines, which replay as before and hold the sizes alone.

Line by line and by the fields of each, so that an hour of call takes a moment: nothing is replayed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

import msgspec

from bridge.errors import ConfigError

from .header import header_line, read_header
from .lines import action_field, event_field, frame_field, frame_of, read_line
from .sound import LEAST_CHARACTERS

_FRAME: Final = ("frame", "text", "as_is")
_encoded: Final = msgspec.json.Encoder().encode
_members: Final = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


def silenced(lines: Iterable[str]) -> Iterator[str]:
    """The lines of this recording without sound; they are its own where it has none. Raises ConfigError for a
    line that is not of a recording.
    """
    rest = iter(lines)
    header = read_header(next(rest, ""))
    yield header_line(header, sound=False)
    for number, text in enumerate(rest, 2):
        try:
            yield _silenced(text) if header.sound else text
        except ValueError as error:
            raise ConfigError(f"line {number} is not of a recording: {error}") from error


def _silenced(text: str) -> str:
    line, members = read_line(text), _members(text)
    if line.run is not None:
        members.pop("sound", None)
    elif line.event is not None:
        return _with(members, ("event",), event_field(line.event, sound=False))
    elif line.action is not None:
        return _with(members, ("action",), action_field(line.action, sound=False))
    elif line.binary is None and (door := line.from_ or line.to or line.dropped):
        least = 1 if line.to == "carrier" else LEAST_CHARACTERS
        frame = frame_of(line, door, sound=True)
        if isinstance(frame, str):
            return _with(members, _FRAME, frame_field(frame, door, least))
    return _encoded(members).decode()


def _with(members: dict[str, msgspec.Raw], names: tuple[str, ...], field: str) -> str:
    """The line with this field in the place of those names."""
    place = next(name for name in members if name in names)
    written = (
        field if name == place else f'"{name}":{bytes(value).decode()}'
        for name, value in members.items()
        if name == place or name not in names
    )
    return f"{{{','.join(written)}}}"
