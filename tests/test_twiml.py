"""What the carrier is told: each answer as the document that it reads."""

from __future__ import annotations

import xml.etree.ElementTree as ET

import pytest

from bridge import sounds
from bridge.server import twiml
from bridge.server.store.intents import Next, Step
from bridge.server.twiml import Links, Voice
from bridge.settings.settings import Settings

LINKS = Links.below("https://voice.example.com/phone")
NUMBER = "+15550001111"

Verb = tuple[str, dict[str, str], str]


def verbs(document: str) -> list[Verb]:
    """Name, attributes and text of everything in the document, in order; the shape is the order here."""
    assert document.startswith('<?xml version="1.0" encoding="UTF-8"?><Response>')
    root = ET.fromstring(document.encode())
    return [(node.tag, dict(node.attrib), node.text or "") for node in root.iter() if node is not root]


def said(phrase: str) -> Verb:
    return ("Say", {"language": "en-US"}, sounds.text(phrase))


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
    assert verbs(twiml.no_upstream(NUMBER, LINKS.after_stream)) == [
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
        targets={"billing": NUMBER},
    )
    assert verbs(document) == answer


def test_a_resumed_call_gets_its_stream_again() -> None:
    document = twiml.after_stream(Step(Next.RESUME), resume=connect, after_url=LINKS.after_stream, targets={})
    assert document == connect()


# -- in other words


def test_phrases_are_said_in_the_words_and_the_language_of_the_settings() -> None:
    settings = Settings(_env_file=None, insecure=True, language="en-GB")
    assert verbs(twiml.busy(Voice.of(settings)))[0] == ("Say", {"language": "en-GB"}, sounds.text("busy"))
    bare = Settings(_env_file=None, insecure=True, language="de")
    assert verbs(twiml.busy(Voice.of(bare)))[0] == ("Say", {}, sounds.text("busy"))


def test_a_phrase_with_an_odd_character_is_still_a_document() -> None:
    assert verbs(twiml.busy(Voice({"busy": "a\x07b & c"})))[0] == ("Say", {}, "a b & c")
