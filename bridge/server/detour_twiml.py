"""The documents of detours: the caller is sent on or waits, the target is asked, both meet in a room.

None of them has an effect by being served; the carrier may ask for each of them twice, or in vain.

https://www.twilio.com/docs/voice/twiml: dial, number, gather, conference, enqueue
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from twilio.twiml.voice_response import Dial, Enqueue, Gather, VoiceResponse

from bridge.server import twiml
from bridge.server.store.detours import DetourRecord
from bridge.server.transfer_outcome import has_star
from bridge.settings.targets import Target

DECLINE: Final = "2"
KEY_S: Final = 6
"""How long the target may think, after the words."""
WORDS_MS: Final = 12_000
"""The words at most: meanwhile a caller who was sent on hears it ring."""
MOST_TIME_LIMIT_S: Final = 14_400
"""Twilio, "<Dial>", "timeLimit": four hours, which is its default too."""
LETTER_MS: Final = 60
_WIDE_MS: Final = 180
"""One of a script that writes syllables or words by one sign."""
_DIGIT_MS: Final = 300


class Steps(NamedTuple):
    """The routes of one detour, as the carrier calls them."""

    below: str

    @classmethod
    def of(cls, base: str, detour_id: str) -> Steps:
        """`base` is PUBLIC_URL, or what stands for it."""
        return cls(f"{base}/detour/{detour_id}")

    def __call__(self, step: str) -> str:
        return f"{self.below}/{step}"


class _Words(NamedTuple):
    for_you: str
    caller: str
    ask: str
    decline: str
    gone: str


_WORDS: Final = {
    "de": _Words(
        "Ein Anruf für Sie.", "Von {caller}.", "Annehmen mit der {accept}.", "Ablehnen mit der {decline}.",
        "Der Anrufer hat aufgelegt.",
    ),
    "en": _Words(
        "A call for you.", "From {caller}.", "To take it, press {accept}.", "To decline, press {decline}.",
        "The caller has hung up.",
    ),
    "es": _Words(
        "Una llamada para usted.", "De {caller}.", "Para aceptarla, pulse {accept}.",
        "Para rechazarla, pulse {decline}.", "La persona ha colgado.",
    ),
    "fr": _Words(
        "Un appel pour vous.", "De {caller}.", "Pour le prendre, tapez {accept}.",
        "Pour le refuser, tapez {decline}.", "L'appelant a raccroché.",
    ),
    "it": _Words(
        "Una chiamata per lei.", "Da {caller}.", "Per accettarla, prema {accept}.",
        "Per rifiutarla, prema {decline}.", "Il chiamante ha riagganciato.",
    ),
    "ja": _Words(
        "お電話です。", "{caller}から。", "お受けになるには{accept}を、",
        "お断りになるには{decline}を押してください。", "お客様は電話を切られました。",
    ),
    "nl": _Words(
        "Een gesprek voor u.", "Van {caller}.", "Om het aan te nemen, toets {accept}.",
        "Om te weigeren, toets {decline}.", "De beller heeft opgehangen.",
    ),
    "pl": _Words(
        "Rozmowa do Państwa.", "Od {caller}.", "Aby odebrać, proszę nacisnąć {accept}.",
        "Aby odrzucić, proszę nacisnąć {decline}.", "Dzwoniący się rozłączył.",
    ),
    "pt": _Words(
        "Uma chamada para si.", "De {caller}.", "Para atender, marque {accept}.",
        "Para recusar, marque {decline}.", "A pessoa desligou.",
    ),
    "zh": _Words(
        "有您的来电。", "来自{caller}。", "接听请按{accept}，", "拒绝请按{decline}。", "对方已挂断。",
    ),
}  # fmt: skip
_MANDARIN: Final = "cmn"


def dial(
    record: DetourRecord, steps: Steps, target: Target, *, caller_id: str | None, time_limit_s: int
) -> str:
    """The caller is sent to the target, which is asked before the two are joined."""
    asked = {"url": steps("whisper"), "method": "POST"} if record.accept else {}
    response = VoiceResponse()
    dialled = Dial(
        action=steps("after"),
        method="POST",
        caller_id=caller_id,
        timeout=record.ring_s,
        time_limit=min(time_limit_s, MOST_TIME_LIMIT_S),
        hangup_on_star=True if has_star(record) else None,
    )
    twiml.add_target(
        dialled,
        target,
        status_callback=steps("leg"),
        status_callback_event="initiated ringing answered completed",
        **asked,
    )
    return str(response.append(dialled))


def whisper(record: DetourRecord, steps: Steps, voice: twiml.Voice) -> str:
    """What the target hears, and the key that it answers by. Without a key the two are not joined: Twilio
    joins them when such a document comes to its end, so it ends with a `<Hangup>`.
    """
    response = VoiceResponse()
    asked = Gather(
        action=steps("accept"),
        action_on_empty_result=True,
        input="dtmf",
        method="POST",
        num_digits=1,
        timeout=KEY_S,
    )
    spoken = announcement(record, voice)
    asked.say(spoken.text, voice=spoken.voice, language=spoken.language)
    response.append(asked)
    response.hangup()
    return str(response)


def joined() -> str:
    """The end of a target's document, whereupon the two are joined."""
    return str(VoiceResponse())


def room(record: DetourRecord, steps: Steps, label: str) -> str:
    """A room of that detour's own, which is over when one of the two leaves. `label` is caller or callee."""
    response = VoiceResponse()
    dialled = Dial(action=steps("after"), method="POST")
    dialled.conference(
        _room_name(record),
        beep="false",
        end_conference_on_exit=True,
        participant_label=label,
        start_conference_on_enter=True,
        status_callback=steps("room"),
        status_callback_event="start end join leave",
        wait_url=steps("hold"),
    )
    return str(response.append(dialled))


def hold(record: DetourRecord, steps: Steps) -> str:
    """The caller waits. What they hear is asked for again each time that it ends."""
    response = VoiceResponse()
    waiting = Enqueue(_room_name(record), action=steps("after"), wait_url=steps("hold"))
    return str(response.append(waiting))


def music(url: str, *, for_ever: bool = False) -> str:
    """A piece of sound for a leg that waits."""
    response = VoiceResponse()
    response.play(url, loop=0 if for_ever else None)
    return str(response)


def let_go() -> str:
    """A caller who waits is wanted back."""
    response = VoiceResponse()
    response.leave()
    return str(response)


def gone(voice: twiml.Voice) -> str:
    """The target has picked up, and there is no caller any more."""
    response = VoiceResponse()
    spoken = _spoken(voice)
    response.say(_words(spoken).gone, voice=spoken.voice, language=spoken.language)
    response.hangup()
    return str(response)


def announcement(record: DetourRecord, voice: twiml.Voice) -> twiml.Spoken:
    """Who calls and why, and the key, in words of at most `WORDS_MS`: what is too long loses its end."""
    spoken = _spoken(voice)
    words = _words(spoken)
    ask = words.ask.format(accept=record.accept)
    if record.accept != DECLINE:
        ask = f"{ask} {words.decline.format(decline=DECLINE)}"
    # Words of a model: of one line, and nothing that XML cannot hold.
    why = " ".join(twiml.speakable(record.brief).split())
    if not why and record.caller:
        why = words.caller.format(caller=", ".join(_in_threes(record.caller)))
    room_ms = WORDS_MS - duration_ms(f"{words.for_you}  {ask}")
    return spoken._replace(text=" ".join(part for part in (words.for_you, _cut(why, room_ms), ask) if part))


def duration_ms(text: str) -> int:
    """How long it takes to say it, roughly."""
    return sum(
        _DIGIT_MS if letter.isdigit() else LETTER_MS if letter < "\u2e80" else _WIDE_MS for letter in text
    )


def _cut(text: str, room_ms: int) -> str:
    """As many of its words as may be said in that time."""
    if duration_ms(text) <= room_ms:
        return text
    end = 0
    while end < len(text) and duration_ms(text[: end + 1]) <= room_ms:
        end += 1
    whole, blank, _rest = text[:end].rpartition(" ")
    return (whole if blank else text[:end]).rstrip(" ,;:") + "."


def _in_threes(number: str) -> list[str]:
    """A number as one says it to be written down."""
    digits = re.sub(r"[^0-9]", "", number)
    return [" ".join(digits[at : at + 3]) for at in range(0, len(digits), 3)]


def _spoken(voice: twiml.Voice) -> twiml.Spoken:
    """A phrase of the call's, for its language and its voice."""
    return voice.words["busy"]


def _words(spoken: twiml.Spoken) -> _Words:
    language = (spoken.language or "en").partition("-")[0].lower()
    return _WORDS.get("zh" if language == _MANDARIN else language, _WORDS["en"])


def _room_name(record: DetourRecord) -> str:
    return f"pb-{record.detour_id}"
