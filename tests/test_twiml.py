"""What the carrier is told: each answer as the document that it reads."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
from pydantic import SecretStr

from bridge import sounds
from bridge.server import twiml
from bridge.server.store.intents import Next, Step
from bridge.server.twiml import Links, Spoken, Voice
from bridge.settings.targets import SipLogin, Target
from bridge.sounds.phrases import Phrases

LINKS = Links.below("https://voice.example.com/phone")
NUMBER = "+15550001111"
DESK = Target(NUMBER)

Verb = tuple[str, dict[str, str], str]


def verbs(document: str) -> list[Verb]:
    """Name, attributes and text of everything in the document, in order; the shape is the order here."""
    assert document.startswith('<?xml version="1.0" encoding="UTF-8"?><Response>')
    root = ET.fromstring(document.encode())
    return [(node.tag, dict(node.attrib), node.text or "") for node in root.iter() if node is not root]


def said(phrase: str) -> Verb:
    return ("Say", {"language": "en-US", "voice": "Polly.Joanna"}, sounds.text(phrase))


def connect(**changes: object) -> str:
    wanted: dict[str, object] = {
        "stream_url": LINKS.media_stream,
        "action_url": LINKS.after_stream,
        "status_url": LINKS.stream_status,
        "parameters": {"token": "abc"},
    }
    return twiml.connect(**{**wanted, **changes})  # type: ignore[arg-type]


# -- the way in


def test_a_call_is_connected_to_its_stream() -> None:
    assert verbs(connect()) == [
        ("Connect", {"action": "https://voice.example.com/phone/after-stream", "method": "POST"}, ""),
        (
            "Stream",
            {
                "url": "wss://voice.example.com/phone/media-stream",
                "statusCallback": "https://voice.example.com/phone/stream-status",
            },
            "",
        ),
        ("Parameter", {"name": "token", "value": "abc"}, ""),
    ]


def test_a_word_may_come_before_the_stream() -> None:
    assert verbs(connect(say="restored"))[:2] == [
        said("restored"),
        ("Connect", {"action": LINKS.after_stream, "method": "POST"}, ""),
    ]


def test_parameters_are_escaped() -> None:
    awkward = "<&>\"' µ\n]]>"
    assert verbs(connect(parameters={"a&b": awkward}))[-1] == (
        "Parameter",
        {"name": "a&b", "value": awkward},
        "",
    )


def test_a_parameter_stays_under_500_characters_with_its_name() -> None:
    assert verbs(connect(parameters={"token": "x" * 494}))[-1][1]["value"] == "x" * 494
    with pytest.raises(ValueError, match="'token' is too long: 500"):
        connect(parameters={"token": "x" * 495})


@pytest.mark.parametrize("value", ["\x00", "\x1b[31m", "\ud800", "\uffff"])
def test_what_xml_cannot_say_is_no_parameter(value: str) -> None:
    with pytest.raises(ValueError, match="holds what XML cannot say"):
        connect(parameters={"name": value})


@pytest.mark.parametrize(
    "url",
    [
        "https://voice.example.com/media-stream",
        "ws://voice.example.com/media-stream",
        "/media-stream",
        "wss://voice.example.com/media-stream?token=abc",
        "wss://voice.example.com/media-stream#a",
    ],
)
def test_what_the_carrier_would_not_open_is_no_stream_url(url: str) -> None:
    with pytest.raises(ValueError, match="a stream URL"):
        connect(stream_url=url)


def test_a_simulator_on_this_machine_needs_no_tls() -> None:
    url = Links.below("http://127.0.0.1:5050").media_stream
    assert url == "ws://127.0.0.1:5050/media-stream"
    assert verbs(connect(stream_url=url))[1][1]["url"] == url


# -- no way in


def test_all_lines_are_busy() -> None:
    assert verbs(twiml.busy()) == [said("busy"), ("Hangup", {}, "")]


def test_a_draining_process_lets_the_phone_ring_until_another_answers() -> None:
    assert verbs(twiml.draining(LINKS.incoming_call)) == [
        ("Pause", {"length": "1"}, ""),
        ("Redirect", {"method": "POST"}, f"{LINKS.incoming_call}?redirects=1"),
    ]
    assert verbs(twiml.draining(LINKS.incoming_call, 7))[1][2].endswith("?redirects=8")


def test_a_draining_process_is_busy_when_nobody_else_comes() -> None:
    assert twiml.draining(LINKS.incoming_call, 8) == twiml.busy()
    assert twiml.draining() == twiml.busy()


def test_without_a_model_the_call_goes_to_the_fallback() -> None:
    assert verbs(twiml.no_upstream(DESK, LINKS.after_stream)) == [
        said("filler"),
        ("Dial", {"action": LINKS.after_stream, "method": "POST", "timeout": "30"}, ""),
        ("Number", {}, NUMBER),
    ]


def test_without_model_and_fallback_the_call_ends_with_an_apology() -> None:
    assert verbs(twiml.no_upstream(None)) == [said("apology"), ("Hangup", {}, "")]


# -- the way out


@pytest.mark.parametrize(
    ("step", "answer"),
    [
        (Step(Next.HANG_UP), [("Hangup", {}, "")]),
        (
            Step(Next.DIAL, "billing"),
            [
                ("Dial", {"action": LINKS.after_stream, "method": "POST", "timeout": "30"}, ""),
                ("Number", {}, NUMBER),
            ],
        ),
        (
            Step(Next.WAIT),
            [
                said("filler"),
                ("Pause", {"length": "1"}, ""),
                ("Redirect", {"method": "POST"}, LINKS.after_stream),
            ],
        ),
        (
            Step(Next.FALLBACK, "billing"),
            [
                said("filler"),
                ("Dial", {"action": LINKS.after_stream, "method": "POST", "timeout": "30"}, ""),
                ("Number", {}, NUMBER),
            ],
        ),
        (Step(Next.APOLOGISE), [said("apology"), ("Hangup", {}, "")]),
    ],
    ids=lambda value: value.then.name if isinstance(value, Step) else "",
)
def test_after_the_stream(step: Step, answer: list[Verb]) -> None:
    document = twiml.after_stream(
        step,
        resume=lambda: pytest.fail("nothing resumes"),
        after_url=LINKS.after_stream,
        target={"billing": DESK}.__getitem__,
    )
    assert verbs(document) == answer


def test_a_resumed_call_gets_its_stream_again() -> None:
    known: dict[str, Target] = {}
    document = twiml.after_stream(
        Step(Next.RESUME), resume=connect, after_url=LINKS.after_stream, target=known.__getitem__
    )
    assert document == connect()


@pytest.mark.parametrize(
    ("target", "noun"),
    [
        (Target(NUMBER, "ww204"), ("Number", {"sendDigits": "ww204"}, NUMBER)),
        (Target("sip:desk@pbx.example.com"), ("Sip", {}, "sip:desk@pbx.example.com")),
        (
            Target("sip:desk@pbx.example.com", login=SipLogin("trunk", SecretStr("pass&word"))),
            ("Sip", {"username": "trunk", "password": "pass&word"}, "sip:desk@pbx.example.com"),
        ),
    ],
)
def test_a_target_may_have_an_extension_or_be_a_sip_address(target: Target, noun: Verb) -> None:
    assert verbs(twiml.dial(target))[-1] == noun


# -- in other words


def test_phrases_are_said_in_the_words_and_by_a_voice_of_the_call_s_language() -> None:
    for tag, language, voice, words in [
        ("en-GB", "en-GB", "Polly.Amy", "en"),
        ("de", "de-DE", "Polly.Vicki", "de"),
        ("de-AT", "de-DE", "Polly.Vicki", "de"),
        ("pt-BR", "pt-BR", "Polly.Camila", "pt"),
        ("zh-CN", "cmn-CN", "Polly.Zhiyu", "zh"),
        ("tlh", "en-US", "Polly.Joanna", "en"),  # there are no phrases: English words need an English voice
        ("sv-SE", "en-US", "Polly.Joanna", "en"),
    ]:
        said = ("Say", {"language": language, "voice": voice}, sounds.text("busy", words))
        assert verbs(twiml.busy(Voice.of(Phrases(), tag)))[0] == said


def test_words_of_one_s_own_in_another_language_are_left_to_the_account_s_voice(tmp_path: Path) -> None:
    (tmp_path / "busy.ulaw").write_bytes(b"\x7f" * 160)
    phrases = Phrases(tmp_path, {"sv": {"busy": "Upptaget."}}, "sv")
    assert verbs(twiml.busy(Voice.of(phrases, "sv-SE")))[0] == ("Say", {"language": "sv-SE"}, "Upptaget.")
    assert verbs(twiml.busy(Voice.of(phrases, "sv")))[0] == ("Say", {}, "Upptaget.")
    english = ("Say", {"language": "en-US", "voice": "Polly.Joanna"}, sounds.text("apology"))
    assert verbs(twiml.apology(Voice.of(phrases, "sv-SE")))[0] == english


@pytest.mark.parametrize("language", sounds.LANGUAGES)
def test_every_language_has_a_voice(language: str) -> None:
    (_, attributes, words), _hangup = verbs(twiml.apology(Voice.of(Phrases(), language)))
    assert attributes["voice"].startswith("Polly.")
    assert words == sounds.text("apology", language)


def test_a_phrase_with_an_odd_character_is_still_a_document() -> None:
    odd = Voice({"busy": Spoken("a\x07b & c", None, None)})
    assert verbs(twiml.busy(odd))[0] == ("Say", {}, "a b & c")
