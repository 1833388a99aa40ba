"""The model's tool calls: each wanted once, timed, and answered."""

from __future__ import annotations

import msgspec

from . import ending, state, tool_results
from . import messages as m
from .responses import MOST_ARGUMENTS_CHARACTERS, OVERLONG
from .state import CallState

TOOL_GRACE_MS = 500

MCP_CALL = "response.mcp_call"
NO_ANSWER = '{"error": "the tool gave no answer in time"}'


def tool_called(call: CallState, event: m.ToolCalled, now_ms: int) -> None:
    """Run it, once. One past the limit is refused before anything of it is kept."""
    before = call.config.carried or m.CallSnapshot()
    tools, called = call.playout.conversation.tools, before.tools + call.stats.tools + 1
    fresh = event.complete and event.call_id not in tools.calls
    if fresh and called > call.config.limits.tools:
        ending.goodbye(call, f"{called} tools were called", now_ms)
        return
    overlong = len(event.arguments) > MOST_ARGUMENTS_CHARACTERS
    if overlong:
        event = msgspec.structs.replace(event, arguments="{}")
    item = call.playout.conversation.item(event.item_id, event.response_id)
    item.kind, item.call_id = "function_call", event.call_id
    known = event.call_id in tools.calls
    made = tools.called(event)
    if event.complete and not known:
        call.playout.debts.called(event.response_id, event.call_id, now_ms)
    if made is None:
        return
    call.stats.tools += 1
    call.stats.tool_began(made.call_id, made.name, now_ms)
    tool = tool_config(call, made.name)
    # A duplex model calls as soon as it knows enough: our ear may not know yet that the caller has stopped.
    ahead = call.up.can.duplex and call.caller_speaking
    silent_ms = call.caller_audio.voice_ended_ms if ahead else None
    state.owe(call, now_ms, tool.filler_after_ms, silent_ms)
    if overlong:
        tool_finished(call, m.ToolFinished(made.call_id, OVERLONG), now_ms)
        return
    tools.wait_until(now_ms + tool.deadline_ms + TOOL_GRACE_MS, made)
    call.out.append(m.ToolWanted(made.call_id, made.name, made.arguments))


def vendor_note(call: CallState, event: m.VendorNote, now_ms: int) -> None:
    """Realtime guide, "MCP": the vendor runs these tools itself, and their results stand in the conversation.
    Nothing is said about them until a response is asked for.
    """
    call.out.append(event)
    note_failed_list(call, event)
    debts, kind, _, state_of = call.playout.debts, *event.kind.rpartition(".")
    if kind != MCP_CALL or not event.item_id or not call.admitted:
        return
    if not debts.runs(event.item_id):
        debts.called(call.playout.gate.active or MCP_CALL, event.item_id, now_ms, remote=True)
        call.stats.tool_began(event.item_id, "mcp_call", now_ms)
    if state_of != "in_progress":
        debts.result(event.item_id)
        call.stats.tool_ended(event.item_id, now_ms)


def note_failed_list(call: CallState, event: m.VendorNote) -> None:
    """The vendor could not list an MCP server's tools: the model has none of them in this session."""
    if event.why:
        call.out.append(m.Noted("no tools of an MCP server", event.why))


def tool_config(call: CallState, name: str) -> m.ToolConfig:
    configs = call.playout.config.tool_configs
    return next((tool for tool in configs if tool.name == name), m.ToolConfig(name))


def tools_late(call: CallState, now_ms: int) -> None:
    """User code keeps its own deadlines; this one is for user code that blocks its whole loop."""
    for late in call.playout.conversation.tools.overdue(now_ms):
        call.out.append(m.Noted("a tool gave no answer", late.name))
        tool_finished(call, m.ToolFinished(late.call_id, NO_ANSWER), now_ms)


def tool_finished(call: CallState, event: m.ToolFinished, now_ms: int) -> None:
    """The result goes in at once; it is answered once its batch is whole, as `answers` has it."""
    conversation = call.playout.conversation
    done = conversation.tools.finished(event.call_id, event.output)
    if done is None:
        return
    twins = conversation.tools.twins(event.call_id)
    for twin in twins:
        conversation.tools.finished(twin.call_id, event.output)
    if call.playout.ready:
        for answered in twins or [done]:
            call.out += tool_results.told(call, answered)
    for answered in [*twins, done]:
        call.stats.tool_ended(answered.call_id, now_ms)
        call.playout.debts.result(answered.call_id, wanted=event.respond)
