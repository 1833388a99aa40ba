"""The model's side of a turn: its words, its tools, its mistakes, and what the handler wants said."""

from __future__ import annotations

from . import answers, ending, inaudible, model_commands, silence, state
from . import messages as m
from .debts import Kind
from .due import NEVER
from .messages import Reason
from .state import CallState
from .upstream_leg import FATAL_CODES, REFUSED, Leg
from .vendor_errors import WAIT_FOR

GREETING = "greeting"

MOST_ARGUMENTS_CHARACTERS = 65_536
"""Of one tool call: more than any model writes in one response."""
OVERLONG = '{"error": "the arguments are too long"}'
FAILURES = 2
"""Responses that may fail in a row: the first is asked for again."""
MOST_WAIT_MS = 10_000
"""That a vendor may ask us to wait for one answer, in all; fillers cover it."""
AGAIN_MS = 1_000
"""Before a vendor that could not just now is asked again."""


def sound(call: CallState, event: m.AudioDelta, now_ms: int) -> None:
    playout = call.playout
    if playout.unanswered is not None and call.open_turn.commit_ms is None:
        call.caller_audio.answered()
    playout.delta(event, now_ms)


def words(call: CallState, event: m.TextDelta) -> None:
    playout, response_id = call.playout, event.response_id
    playout.conversation.words(event)
    unheard = response_id in playout.muted or response_id in playout.gate.asides
    if playout.agent.running_words and not unheard:
        call.out.append(m.TranscriptDelta(response_id, event.item_id, event.text))


def interrupted_by_us(call: CallState, event: m.Interrupt, now_ms: int) -> None:
    playout = call.playout
    if not event.response_id or playout.concerns(event.response_id):
        playout.interrupt(now_ms, ours=True)
    elif playout.duplex is not None and event.response_id == playout.duplex.upcoming:
        playout.duplex.unwanted = event.response_id


def reconfigure(call: CallState, event: m.Reconfigure, now_ms: int) -> None:
    """Another agent is in force, or the same one changed. The call keeps to its rules at once. No response is
    asked for until the session has its configuration, so that the next one speaks with it. A session that
    stands ready to take over is told too; one that is not dialled yet begins with it.
    """
    before = call.playout.config
    config = event.config.after(before)
    call.playout.configure(config)
    call.playout.phrases = event.phrases or call.playout.phrases
    call.keys.read(event)
    silence.set_times(call, now_ms)
    call.playout.gate.held = call.playout.ready
    for session in (call.up, call.spare):
        if session is not None and session.state in (Leg.CONFIGURING, Leg.READY):
            asked = session.plan.dress(state.asked_of(call, config))
            call.out.append(m.ConfigureSession(asked, True, session.epoch))
    if call.up.can.reconfigures != "session" and config.instructions != before.instructions:
        # It was told in words, as far as a session takes them; the next one begins with the instructions.
        call.up.renew_due_ms = min(call.up.renew_due_ms, now_ms)


def disclose(call: CallState, now_ms: int) -> None:
    """The disclosure needs no model, so it does not wait for one. Played once, and not to a caller who has
    heard it in another process.
    """
    name = call.config.disclosure
    disclosure = call.playout.phrases.get(name)
    if disclosure is None or call.disclosed or (call.config.carried and call.config.carried.disclosed):
        return
    call.disclosed = True
    call.uninterruptible.add(name)
    call.playout.play(name, disclosure, now_ms, protected=True)


def protect_greeting(call: CallState) -> None:
    """The caller's voice shall not stop it, if it is declared so."""
    if not call.config.greeting_interruptible:
        call.playout.utterances.asked(GREETING)
        call.uninterruptible.add(GREETING)
        call.caller_audio.close()


def greet(call: CallState, now_ms: int) -> None:
    wish = f'Begin the call now. Say: "{call.config.greeting}"'
    if call.up.can.speaks == "append":
        wish = f"Say now, without waiting: {call.config.greeting}"
    call.playout.ask(GREETING, wish, Kind.GREETING, now_ms)


def play(call: CallState, event: m.Play, now_ms: int) -> None:
    """At once, or when it is known that a person listens."""
    if call.callee.silent:
        call.callee.kept.append(event)
        return
    call.playout.play(event.say_id, event.sound, now_ms, protected=event.protected)


def say(call: CallState, event: m.Say, now_ms: int) -> None:
    if not event.interruptible:
        call.uninterruptible.add(event.say_id)
        call.caller_audio.close()
    call.playout.utter(event.say_id, f'Say exactly this and nothing else: "{event.text}"', Kind.SAY, now_ms)


def respond(call: CallState, event: m.Respond, now_ms: int) -> None:
    call.playout.utter(event.say_id, event.instructions, Kind.RESPOND, now_ms)


def add_text(call: CallState, role: str, text: str) -> None:
    item = call.playout.conversation.created(role, text)
    call.out.append(model_commands.message(call.up, item.item_id, role, text))


def response_done(call: CallState, event: m.ResponseDone, now_ms: int) -> None:
    tag = call.playout.gate.tags.get(event.response_id, "")
    call.out.append(m.ResponseEnded(event.response_id, tag, event.status, event.why, event.usage))
    muted = event.response_id in call.playout.muted
    if call.up.can.priced_by == "tokens" or event.usage is not None:
        call.stats.add_usage(event.usage)
    call.spending.response(event.usage)
    call.stats.response_ended(event, now_ms)
    if event.status in ("failed", "incomplete"):
        call.out.append(m.Noted(f"response {event.status}", event.why))
    whole = event.status in ("completed", "incomplete")
    unheard = not muted and whole and inaudible.delete(call, event.response_id)
    if not muted and broke_off(call, event):
        answer_broken_off(call, event, now_ms)
    elif not muted and (event.status == "failed" or came_to_nothing(call, event, tag, unheard)):
        if ending.leaving(call):
            ending.not_generated(call, now_ms)
        elif not once_more(call, event, now_ms, unheard):
            return
    elif event.status == "completed" or (muted and call.playout.audible_in(event.response_id)):
        call.failures = call.waited_ms = 0
    call.playout.response_done(event, now_ms)
    if unheard:
        inaudible.clear(call, event.response_id, now_ms)


def broke_off(call: CallState, event: m.ResponseDone) -> bool:
    """Whether the response was broken off, and not by the caller or by us: it failed after the caller was
    sent some of it, or was cancelled though that was not asked for.
    """
    active = event.response_id == call.playout.gate.active and not ending.leaving(call)
    if event.status == "failed":
        last = call.failures + 1 >= FAILURES or event.why in FATAL_CODES
        return active and not last and call.playout.made_sound(event.response_id)
    return active and event.status == "cancelled"


def answer_broken_off(call: CallState, event: m.ResponseDone, now_ms: int) -> None:
    """Of what was sent to the caller the model says the rest; of what was not heard at all it is asked
    again. Where the vendor took a noise for speech, the turn that it heard may follow, and be answered; where
    we have overruled it, none will.
    """
    playout, noise = call.playout, event.why == "turn_detected" and call.open_turn.overruled_ms is None
    if playout.made_sound(event.response_id):
        call.failures += event.status == "failed"
        if not noise:
            playout.shorten(event.response_id, now_ms)
        answers.owe_rest(call, now_ms, noise=noise)
    elif not playout.debts.made_calls(event.response_id):
        playout.retry(event.response_id)
        if noise:
            playout.gate.again_due_ms = now_ms + answers.NOISE_MS
        else:
            pause(call, event.why, now_ms)


def came_to_nothing(call: CallState, event: m.ResponseDone, tag: str, unheard: bool) -> bool:
    """The model has ended its response, and the caller who waits for it has not heard a word; or whether
    they wait or not, nothing of it could be heard (`unheard`).
    """
    playout, gate = call.playout, call.playout.gate
    asked = gate.waiting or (gate.asked and not gate.stale)
    if event.status == "cancelled" or event.response_id != gate.active or asked:
        return False
    made = playout.debts.made_calls(event.response_id) or any(
        item.audible or (item.kind != "message" and not ending.leaving(call))
        for item in playout.conversation.of(event.response_id)
    )
    waits = unheard or playout.owed.since_ms is not None
    return not made and waits and (unheard or tag == GREETING or tag not in playout.utterances)


def once_more(call: CallState, event: m.ResponseDone, now_ms: int, unheard: bool) -> bool:
    """The response is asked for again, once. Returns whether the call goes on: it does not if the second one
    failed too; if it was silent, the caller is asked to go on. Where the model could not be heard for the
    second time in a call, the session itself is replaced (`recovery.settle`).
    """
    playout = call.playout
    if call.inaudible >= inaudible.MOST:
        return True
    if wait(call, event.retry_ms, now_ms):
        playout.retry(event.response_id)
        return True
    call.failures += 1
    if event.status != "failed" and call.failures >= FAILURES:
        call.failures = 0
        playout.debts.interrupted(event.response_id, reason="its responses said nothing")
        if (phrase := call.playout.phrases.get("restored")) is not None:
            playout.play(f"silent:{event.response_id}", phrase, now_ms)
    elif call.failures >= FAILURES or event.why in FATAL_CODES:
        if event.why in FATAL_CODES:
            call.out.append(m.Noted(REFUSED, event.why))
        ending.fail(call, Reason.UPSTREAM_LOST, now_ms, f"responses fail: {event.why}")
        return False
    else:
        playout.retry(event.response_id, inaudible=unheard)
        pause(call, event.why, now_ms)
    return True


def wait(call: CallState, retry_ms: int, now_ms: int) -> bool:
    """The vendor says when to ask again: until then nothing is asked, and that it refused counts as no
    failure. False where it says nothing, or longer than a caller waits.
    """
    if retry_ms > MOST_WAIT_MS and call.dialling.next is not None:
        ending.fail(call, Reason.UPSTREAM_LOST, now_ms, f"it asks to wait for {retry_ms} ms")
        return True
    if not retry_ms or call.waited_ms + retry_ms > MOST_WAIT_MS:
        return False
    call.waited_ms += retry_ms
    call.playout.gate.again_due_ms = now_ms + retry_ms
    for turn in call.playout.debts.of(Kind.TURN):
        turn.not_before_ms = now_ms + retry_ms
    return True


def pause(call: CallState, code: str, now_ms: int) -> None:
    """Asked again at once, some would only refuse again."""
    if code in WAIT_FOR:
        call.playout.gate.again_due_ms = now_ms + AGAIN_MS


def again(call: CallState, now_ms: int) -> None:
    """The pause is over: the model has its time from here on."""
    call.playout.gate.again_due_ms = NEVER
    if call.playout.owed.since_ms is not None:
        call.playout.owed.go_on(now_ms)


def in_force(call: CallState) -> None:
    """A change of configuration is settled, one way or the other: responses may be asked for again."""
    call.playout.gate.held = False
