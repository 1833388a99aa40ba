"""Another caller than the recorded one, from the moment on at which a call is forked."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from bridge.codecs.wav import pcmu_of
from bridge.errors import ConfigError
from bridge.recording.caller_script import Act, Anchor, Kind
from bridge.sounds.reading import raw_sound

from .callers_voice import speaker_for
from .scenario import load

AFTER_MS: Final = 700
"""The agent's last word, as simulated callers answer."""
_MS: Final = 8
"""Bytes of µ-law."""


def acts_of(file: Path) -> tuple[Act, ...]:
    """A sound file (.wav) is one turn, whose words are not known; a scenario (.toml) says its lines, a turn
    each, in its voice. Raises ConfigError for anything else.
    """
    if file.suffix == ".wav":
        try:
            return _turns([(pcmu_of(raw_sound(file)), None)])
        except (OSError, ValueError) as error:
            raise ConfigError(f"{file} can't be read as sound: {error}") from error
    if file.suffix != ".toml":
        raise ConfigError(f"{file} is no caller: a sound file (.wav), or a scenario with lines (.toml)")
    [scenario] = load(file)
    if not scenario.caller.lines:
        raise ConfigError(f"{file} has no lines: here a caller says lines, and has no mind")
    voice = speaker_for(scenario.caller.voice, scenario.place)
    return _turns([(voice.sound(line), line) for line in scenario.caller.lines])


def _turns(said: list[tuple[bytes, str | None]]) -> tuple[Act, ...]:
    acts: list[Act] = []
    at_ms = 0
    for sound, words in said:
        anchor = Anchor.GAP if acts else Anchor.PAUSE
        end_ms = at_ms + len(sound) // _MS
        acts.append(Act(Kind.SAYS, anchor, AFTER_MS, at_ms, end_ms, sound=sound, words=words))
        at_ms = end_ms
    return tuple(acts)
