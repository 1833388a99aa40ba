"""The lines of a recording, one JSON object each, after its header.

::

    {"t":1040,"from":"carrier","frame":{…}}      a frame came in, and what followed from it comes next:
    {"to":"upstream","frame":{…}}                a frame left the socket
    {"to":"session","action":{"is":"Cut",…}}     a decision that is no frame
    {"to":"upstream","action":{…}}               a command of which no frame was made (yet)
    {"dropped":"upstream","frame":{…}}           a frame thrown away before the socket
    {"t":1050,"event":{"is":"WakeUp"}}           something else happened
    {"t":1060,"run":"0 20 20@21 3d1600+17 5k16 9t","words":[" there"]}
    {"end":true}

Times are milliseconds since the call was accepted. `epoch` numbers the upstream session where it is not 1. A
frame that cannot stand as it is (no JSON, or of more than one line) is the string `text`, or with `as_is` one
in which nothing was left out; one that is no text is base64 in `binary`. `times` says that a line stands for
several equal ones. `{"truncated":"disk full"}` in the place of the end says why there is no more.

A run is what happened in a row with nothing new about it but numbers. Each step begins with the milliseconds
since the step before:

=============  ============================================================================================
`20`           the caller's next frame, 160 bytes and 20 ms of the carrier's clock; it was appended at once
`20m80@21-`    the same with other numbers; `-`: nothing followed from it; `~`: silence was appended
`3d1600+17`    a delta of model audio, 1,600 bytes; it was played at once, and mark 17 sent behind it
`3d1600`       the same without a mark; `-` if it was not played
`9t`           a delta of words, the next of `words`
`5k16`         mark 16 came back
=============  ============================================================================================

Everything else about such a frame is as in the last frame of its kind that stands whole. Where sound is kept
a run has it in `sound`, one text for each frame of the caller and each delta.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable, Mapping
from typing import Final

import msgspec

from bridge.core import messages as m

from .bounds import plausible
from .header import with_audio, without_audio
from .json_text import encoded, fits_a_line, quoted
from .sound import elide_sound, expand_sound


class Line(msgspec.Struct, gc=False):
    """Any line but the header; which fields it has says what it is."""

    t: int | None = None
    from_: str = msgspec.field(default="", name="from")
    to: str = ""
    dropped: str = ""
    frame: msgspec.Raw = msgspec.Raw()
    text: str | None = None
    as_is: bool = False
    binary: bytes | None = None
    epoch: int | None = None
    event: m.Event | None = None
    action: m.Action | None = None
    times: int = 1
    run: str | None = None
    words: list[msgspec.Raw] = []
    sound: list[str] = []
    end: bool = False
    truncated: str | None = None


_decode: Final = msgspec.json.Decoder(Line).decode


def read_line(text: str) -> Line:
    """Any line but the header. Raises ValueError for anything else."""
    try:
        return _decode(text)
    except RecursionError as error:
        raise ValueError("it is nested too deep") from error


def frame_field(frame: str | bytes, door: str, least_characters: int | None) -> str:
    """A frame as a field of a line. `least_characters` of sound are left out; None keeps all of it."""
    if isinstance(frame, bytes):
        return f'"binary":"{b64encode(frame).decode()}"'
    shown = frame if least_characters is None else elide_sound(frame, door, least_characters)
    if shown is None:
        return f'"text":{quoted(frame)},"as_is":true'
    return f'"frame":{shown}' if fits_a_line(shown) else f'"text":{quoted(shown)}'


def frame_of(line: Line, door: str, *, sound: bool) -> str | bytes | None:
    """The frame of a line, silence where sound was left out; None when it has none."""
    if line.binary is not None:
        return line.binary
    text = line.text if line.text is not None else bytes(line.frame).decode() or None
    return text if text is None or line.as_is or sound else expand_sound(text, door)


def event_field(event: m.Event, *, sound: bool) -> str:
    """An event that was no frame, as a field of a line."""
    as_is = ""
    if isinstance(event, m.Play) and not sound:
        event = msgspec.structs.replace(event, sound=without_audio(event.sound))
    elif isinstance(event, m.Reconfigure) and event.phrases and not sound:
        event = m.Reconfigure(event.config, _each(without_audio, event.phrases))
    elif isinstance(event, m.SendRaw) and not sound:
        body = elide_sound(event.body, "upstream")
        as_is = ',"as_is":true' if body is None else ""
        event = event if body is None else m.SendRaw(body)
    return f'"event":{encoded(event)}{as_is}'


def _each(change: Callable[[m.Sound], m.Sound], phrases: Mapping[str, m.Sound]) -> dict[str, m.Sound]:
    return {name: change(phrase) for name, phrase in phrases.items()}


def event_of(event: m.Event, *, sound: bool) -> m.Event:
    """The event of a line, silence where `sound` was left out. Raises ValueError for one that no call has."""
    if isinstance(event, m.Play) and not sound:
        event = msgspec.structs.replace(event, sound=with_audio(event.sound))
    elif isinstance(event, m.Reconfigure) and event.phrases and not sound:
        event = m.Reconfigure(event.config, _each(with_audio, event.phrases))
    elif isinstance(event, m.SendRaw) and not sound:
        event = m.SendRaw(expand_sound(event.body, "upstream"))
    if type(event) is not m.WakeUp:
        plausible(event)
    return event


def action_field(action: m.Action, *, sound: bool) -> str:
    """A decision as a field of a line."""
    return f'"action":{encoded(shown_action(action, sound=sound))}'


def shown_action(action: m.Action, *, sound: bool) -> m.Action:
    """The action as a recording has it: of a command that holds sound only the size is shown."""
    if isinstance(action, m.PlayAudio | m.AppendAudio) and not sound:
        return msgspec.structs.replace(action, audio="")
    if isinstance(action, m.SendVendorEvent) and not sound:
        return m.SendVendorEvent(elide_sound(action.body, "upstream") or action.body, action.epoch)
    return action
