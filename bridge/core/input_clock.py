"""The caller's sound as a session's clock: its time goes by with what it is sent, and by nothing else.

Live API guide, "Audio": output follows the input that was appended. So a session that is sent nothing says
nothing, and takes nothing in. Where the carrier sends no frames, or the model may not hear them, silence goes
up in their place, at the pace of the clock: a burst would be caught up with a burst.
"""

from __future__ import annotations

from typing import Final

from . import answers, delegation, liveness, recovery
from .caller_audio import FRAME_MS
from .caller_turns import awaited, open_caller_audio
from .due import NEVER
from .messages import Phase
from .state import CallState
from .upstream_leg import Leg

GAP_MS: Final = 100
"""Without a frame, before silence takes its place: frames jitter by less."""


def settle(call: CallState, now_ms: int) -> None:
    """The rules at the end of every event, where a session's input must flow and its sound never pauses."""
    delegation.settle(call, now_ms)
    if call.delegation.stuck and call.up.state is Leg.READY and call.ending is None:
        why, call.delegation.stuck = call.delegation.stuck, ""
        answers.owe_resumed(call, now_ms)
        recovery.give_up(call, why, now_ms)
    liveness.streams(call, now_ms)
    ear = call.caller_audio
    if call.config.outbound is not None and not ear.open and not ear.drains and not awaited(call):
        ear.forget()  # the greeting answers the word with which they picked up
        open_caller_audio(call)
    if call.up.state is not Leg.READY or call.phase not in (Phase.LIVE, Phase.AWAY, Phase.DRAINING):
        ear.due_ms = NEVER
    elif ear.due_ms == NEVER:
        ear.due_ms = max(now_ms, ear.last_ms + GAP_MS) if ear.open else now_ms + FRAME_MS


def flow(call: CallState, now_ms: int) -> None:
    """20 ms go up, unless frames do. One that is late is not made up for: the session's time has stood."""
    ear = call.caller_audio
    if ear.open and now_ms < ear.last_ms + GAP_MS:
        ear.due_ms = ear.last_ms + GAP_MS
        return
    epoch = call.up.epoch
    kept = None if ear.open else ear.next_kept(now_ms)
    if kept is None and ear.open and now_ms < ear.last_ms + GAP_MS:
        ear.due_ms = ear.last_ms + GAP_MS  # it has just opened, and frames come
        return
    call.out.append(kept or ear.padding(FRAME_MS, epoch))
    ear.due_ms = max(ear.due_ms + FRAME_MS, now_ms + FRAME_MS // 2)
