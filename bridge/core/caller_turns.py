"""The caller's side: when they speak, when a turn is theirs, which keys they press, and how long there has
been no word.
"""

from __future__ import annotations

from . import answers, ending, responses, silence, state
from . import messages as m
from .caller_audio import STALLED_MS, VOICE_MS
from .conversation import MOST_CHARACTERS
from .debts import Kind
from .messages import Event, Phase, Reason
from .open_turn import HANGOVER_MS, Ear, has_words
from .state import CallState

TRANSCRIPT_MS = 8_000
"""How long a handler waits for the words of a turn; the vendor sends them late, or never."""
HELD_MS = 5_000
"""How long a turn whose words have come waits for those of a turn before it."""
MOST_UNTRANSCRIBED = 64
"""Turns whose words may be on their way at once; of one more the oldest goes without."""
MOST_DIGITS = 64
"""Keys of one sequence that become words to the model; what is pressed beyond is left out."""
OVERHEARD_MS = 1_000
"""How long after kept sound was handed to the model a turn that it finds may be one of that sound."""
LONGEST_PAUSE_MS = 10_000
"""Detection by meaning waits 8 s at the most."""
SEMANTIC_MS = 500
"""Of silence before detection by meaning calls a turn over, at the least."""


def open_caller_audio(call: CallState) -> None:
    """The model may hear the caller, unless something is being said that it must not be interrupted
    by.
    """
    if call.playout.ready and not call.uninterruptible and call.phase is not Phase.AWAY:
        call.out += call.caller_audio.flush(call.up.epoch)


def reopen_caller_audio(call: CallState, now_ms: int) -> None:
    """The sounds that the buffer was closed for may be over, in any way: heard, cut or refused."""
    call.uninterruptible = {say_id for say_id in call.uninterruptible if silence.sounding(call, say_id)}
    if call.uninterruptible or call.caller_audio.open:
        return
    open_caller_audio(call)
    # Voice detection reads in one burst what the caller said meanwhile, and finds their turn in it now.
    call.overheard_until_ms = now_ms + OVERHEARD_MS


def ear(call: CallState) -> Ear:
    """What our own ear hears of the caller."""
    caller_audio = call.caller_audio
    listens_ms = max(call.up.ready_ms, call.overheard_until_ms - OVERHEARD_MS)
    return Ear(caller_audio.voice_ended_ms, caller_audio.steady, listens_ms)


def quiet(call: CallState, now_ms: int) -> bool:
    """Our ear, which is trusted in this call, does not hear the caller."""
    trusted = call.agent.turn_bounds is not None
    return trusted and now_ms - call.caller_audio.voice_ended_ms >= HANGOVER_MS


def unheard(call: CallState, now_ms: int) -> bool:
    """It takes more than the model's word that the caller speaks to take an answer back that is owed, where
    our ear has heard nothing since; or to cut our question, where it hears the sound that we ask about.
    """
    if call.open_turn.clears and call.caller_audio.steady:
        return True
    if not call.playout.debts.open:
        return False
    turns = [debt for debt in call.playout.debts.of(Kind.TURN) if debt.due]
    return bool(turns) and quiet(call, now_ms) and call.caller_audio.voice_ended_ms < turns[0].since_ms


def speech_started(call: CallState, event: m.SpeechStarted, now_ms: int) -> None:
    turn, caller_audio = call.open_turn, call.caller_audio
    if turn.overruled_ms is not None and turn.since_ms is None and quiet(call, now_ms):
        return
    turn.began(event.item_id, call.up.epoch, caller_audio.voice_ended_ms, now_ms)
    call.playout.caller_stopped_ms = None
    call.caller_speaking = True
    call.spoke_over = call.playout.gate.active
    call.limits.nudges = 0
    if call.timers.pop("resume", None) is not None and not call.caller_audio.speaks(now_ms):
        resumed(call, event)
        return
    if now_ms < call.overheard_until_ms and not call.caller_audio.speaks(now_ms):
        overheard(call, event)
        return
    if unheard(call, now_ms):
        call.out.append(m.CallerSpoke(True, event.item_id))
        return
    call.timers["padding"] = now_ms + STALLED_MS
    call.out.append(m.CallerSpoke(True, event.item_id))
    if call.agent.backchannel_ms and not call.playout.line.quiet:
        call.timers["confirm"] = now_ms + call.agent.backchannel_ms
        call.playout.debts.cancel(Kind.RESUMED, reason="the caller spoke")
        return
    confirmed(call, now_ms)


def resumed(call: CallState, event: m.SpeechStarted) -> None:
    """The new session hears what the caller said before it was there: the caller does not speak now, so
    nothing is cut, and who waits waits on.
    """
    call.turn += 1
    call.playout.debts.superseded()
    call.greeting_cut |= responses.GREETING in call.playout.drop_waiting()
    call.out.append(m.CallerSpoke(True, event.item_id))


def overheard(call: CallState, event: m.SpeechStarted) -> None:
    """The caller said it while they could not interrupt, and is silent now. It is a turn of theirs like any
    other, but it cuts no sound that they have not heard yet: a greeting that waited is said.
    """
    call.turn += 1
    call.out.append(m.CallerSpoke(True, event.item_id))


def confirmed(call: CallState, now_ms: int) -> None:
    """It is speech, and it is meant: what we say is cut, and this turn takes the place of what is owed. If no
    words are found in it, a greeting that it cost is owed again. During a goodbye it takes the goodbye back.
    """
    call.turn += 1
    if call.playout.debts.open:
        call.playout.debts.superseded()
    cut = call.playout.interrupt(now_ms, ours=bool(call.agent.backchannel_ms), by_caller=True)
    call.greeting_cut |= responses.GREETING in cut
    if call.ending is None or call.detours.deaf:
        return
    if call.ending[0] in (Reason.WE_HUNG_UP, Reason.TRANSFERRED):
        call.phase, call.ending, call.said_goodbye = Phase.LIVE, None, False
        call.timers.pop("drain", None)
        call.timers.pop("generated", None)
        if not call.detours.draining:
            call.out += (m.NoteIntent(""), m.HangUpCancelled())
    else:
        ending.say_goodbye(call, now_ms)


def speech_stopped(call: CallState, event: m.SpeechStopped, now_ms: int) -> None:
    turn = call.open_turn
    if turn.overruled_ms is not None and turn.since_ms is None:
        return  # we have ended this turn already
    turn.stopped()
    began, call.caller_speaking = call.caller_speaking, False
    call.timers.pop("padding", None)
    call.out.append(m.CallerSpoke(False, event.item_id))
    if call.timers.pop("confirm", None) is not None:
        return  # a backchannel ("mm-hmm"): we go on speaking, and no answer is owed
    owe_answer(call, now_ms, now_ms - pause_ms(call), began=began)
    if call.playout.config.transcription is None:
        voice(call, now_ms)


def owe_answer(call: CallState, now_ms: int, silent_ms: int, *, began: bool, asked: bool = False) -> None:
    """The caller's turn is over. The vendor answers it by itself, or is `asked` to at once."""
    call.playout.caller_stopped_ms = last_word_ms(call, now_ms)
    call.stats.turns += 1
    state.owe(call, now_ms, silent_ms=silent_ms)
    debt = answers.owe_turn(call, now_ms, began=began)
    if asked:
        debt.not_before_ms = now_ms


def voice(call: CallState, now_ms: int) -> None:
    """Where no words are to be had, a voice stands for them."""
    if call.caller_audio.voiced:
        call.open_turn.worded(now_ms)


def last_word_ms(call: CallState, now_ms: int) -> int:
    """When the caller was last heard, now that their turn is over: by their sound where it was loud within
    the last seconds, else by how long detection waits.
    """
    caller_audio = call.caller_audio
    ended_ms = caller_audio.voice_ended_ms
    if caller_audio.voice_ms and now_ms - ended_ms <= LONGEST_PAUSE_MS:
        return ended_ms
    return max(0, now_ms - pause_ms(call))


def pause_ms(call: CallState) -> int:
    """How long the caller has been silent already when we are told so."""
    detection = call.playout.config.turn_detection
    return detection.silence_duration_ms if isinstance(detection, m.ServerVad) else SEMANTIC_MS


def idled(call: CallState, event: m.CallerIdled, now_ms: int) -> None:
    """The vendor's idle timeout. API reference, `input_audio_buffer.timeout_triggered`: the silence becomes
    an item of the conversation, and the model answers it. The caller said nothing: it is no turn of theirs.
    """
    since_ms = call.limits.silent_from_ms
    told_already(call, event.item_id)
    call.out.append(m.CallerSilent(0 if since_ms is None else now_ms - since_ms))


def told_already(call: CallState, item_id: str) -> None:
    """No turn is told of this item any more."""
    call.given_up[item_id] = None
    if len(call.given_up) > MOST_UNTRANSCRIBED:
        call.given_up.popitem(last=False)


def commit(call: CallState) -> None:
    """The turn ends because user code says so: a session without turn detection ends none."""
    call.limits.nudges = 0
    silence.over(call)
    call.out.append(m.CommitAudio(call.up.epoch))


def committed(call: CallState, event: m.TurnCommitted, now_ms: int) -> None:
    item = call.playout.conversation.item(event.item_id)
    item.role = "user"
    call.open_turn.taken()
    if event.item_id in call.given_up:
        return
    if untold(call):
        call.turn += 1
        state.owe(call, now_ms, silent_ms=now_ms - pause_ms(call))
        answers.owe_turn(call, now_ms, began=False)
    call.committed_turn = call.turn
    if call.playout.config.transcription is None:
        greet_again(call, now_ms, wordless=None)
        call.out.append(m.Turn(event.item_id, ""))
    elif not item.told:  # else some vendors transcribe a turn that is open
        call.untranscribed.setdefault(event.item_id, now_ms + TRANSCRIPT_MS)
        if len(call.untranscribed) > MOST_UNTRANSCRIBED:
            give_up_transcript(call)
        tell_turns(call, now_ms)


def untold(call: CallState) -> bool:
    """Whether the item that is committed now is a turn of which the model told neither the beginning nor the
    end, and which it does not answer yet. Without turn detection it is user code that commits.
    """
    playout, agent = call.playout, call.agent
    told = call.turn != call.committed_turn or call.caller_speaking or playout.debts.of(Kind.TURN)
    ended = call.open_turn.overruled_ms is not None  # by us, and the model told of it later
    by_itself = playout.config.turn_detection is not None and not agent.backchannel_ms
    return by_itself and not told and not ended and playout.gate.active is None and call.phase is Phase.LIVE


def transcripts_late(call: CallState, now_ms: int) -> None:
    """Words of a turn that do not come: the handler gets the turn without them. They may still come, and
    then are part of the record.
    """
    while call.untranscribed and next(iter(call.untranscribed.values())) <= now_ms:
        give_up_transcript(call)
        tell_turns(call, now_ms)


def give_up_transcript(call: CallState) -> None:
    """Of the turn that has waited longest."""
    item_id, _ = call.untranscribed.popitem(last=False)
    told_already(call, item_id)
    call.out.append(m.Turn(item_id, ""))


def tell_turns(call: CallState, now_ms: int) -> None:
    """Turns go to the handler in the order of the conversation. API reference,
    conversation.item.input_audio_transcription.completed: transcription runs asynchronously, so the words of
    a later turn may come first.
    """
    while (first := next(iter(call.untranscribed), None)) in call.held_turns:
        del call.untranscribed[first]
        call.out.append(call.held_turns.pop(first))
    if first is not None and call.held_turns:
        call.untranscribed[first] = min(call.untranscribed[first], now_ms + HELD_MS)
    call.set_timer("transcript", next(iter(call.untranscribed.values()), None))


def transcribed(call: CallState, event: m.CallerTranscribed, now_ms: int) -> None:
    if event.failed and event.why != call.untranscribed_why:  # said once, not with every turn
        call.untranscribed_why = event.why
        call.out.append(m.Noted("no transcript", event.why))
    item = call.playout.conversation.item(event.item_id)
    if has_words(event.text):
        call.open_turn.worded(now_ms, own=item.role != "user")
    elif event.failed:
        voice(call, now_ms)
    item.role, item.text = "user", event.text[:MOST_CHARACTERS]
    if event.text and not call.caller_speaking:
        call.caller_audio.answered()
    call.stats.add_transcription(event)
    if event.item_id in call.given_up or item.told:
        return
    item.told = True
    greet_again(call, now_ms, wordless=None if event.failed else not event.text.strip())
    turn = m.Turn(event.item_id, item.text, event.seconds, event.usage)
    if event.item_id in call.untranscribed:
        call.held_turns[event.item_id] = turn
        tell_turns(call, now_ms)
    else:
        call.out.append(turn)


def greet_again(call: CallState, now_ms: int, *, wordless: bool | None) -> None:
    """It was a noise that cut the greeting, if no words are found in it. Its answer is not wanted, unless
    the caller hears it already. Where words were not looked for (None), our ear tells a noise; but it may be
    wrong, and the answer stands.
    """
    cut, call.greeting_cut = call.greeting_cut, False
    noise = 0 < call.caller_audio.voice_ms < VOICE_MS if wordless is None else wordless
    if not cut or not noise or call.phase is not Phase.LIVE:
        return
    active = call.playout.gate.active
    if wordless and active is not None and not call.playout.made_sound(active):
        call.playout.interrupt(now_ms, ours=True)
    if wordless:
        call.playout.debts.cancel(Kind.TURN, reason="there were no words in it")
    responses.greet(call, now_ms)


def transcribing(call: CallState, event: m.CallerWords, now_ms: int) -> None:
    """Words of a turn before its transcript is whole; some vendors send them while it is open."""
    if event.epoch == call.up.epoch and has_words(event.text):
        known = call.playout.conversation.items.get(event.item_id)
        call.open_turn.worded(now_ms, own=known is None or known.role != "user")


def pad(call: CallState, now_ms: int) -> None:
    """Voice detection counts audio written, not time: if frames stop while the caller speaks, the turn
    would not end.
    """
    if now_ms - call.caller_audio.last_ms >= STALLED_MS and call.caller_audio.open:
        call.out.append(call.caller_audio.stall(call.up.epoch))
    if call.caller_speaking:
        call.timers["padding"] = max(call.caller_audio.last_ms, now_ms) + STALLED_MS


def digit(call: CallState, digit: str, now_ms: int) -> None:
    call.limits.nudges = 0
    silence.over(call)
    rule, words = call.config.digits, call.keys.words
    call.out.append(m.DigitHeard(digit, words))
    if rule == "interrupt" and "digits" not in call.timers:
        call.playout.interrupt(now_ms, ours=True)
    if words:
        call.digits = (call.digits + digit)[:MOST_DIGITS]
    if rule != "event":
        # What a key of the handler's was is not known to a replay: only words may end with a `#`.
        call.timers["digits"] = now_ms + (0 if words and digit == "#" else call.config.digits_gap_ms)


def read_keys(call: CallState, event: m.ReadKeys, now_ms: int) -> None:
    """User code waits for keys, or no longer. Those pressed before have their reader already."""
    call.keys.read(event)
    call.caller_audio.hush(call.keys.secret, now_ms)


def digits_done(call: CallState, now_ms: int) -> None:
    digits, call.digits = call.digits, ""
    if not digits:
        return
    call.key_series += 1
    text = f"[The caller pressed {' '.join(digits)} on the keypad.]"
    other_or_later(call, m.AddText(text), now_ms)
    other_or_later(call, m.Respond(f"digits:{call.key_series}"), now_ms)


def other_or_later(call: CallState, wish: Event, now_ms: int) -> None:
    if call.playout.ready:
        call.other_event(wish, now_ms)
    else:
        call.early.append(wish)
