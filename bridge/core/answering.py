"""The model's side of a turn: its words, its tools, its mistakes, and what the handler wants said."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from . import ending, hearing, patience, setup
from . import messages as m
from .faults import WAIT_FOR, Verdict, in_words, names_prompt, verdict
from .limits import cost_micro_usd
from .messages import Phase, Reason
from .stats import count
from .upstream_leg import FATAL_CODES, REFUSED, Leg

if TYPE_CHECKING:
    from .call import Call

TOOL_GRACE_MS = 500
NO_ANSWER = '{"error": "the tool gave no answer in time"}'
MOST_ARGUMENTS_CHARACTERS = 65_536
"""Of one tool call: more than any model writes in one response."""
OVERLONG = '{"error": "the arguments are too long"}'
FAILURES = 2
"""Responses that may fail in a row: the first is asked for again."""
AGAIN_MS = 1_000
"""Before a vendor that could not just now is asked again."""


def words(call: Call, event: m.TextDelta) -> None:
    gate = call.speaking.gate
    call.speaking.conversation.words(event)
    if (
        call.config.running_words
        and event.response_id not in gate.muted
        and event.response_id not in gate.asides
    ):
        call.out.append(m.Saying(event.response_id, event.item_id, event.text))


def interrupted_by_us(call: Call, event: m.Interrupt, now_ms: int) -> None:
    if not event.response_id or call.speaking.concerns(event.response_id):
        call.speaking.interrupt(now_ms, ours=True)


def reconfigure(call: Call, event: m.Reconfigure) -> None:
    """No response is asked for until it is in force, so that the next one speaks with it. A session that
    stands ready to take over is told too.
    """
    call.speaking.config = event.config
    call.speaking.gate.held = True
    call.out.append(m.ConfigureSession(event.config, True, call.up.epoch))
    if call.spare is not None and call.spare.state in (Leg.CONFIGURING, Leg.READY):
        call.out.append(m.ConfigureSession(event.config, True, call.spare.epoch))


def say(call: Call, event: m.Say, now_ms: int) -> None:
    if not event.interruptible:
        call.closed_ears.add(event.say_id)
        call.ear.close()
    call.speaking.utter(event.say_id, f'Say exactly this and nothing else: "{event.text}"')
    patience.owe(call, now_ms)


def respond(call: Call, event: m.Respond, now_ms: int) -> None:
    call.speaking.utter(event.say_id, event.instructions)
    patience.owe(call, now_ms)


def mark_reached(call: Call, event: m.MarkReached, now_ms: int) -> None:
    call.speaking.mark_reached(event.name, now_ms)
    if call.speaking.line.ledger.sent:  # else it was a probe: nothing has been heard yet
        hearing.line_moved(call, now_ms)


def add_text(call: Call, role: str, text: str) -> None:
    item = call.speaking.conversation.created(role, text)
    call.out.append(m.CreateItem(item.item_id, role, text, epoch=call.up.epoch))


def response_done(call: Call, event: m.ResponseDone, now_ms: int) -> None:
    tag = call.speaking.gate.tags.get(event.response_id, "")
    call.out.append(m.ResponseEnded(event.response_id, tag, event.status, event.why, event.usage))
    muted = event.response_id in call.speaking.gate.muted
    call.stats.add_usage(event.usage)
    if event.status in ("failed", "incomplete"):
        call.out.append(m.Noted(f"response {event.status}", event.why))
    if not muted and (event.status == "failed" or came_to_nothing(call, event, tag)):
        if ending.leaving(call):
            ending.not_generated(call, now_ms)
        elif not once_more(call, event, now_ms):
            return
    elif event.status == "completed":
        call.failures = 0
    call.speaking.response_done(event, now_ms)
    hearing.line_moved(call, now_ms)
    if call.speaking.gate.idle and not call.speaking.conversation.tools.running:
        call.speaking.owed.stop()
    check_limits(call, now_ms)


def came_to_nothing(call: Call, event: m.ResponseDone, tag: str) -> bool:
    """The model has ended its response, and the caller who waits for it has not heard a word."""
    speaking, gate = call.speaking, call.speaking.gate
    if event.status == "cancelled" or event.response_id != gate.active or gate.waiting or gate.asked:
        return False
    items = speaking.conversation.items.values()
    made = any(
        item.received_bytes or (item.kind != "message" and not ending.leaving(call))
        for item in items
        if item.response_id == event.response_id
    )
    return not made and speaking.owed.since_ms is not None and tag not in speaking.utterances


def once_more(call: Call, event: m.ResponseDone, now_ms: int) -> bool:
    """The response is asked for again, once. Returns whether the call goes on: it does not if the second one
    failed too; if it was silent, the caller is asked to go on.
    """
    call.failures += 1
    speaking = call.speaking
    if event.status != "failed" and call.failures >= FAILURES:
        call.failures = 0
        if (phrase := call.config.phrases.get("restored")) is not None:
            speaking.play(f"silent:{event.response_id}", phrase, now_ms)
    elif call.failures >= FAILURES or event.why in FATAL_CODES:
        if event.why in FATAL_CODES:
            call.out.append(m.Noted(REFUSED, event.why))
        ending.fail(call, Reason.UPSTREAM_LOST, now_ms, f"responses fail: {event.why}")
        return False
    else:
        speaking.retry(event.response_id)
        pause(call, event.why, now_ms)
    return True


def pause(call: Call, code: str, now_ms: int) -> None:
    """Asked again at once, some would only refuse again."""
    if code in WAIT_FOR:
        call.speaking.gate.paused = True
        call.timers["again"] = now_ms + AGAIN_MS


def again(call: Call, _now_ms: int) -> None:
    """The pause is over."""
    call.speaking.gate.paused = False
    call.speaking.next_response()


def tool_called(call: Call, event: m.ToolCalled, now_ms: int) -> None:
    """Run it, once. One past the limit is refused before anything of it is kept."""
    before = call.config.carried or m.Carried()
    tools, called = call.speaking.conversation.tools, before.tools + call.stats.tools + 1
    fresh = event.complete and event.call_id not in tools.calls
    if fresh and called > call.config.limits.tools:
        ending.goodbye(call, f"{called} tools were called", now_ms)
        return
    overlong = len(event.arguments) > MOST_ARGUMENTS_CHARACTERS
    if overlong:
        event = msgspec.structs.replace(event, arguments="{}")
    item = call.speaking.conversation.item(event.item_id, event.response_id)
    item.kind, item.call_id = "function_call", event.call_id
    made = tools.called(event, call.turn)
    if made is None:
        return
    call.stats.tools += 1
    tool = tool_config(call, made.name)
    patience.owe(call, now_ms, tool.filler_after_ms)
    if overlong:
        tool_finished(call, m.ToolFinished(made.call_id, OVERLONG))
        return
    tools.wait_until(now_ms + tool.deadline_ms + TOOL_GRACE_MS, made)
    call.set_timer("tool", tools.deadline_ms)
    call.out.append(m.ToolWanted(made.call_id, made.name, made.arguments))


def tool_config(call: Call, name: str) -> m.ToolConfig:
    configs = call.speaking.config.tool_configs
    return next((tool for tool in configs if tool.name == name), m.ToolConfig(name))


def tools_late(call: Call, now_ms: int) -> None:
    """User code keeps its own deadlines; this one is for user code that blocks its whole loop."""
    for late in call.speaking.conversation.tools.overdue(now_ms):
        call.out.append(m.Noted("a tool gave no answer", late.name))
        tool_finished(call, m.ToolFinished(late.call_id, NO_ANSWER))
    call.set_timer("tool", call.speaking.conversation.tools.deadline_ms)


def tool_finished(call: Call, event: m.ToolFinished) -> None:
    """The result goes in at once; a response about it once the batch is whole, the model free and the
    caller silent.
    """
    conversation = call.speaking.conversation
    done = conversation.tools.finished(event.call_id, event.output, event.respond)
    if done is None:
        return
    twins = conversation.tools.twins(event.call_id)
    for twin in twins:
        conversation.tools.finished(twin.call_id, event.output, event.respond)
    if call.speaking.ready:
        for answered in twins or [done]:
            call.out += conversation.result(answered, call.up.epoch)
    owes = conversation.tools.owes_response(call.turn)
    if call.phase is not Phase.LIVE:
        return
    if owes:
        call.speaking.ask(f"tool:{event.call_id}")
    elif done.turn == call.turn and not conversation.tools.running and call.speaking.gate.idle:
        call.speaking.owed.stop()  # what a later turn is owed stays owed


def faulted(call: Call, event: m.UpstreamFaulted, now_ms: int) -> None:
    """Most vendor errors leave the session open: an error's code decides, not its arrival."""
    code = event.code or "unknown"
    count(call.stats.faults, code)
    about, _, subject = event.about.partition(":")
    what, detail = verdict(event), f"{event.code} {event.param} {event.message}"
    prompt = names_prompt(event)
    if what is Verdict.FATAL:
        call.out.append(m.Noted(REFUSED, event.code or event.kind))
    if (about == "configure" or prompt) and call.up.state is Leg.CONFIGURING:
        ending.fail(call, Reason.UPSTREAM_REFUSED, now_ms, in_words(event))
    elif what is Verdict.FATAL:
        ending.fail(call, Reason.UPSTREAM_REFUSED, now_ms, f"{event.code}: {event.message}")
    elif what is Verdict.EXPIRED:
        patience.give_up(call, event.code, now_ms)
    elif what is Verdict.BUSY:
        call.speaking.refused(subject if about == "create" else None, again=True)
    elif about == "configure" or (prompt and call.speaking.gate.held):
        call.out.append(m.Noted("configuration refused", in_words(event) if prompt else detail))
        setup.in_force(call)
    elif prompt:
        ending.fail(call, Reason.UPSTREAM_REFUSED, now_ms, in_words(event))
    elif about == "create":
        call.out.append(m.Noted("upstream error", detail))
        create_refused(call, subject, event, now_ms)
    elif what is not Verdict.BENIGN and about not in ("truncate", "delete", "cancel"):
        call.out.append(m.Noted("upstream error", detail))


def create_refused(call: Call, tag: str, event: m.UpstreamFaulted, now_ms: int) -> None:
    """Our request for a response got an error, and no response will follow. What a handler wanted said is
    answered with `Heard`; what the call itself owes is asked for once more.
    """
    speaking, gate = call.speaking, call.speaking.gate
    waits = gate.asked is not None and gate.asked.tag == tag and not gate.stale
    retryable = verdict(event) is Verdict.RETRYABLE
    owed = waits and (retryable or tag not in speaking.utterances)
    call.failures += owed
    if owed and call.failures >= FAILURES:
        ending.fail(call, Reason.UPSTREAM_LOST, now_ms, f"responses are refused: {event.code}")
        return
    if retryable:
        pause(call, event.code or event.kind, now_ms)
    speaking.refused(tag, again=retryable)
    if retryable:
        speaking.next_response()
    elif owed and gate.idle:
        speaking.ask("retry")


def check_limits(call: Call, now_ms: int) -> None:
    minutes = call.stats.transcribed_s / 60
    prices = call.config.prices
    cost = cost_micro_usd(call.stats.usage, prices)
    cost += round(1e6 * minutes * prices.get("transcription_minute", 0.0))
    call.stats.cost_micro_usd = cost
    before = call.config.carried or m.Carried()
    exceeded = call.limits.exceeded(before.cost_micro_usd + cost)
    if exceeded is not None:
        ending.goodbye(call, exceeded, now_ms)
