"""The first line of a recording: what a call was made of, before anything happened to it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from bridge.codecs import is_clean, size_bytes
from bridge.core.messages import CallConfig, Sound
from bridge.errors import ConfigError

from .bounds import plausible, possible
from .json_text import UNREADABLE, encoded
from .sound import MAX_BYTES, expand_text

SUFFIX: Final = ".call.jsonl"
"""Of the names of recordings."""
FORMAT: Final = 1
"""Number of the format that is written. A recording of another one is refused, never guessed at."""

_SECRET_NAME: Final = re.compile(r"token|secret|password|authorization|api_?key", re.IGNORECASE)
_PHONE_NUMBER: Final = re.compile(r"(?:\+|%2B)[0-9]{6,15}")


class Origin(msgspec.Struct, frozen=True):
    """Which recording this one is a piece of: the SHA-256 of its file ("" where it was none), and the moments
    of that call from which it goes on (0: from its beginning) and which was marked.
    """

    recording: str = ""
    from_ms: int = 0
    at_ms: int = 0


class Forked(msgspec.Struct, frozen=True):
    """Which recording this call goes on from (the SHA-256 of its file), at which of its moments, and which
    was asked for. `exact`: to the millisecond; else from a quiet moment. `model` answered from there on.
    """

    recording: str = ""
    asked_ms: int = 0
    at_ms: int = 0
    exact: bool = False
    model: str = ""


class Header(msgspec.Struct, frozen=True, kw_only=True):
    """`carrier` and `upstream` are names of the tables of adapters; `at` is the wall time in any words.

    `caller` is the number of the person on the line, written masked (`+1…34`), "" where it is withheld.
    `parameters` are those of the call, shown to who reads the recording; no secret and no phone number of
    theirs is written. `carried` is what a process before this one handed over. `cut` stands in a piece of
    another recording, `forked` in one that goes on from it. `format` and `sound` are written by the recorder.
    """

    carrier: str
    upstream: str
    config: CallConfig = CallConfig()
    at: str = ""
    caller: str = ""
    versions: dict[str, str] = {}
    parameters: dict[str, str] = {}
    carried: dict[str, Any] | None = None
    cut: Origin | None = None
    forked: Forked | None = None
    sound: bool = False
    format: int = FORMAT


class _Since(msgspec.Struct):
    """What the configuration of an older recording does not have, with the value by which it was made."""

    playout_lead_ms: int = 0


class _Format(msgspec.Struct):
    format: int
    config: _Since = msgspec.field(default_factory=_Since)


def mask(text: str) -> str:
    """The text without phone numbers (E.164): nothing of the digits stays, not even how many there were."""
    return _PHONE_NUMBER.sub("+…", text)


def short_number(number: str) -> str:
    """A phone number (E.164) by which its owner knows it and others do not: `+1…34`; any other text without
    numbers.
    """
    return f"{number[:2]}…{number[-2:]}" if _PHONE_NUMBER.fullmatch(number) else mask(number)


def mask_parameters(parameters: Mapping[str, str]) -> dict[str, str]:
    """The parameters of a call without what proves something, and without phone numbers."""
    return {mask(name): mask(value) for name, value in parameters.items() if not _SECRET_NAME.search(name)}


def header_line(header: Header, *, sound: bool) -> str:
    """The header as it is written down, with or without the sound of the phrases."""
    config = header.config
    if not sound:
        config = msgspec.structs.replace(
            config, phrases={name: without_audio(phrase) for name, phrase in config.phrases.items()}
        )
    written = msgspec.structs.replace(
        header,
        config=config,
        caller=short_number(header.caller),
        parameters=mask_parameters(header.parameters),
        sound=sound,
        format=FORMAT,
    )
    return encoded(written)


def read_header(line: str) -> Header:
    """The header of a recording. Raises ConfigError, in words for who wanted to replay it, when the line is
    none, or one of a format that this version does not read.
    """
    try:
        form = msgspec.json.decode(line, type=_Format)
    except UNREADABLE as error:
        raise ConfigError("this is no recording of a call: its first line is not a header") from error
    if form.format != FORMAT:
        newer = "a newer phonebridge wrote it" if form.format > FORMAT else "record the call again"
        raise ConfigError(
            f"this recording has format {form.format}, and this phonebridge reads {FORMAT}: {newer}"
        )
    try:
        header = _with_phrases(msgspec.json.decode(line, type=Header), form.config.playout_lead_ms)
        plausible(header)
        possible(header.config)
    except UNREADABLE as error:
        raise ConfigError(f"the header of this recording can't be read: {error}") from error
    return header


def _with_phrases(header: Header, playout_lead_ms: int) -> Header:
    """The header with silence in the place of sound that was left out."""
    config = header.config
    if sum(phrase.size_bytes for phrase in config.phrases.values()) > MAX_BYTES:
        raise ValueError("more sound than any phrases have")
    phrases = {name: with_audio(phrase) for name, phrase in config.phrases.items()}
    config = msgspec.structs.replace(config, phrases=phrases, playout_lead_ms=playout_lead_ms)
    return msgspec.structs.replace(header, config=config)


def without_audio(sound: Sound) -> Sound:
    """The sound as a size and its words."""
    if not sound.audio or not is_clean(sound.audio):
        return sound
    return msgspec.structs.replace(sound, audio=f"<{size_bytes(sound.audio)}>")


def with_audio(sound: Sound) -> Sound:
    """The sound as silence, if it was left out."""
    return msgspec.structs.replace(sound, audio=expand_text(sound.audio))
