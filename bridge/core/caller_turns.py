"""The caller's turns as items of the conversation, their words, and the keys that they press."""

from __future__ import annotations

from . import answers, responses, silence, state
from . import messages as m
from .caller_audio import VOICE_MS
from .conversation import MOST_CHARACTERS
from .debts import Kind
from .due import NEVER
from .limits import Silence
from .messages import Event, Phase
from .open_turn import has_words
from .state import CallState

MOST_DIGITS = 64
"""Keys of one sequence that become words to the model; what is pressed beyond is left out."""
MOST_KEPT_MS = 3_000
"""Of what the caller said while no session listened, where it goes up at the pace of the clock: what comes
behind it is as late as that."""
OVERHEARD_MS = 1_000
"""How long after kept sound was handed to the model a turn that it finds may be one of that sound."""
LONGEST_PAUSE_MS = 10_000
"""Detection by meaning waits 8 s at the most."""
LATE_MS = 1_000
"""How long after the end of a turn the vendor may say so, for its count of sound to be believed."""
SEMANTIC_MS = 500
"""Of silence before detection by meaning calls a turn over, at the least."""


def open_caller_audio(call: CallState) -> None:
    """The model may hear the caller, unless something is being said that it must not be interrupted
    by.
    """
    if not call.playout.ready or call.uninterruptible or call.phase is Phase.AWAY or awaited(call):
        return
    if call.up.can.clock == "realtime":
        call.caller_audio.drain(call.up.epoch, MOST_KEPT_MS)
    else:
        call.out += call.caller_audio.flush(call.up.epoch)


def awaited(call: CallState) -> bool:
    """A duplex model answers whatever it hears: until it is known that a person has answered a call that we
    placed, it hears silence.
    """
    return call.up.can.duplex and call.callee.unanswered


def reopen_caller_audio(call: CallState, now_ms: int) -> None:
    """The sounds that the buffer was closed for may be over, in any way: heard, cut or refused."""
    call.uninterruptible = {say_id for say_id in call.uninterruptible if silence.sounding(call, say_id)}
    if call.uninterruptible or call.caller_audio.open or call.caller_audio.drains:
        return
    open_caller_audio(call)
    # Voice detection reads in one burst what the caller said meanwhile, and finds their turn in it now.
    call.overheard_until_ms = now_ms + OVERHEARD_MS


def owe_answer(
    call: CallState,
    now_ms: int,
    silent_ms: int,
    said_ms: int,
    *,
    began: bool,
    asked: bool = False,
) -> None:
    """The caller's turn is over, and its last word came at `said_ms`. The vendor answers it by itself, or is
    `asked` to at once.
    """
    call.stats.turns += 1
    state.owe(call, now_ms, silent_ms=silent_ms)
    debt = answers.owe_turn(call, now_ms, began=began)
    call.playout.unanswered = call.stats.turn_ended(said_ms, now_ms, debt.payer)
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


def vendors_last_word_ms(call: CallState, event: m.SpeechStopped, now_ms: int) -> int:
    """The same by the vendor's count of sound, where it is credible. API reference,
    input_audio_buffer.speech_stopped: `audio_end_ms` is the end of the audio that was sent to the model, and
    thus includes the silence.
    """
    detection = call.playout.config.turn_detection
    since_ms = call.caller_audio.uploaded_ms - event.at_ms
    if isinstance(detection, m.ServerVad) and event.at_ms and -LATE_MS <= since_ms <= LATE_MS:
        return max(0, now_ms - max(0, since_ms) - detection.silence_duration_ms)
    return last_word_ms(call, now_ms)


def pause_ms(call: CallState) -> int:
    """How long the caller has been silent already when we are told so."""
    detection = call.playout.config.turn_detection
    return detection.silence_duration_ms if isinstance(detection, m.ServerVad) else SEMANTIC_MS


def idled(call: CallState, event: m.CallerIdled, now_ms: int) -> None:
    """The vendor's idle timeout. API reference, `input_audio_buffer.timeout_triggered`: the silence becomes
    an item of the conversation, and the model answers it. The caller said nothing: it is no turn of theirs.
    """
    since_ms = call.silence.since_ms
    call.transcripts.tell_no_more(event.item_id)
    call.out.append(m.CallerSilent(0 if since_ms is None else now_ms - since_ms))


def commit(call: CallState, now_ms: int) -> None:
    """The turn ends because user code says so: a session without turn detection ends none."""
    call.silence = Silence()
    call.playout.unanswered = call.stats.turn_ended(last_word_ms(call, now_ms), now_ms)
    call.out.append(m.CommitAudio(call.up.epoch))


def committed(call: CallState, event: m.TurnCommitted, now_ms: int) -> None:
    item = call.playout.conversation.item(event.item_id)
    item.role, item.commits = "user", item.commits + 1
    call.open_turn.taken()
    if call.transcripts.told(event.item_id):
        return
    if untold(call):
        call.turn += 1
        state.owe(call, now_ms, silent_ms=now_ms - pause_ms(call))
        answers.owe_turn(call, now_ms, began=False)
        call.playout.unanswered = call.stats.turn_ended(last_word_ms(call, now_ms), now_ms)
    call.committed_turn = call.turn
    if not state.transcribed(call):
        greet_again(call, now_ms, wordless=None)
        call.out.append(m.Turn(event.item_id, ""))
    elif not item.told:  # else some vendors transcribe a turn that is open
        call.out += call.transcripts.wait(event.item_id, now_ms)


def untold(call: CallState) -> bool:
    """Whether the item that is committed now is a turn of which the model told neither the beginning nor the
    end, and which it does not answer yet. Without turn detection it is user code that commits.
    """
    playout = call.playout
    told = call.turn != call.committed_turn or call.caller_speaking or playout.debts.of(Kind.TURN)
    ended = call.open_turn.overruled_ms is not None  # by us, and the model told of it later
    by_itself = playout.config.turn_detection is not None and not playout.agent.backchannel_ms
    return by_itself and not told and not ended and playout.gate.active is None and call.phase is Phase.LIVE


def transcripts_late(call: CallState, now_ms: int) -> None:
    """Words of a turn do not come."""
    call.out += call.transcripts.late(now_ms)


def transcribed(call: CallState, event: m.CallerTranscribed, now_ms: int) -> None:
    code = event.why.partition(":")[0]  # the rest may name the item
    if event.failed and code != call.untranscribed_why:  # said once, not with every turn
        call.untranscribed_why = code
        call.out.append(m.Noted("no transcript", event.why))
    item = call.playout.conversation.item(event.item_id)
    if has_words(event.text):
        call.open_turn.worded(now_ms, own=item.role != "user")
    elif event.failed:
        voice(call, now_ms)
    item.role, item.text = "user", event.text[:MOST_CHARACTERS]
    if not event.final:
        return  # a later one takes its place
    if event.text and not call.caller_speaking:
        call.caller_audio.answered()
    call.stats.add_transcription(event)
    call.spending.transcription(event.seconds, event.usage)
    if item.told or call.transcripts.told(event.item_id):
        return
    item.turns += 1
    greet_again(call, now_ms, wordless=None if event.failed else not event.text.strip())
    turn = m.Turn(event.item_id, item.text, event.seconds, event.usage)
    call.out += call.transcripts.came(turn, now_ms)


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


def digit(call: CallState, digit: str, now_ms: int) -> None:
    call.silence = Silence()
    rule, words, series = call.config.digits, call.keys.words, call.key_series
    call.out.append(m.DigitHeard(digit, words))
    if rule == "interrupt" and series.due_ms == NEVER:
        call.playout.interrupt(now_ms, ours=True)
    if words:
        series.keys = (series.keys + digit)[:MOST_DIGITS]
    if rule != "event":
        # What a key of the handler's was is not known to a replay: only words may end with a `#`.
        series.due_ms = now_ms + (0 if words and digit == "#" else call.config.digits_gap_ms)


def read_keys(call: CallState, event: m.ReadKeys, now_ms: int) -> None:
    """User code waits for keys, or no longer. Those pressed before have their reader already."""
    call.keys.read(event)
    call.caller_audio.hush(call.keys.secret, now_ms)


def digits_done(call: CallState, now_ms: int) -> None:
    series = call.key_series
    keys, series.keys, series.due_ms = series.keys, "", NEVER
    if not keys:
        return
    series.number += 1
    text = f"[The caller pressed {' '.join(keys)} on the keypad.]"
    other_or_later(call, m.AddText(text), now_ms)
    other_or_later(call, m.Respond(f"digits:{series.number}"), now_ms)


def other_or_later(call: CallState, wish: Event, now_ms: int) -> None:
    if call.playout.ready:
        call.other_event(wish, now_ms)
    else:
        call.early.append(wish)
