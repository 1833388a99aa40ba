"""How a call in virtual time begins, and what it is made of.

`begin` gives a :class:`ScriptedCall`, with an agent beside it where one answers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec

from ..core import messages as m
from ..doubles.agents import Agent as Mind
from ..doubles.agents import ToolCall
from ..doubles.options import ServerOptions
from ..doubles.phone import Phone, PhoneOptions
from ..sounds.phrases import Phrases
from .agent_call import AgentCall, TimedTools
from .scripted_call import ScriptedCall

TRANSCRIPTION: Final = "gpt-4o-mini-transcribe"
PLACED: Final = {"direction": "outbound"}
"""What the fields of a call say that we have placed."""


def usual_config(**fields: Any) -> m.CallConfig:
    """How calls begin here: with the bundled phrases, but neither greeting nor disclosure. `fields` of
    `CallConfig` go before.
    """
    session = m.SessionConfig(transcription=TRANSCRIPTION)
    given = {"session": session, "phrases": Phrases().sounds("en"), "turn_bounds": m.TurnBounds(), **fields}
    return m.CallConfig(**given)


def tool_call(name: str, /, **arguments: Any) -> ToolCall:
    """A call of a tool, for `Model.answers`."""
    return ToolCall(name, arguments)


def begin(  # noqa: PLR0913  the keywords of a fixture
    agent: Any = None,
    *,
    config: m.CallConfig | None = None,
    phone: PhoneOptions | None = None,
    model: ServerOptions | None = None,
    parameters: Mapping[str, str] | None = None,
    transfers: Sequence[str] = (),
    folders: Sequence[Path] = (),
    ring: bool = False,
    dial_ms: int = 0,
    tool_ms: Mapping[str, int] | None = None,
    mind: Mind | None = None,
    recording: Mapping[str, bool] | None = None,
    placed: bool = False,
    **fields: Any,
) -> ScriptedCall:
    """A call that has just begun, both legs up, at 0 ms. `agent` answers it, if there is one.

    `phone` and `model` say how the doubles differ from ideal ones; the phone has no delays, a model answers
    200 ms after it was asked. `parameters` are those of the stream, and what a resolver sees; `transfers` the
    targets an agent knows. `config` and `fields` of it (`greeting=…`) take the place of `usual_config`. With
    `ring` the model is dialled while the phone rings, a second before; dialling takes `dial_ms`. `tool_ms`
    says how long tools take beyond what they wait for: `{"book": 3_000}`; ValueError for an unknown name.
    `mind` is a model that answers by itself. `recording`: `sound`, `keys`. `placed`: the call is ours.
    """
    options = model or ServerOptions(delta_bytes=(1600,))
    ours = {"outbound": m.AnswerRules()} if placed and agent is None else {}
    base = msgspec.structs.replace(
        config or usual_config(), **{"accepted_at_s": options.created_at_s, **ours, **fields}
    )
    handset = Phone(parameters=dict(parameters or {}), options=phone or PhoneOptions())
    how: dict[str, Any] = {"folders": folders, "dial_ms": dial_ms, "mind": mind, "recording": recording}
    if agent is None:
        call = ScriptedCall(base, handset, options, **how)
    else:
        configs = TimedTools(base, transfers, tool_ms=tool_ms or {})
        how["fields"] = {**(PLACED if placed else {}), **(parameters or {})}
        call = AgentCall(agent, configs, handset, options, **how)
    return _begun(call, ring)


def _begun(call: ScriptedCall, ring: bool) -> ScriptedCall:
    if ring:
        call.rehearsal.feed(m.Ringing())
        call.at(1_000)
    call.rehearsal.start()
    return call.wait(0)
