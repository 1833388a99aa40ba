"""What we answer the carrier's webhooks with.

Every URL is absolute and made from PUBLIC_URL by the caller of these functions. Phrases are spoken by the
carrier (`<Say>`), so that they need no stream. Answers go out as `MEDIA_TYPE`.

https://www.twilio.com/docs/voice/twiml, .../twiml/stream and .../twiml/connect
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Final, NamedTuple, assert_never
from urllib.parse import urlsplit

from twilio.twiml.voice_response import Connect, Dial, Stream, VoiceResponse

from bridge.agents.turned_away import Voicemail
from bridge.server.store.intents import RING_S, Next, Step
from bridge.settings.targets import Target
from bridge.sockets.peers import is_loopback
from bridge.sounds.phrases import Phrase, Phrases

MEDIA_TYPE: Final = "text/xml"
PARAMETER_CHARS: Final = 500
"""Twilio, "<Parameter>": name and value together stay under this."""
MAX_REDIRECTS: Final = 8

# XML 1.0 has no way to write these, not even escaped.
_NO_XML: Final = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


class Links(NamedTuple):
    """Our routes as the carrier calls them. `base` is what they are below."""

    base: str
    incoming_call: str
    media_stream: str
    after_stream: str
    stream_status: str
    voicemail: str

    @classmethod
    def below(cls, base: str) -> Links:
        """Under a base URL (`https://voice.example.com`), without a slash at its end."""
        return cls(
            base,
            f"{base}/incoming-call",
            f"ws{base.removeprefix('http')}/media-stream",
            f"{base}/after-stream",
            f"{base}/stream-status",
            f"{base}/voicemail",
        )


# Twilio, "Text-to-Speech", Amazon Polly: each voice has one language; a pair that does not fit fails.
_VOICES: Final[Mapping[str, tuple[str, str]]] = {
    "de": ("de-DE", "Polly.Vicki"),
    "en": ("en-US", "Polly.Joanna"),
    "en-au": ("en-AU", "Polly.Nicole"),
    "en-gb": ("en-GB", "Polly.Amy"),
    "en-in": ("en-IN", "Polly.Raveena"),
    "es": ("es-ES", "Polly.Lucia"),
    "es-mx": ("es-MX", "Polly.Mia"),
    "fr": ("fr-FR", "Polly.Lea"),
    "fr-ca": ("fr-CA", "Polly.Chantal"),
    "it": ("it-IT", "Polly.Bianca"),
    "ja": ("ja-JP", "Polly.Mizuki"),
    "nl": ("nl-NL", "Polly.Lotte"),
    "pl": ("pl-PL", "Polly.Ewa"),
    "pt": ("pt-PT", "Polly.Ines"),
    "pt-br": ("pt-BR", "Polly.Camila"),
    "zh": ("cmn-CN", "Polly.Zhiyu"),
}
"""Language and voice of `<Say>` by the language, with or without a region, that a call is in."""


class Spoken(NamedTuple):
    """Words for `<Say>`, with the language and voice that they are in; None is left to the account."""

    text: str
    language: str | None
    voice: str | None


class Voice(NamedTuple):
    """What `<Say>` says in one call, by the names of the phrases."""

    words: Mapping[str, Spoken]

    @classmethod
    def of(cls, phrases: Phrases, tag: str | None = None) -> Voice:
        """The phrases of calls in that language, given with or without a region (`pt-BR`)."""
        spoken = phrases.of(tag and tag.partition("-")[0].lower()).items()
        return cls({name: _spoken(phrase, tag or "") for name, phrase in spoken})


def _spoken(phrase: Phrase, tag: str) -> Spoken:
    """The words with a voice of their own language, and of the call's region where it has that language."""
    fits = tag.partition("-")[0].lower() == phrase.language
    named = (_VOICES.get(tag.lower()) if fits else None) or _VOICES.get(phrase.language)
    return Spoken(phrase.sound.text, *(named or (tag if fits and "-" in tag else None, None)))


BUNDLED: Final = Voice.of(Phrases())


def connect(
    *,
    stream_url: str,
    action_url: str | None,
    status_url: str,
    parameters: Mapping[str, str],
    say: str | None = None,
    keys: str = "",
    voice: Voice = BUNDLED,
) -> str:
    """The call's sound comes to `stream_url`; when the stream is over, `action_url` is asked what comes next,
    or without one the TwiML behind it is carried out. A phrase named `say` is spoken before, or `keys` are
    pressed. Raises ValueError for what the carrier would refuse.
    """
    parts = urlsplit(stream_url)
    if parts.scheme != "wss" and not (parts.scheme == "ws" and is_loopback(parts.hostname)):
        raise ValueError("a stream URL begins with wss://")
    if parts.query or parts.fragment:
        # "The url does not support query string parameters." Error 31920 names one as a cause.
        raise ValueError("a stream URL has no query: what is to be said goes into parameters")
    stream = Stream(url=stream_url, status_callback=status_url)
    for name, value in parameters.items():
        if len(name) + len(value) >= PARAMETER_CHARS:
            raise ValueError(f"the parameter {name!r} is too long: {len(name) + len(value)} characters")
        if _NO_XML.search(name + value):
            raise ValueError(f"the parameter {name!r} holds what XML cannot say")
        stream.parameter(name=name, value=value)
    response = VoiceResponse()
    if say is not None:
        _say(response, voice, say)
    if keys:
        response.play(digits=keys)
    connected = Connect() if action_url is None else Connect(action=action_url, method="POST")
    return str(response.append(connected.append(stream)))


def hangup() -> str:
    """The end of the call."""
    response = VoiceResponse()
    response.hangup()
    return str(response)


def reject(reason: str = "rejected") -> str:
    """The call is not answered: `rejected`, or `busy`. Twilio, "<Reject>": the only answer that costs
    nothing, and only as the first verb.
    """
    response = VoiceResponse()
    # Its default is left out, as the vendor's own examples do.
    response.reject(reason=None if reason == "rejected" else reason)
    return str(response)


def farewell(words: str, voice: Voice = BUNDLED) -> str:
    """The call is answered, these words are said in the voice of its phrases, and it ends."""
    response = VoiceResponse()
    _say_words(response, voice.words["busy"]._replace(text=words))
    response.hangup()
    return str(response)


def voicemail(box: Voicemail, url: str, voice: Voice = BUNDLED) -> str:
    """The caller hears the prompt and a beep, and is recorded. `url` is asked what follows, and told where
    the recording is.
    """
    response = VoiceResponse()
    if box.is_sound:
        response.play(box.prompt)
    else:
        _say_words(response, voice.words["busy"]._replace(text=box.prompt))
    # Twilio, "<Record>": without `action` this same document is asked for again, and the caller recorded
    # again; and where nothing was said, the verb behind it is carried out instead.
    response.record(
        action=url,
        method="POST",
        max_length=box.max_s,
        recording_status_callback=url,
        recording_status_callback_method="POST",
    )
    response.hangup()
    return str(response)


def busy(voice: Voice = BUNDLED) -> str:
    """All lines are taken: said, and hung up."""
    return _said("busy", voice)


def apology(voice: Voice = BUNDLED) -> str:
    """Nothing works: said, and hung up."""
    return _said("apology", voice)


def draining(redirect_url: str | None = None, redirects: int = 0, voice: Voice = BUNDLED) -> str:
    """No new calls here. With a URL the phone rings on for a second and the carrier asks there, eight times
    at most; without one, all lines are busy. `redirects` is what that URL's query said, 0 if nothing.
    """
    if redirect_url is None or redirects >= MAX_REDIRECTS:
        return busy(voice)
    response = VoiceResponse()
    # A <Pause> as the first verb leaves the call ringing.
    response.pause(length=1)
    response.redirect(f"{redirect_url}?redirects={redirects + 1}", method="POST")
    return str(response)


def no_upstream(target: Target | None, action_url: str | None = None, voice: Voice = BUNDLED) -> str:
    """No model can answer: the call goes to the fallback, or ends with an apology."""
    return apology(voice) if target is None else dial(target, action_url, say="filler", voice=voice)


def dial(
    target: Target,
    action_url: str | None = None,
    *,
    say: str | None = None,
    rings: bool = False,
    voice: Voice = BUNDLED,
) -> str:
    """Send the caller to a configured target. `action_url` is asked afterwards, with how it went. With
    `rings` a call that is not answered yet rings on until the target answers.
    """
    response = VoiceResponse()
    if say is not None:
        _say(response, voice, say)
    # Twilio, "<Dial>": with answerOnBridge the inbound call is not answered before the dialled one is.
    dialled = Dial(
        action=action_url,
        method="POST" if action_url else None,
        timeout=RING_S,
        answer_on_bridge=True if rings else None,
    )
    add_target(dialled, target)
    return str(response.append(dialled))


def add_target(dialled: Dial, target: Target, **callbacks: str) -> None:
    """The noun of a `<Dial>` for that target, with `callbacks` in the SDK's words."""
    if not target.sip:
        dialled.number(target.address, send_digits=target.keys or None, **callbacks)
    elif target.login is None:
        dialled.sip(target.address, **callbacks)
    else:
        password = target.login.password.get_secret_value()
        dialled.sip(target.address, username=target.login.user, password=password, **callbacks)


def wait(redirect_url: str, voice: Voice = BUNDLED) -> str:
    """A caller who is on the line hears that it takes a moment, and the carrier asks again."""
    response = VoiceResponse()
    _say(response, voice, "filler")
    response.pause(length=1)
    response.redirect(redirect_url, method="POST")
    return str(response)


def after_stream(
    step: Step,
    *,
    resume: Callable[[], str],
    after_url: str,
    target: Callable[[str], Target],
    voice: Voice = BUNDLED,
) -> str:
    """The answer to `/after-stream`. `resume` makes the document that opens the stream again, `after_url` is
    that same route, `target` finds a configured target by its name.
    """
    match step.then:
        case Next.HANG_UP:
            return hangup()
        case Next.DIAL:
            return dial(target(step.target), after_url, voice=voice)
        case Next.RESUME | Next.RETURN:
            return resume()
        case Next.WAIT:
            return wait(after_url, voice)
        case Next.FALLBACK:
            return no_upstream(target(step.target), after_url, voice)
        case Next.APOLOGISE:
            return apology(voice)
        case Next.UNREACHED:
            return _said("unreached", voice)
    assert_never(step.then)


def _said(phrase: str, voice: Voice) -> str:
    response = VoiceResponse()
    _say(response, voice, phrase)
    response.hangup()
    return str(response)


def _say(response: VoiceResponse, voice: Voice, phrase: str) -> None:
    _say_words(response, voice.words[phrase])


def _say_words(response: VoiceResponse, spoken: Spoken) -> None:
    response.say(speakable(spoken.text), voice=spoken.voice, language=spoken.language)


def speakable(text: str) -> str:
    """The text with blanks for what XML cannot hold."""
    return _NO_XML.sub(" ", text)
