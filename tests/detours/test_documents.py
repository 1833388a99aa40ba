"""The documents of detours, to the letter, and what a target hears."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from typing import Any

import pytest
from twilio.request_validator import RequestValidator

from bridge.codecs.g711 import pcmu_to_pcm, rms
from bridge.core.messages import Afterwards, DetourKind
from bridge.server import detour_twiml, hold_sound, twiml
from bridge.server.detour_twiml import Steps
from bridge.server.gates import Signatures
from bridge.server.numbers import own_number, person
from bridge.server.store.detours import DetourRecord
from bridge.settings.settings import load_settings
from bridge.settings.targets import Target
from bridge.sounds.phrases import Phrases

B = "https://voice.example.com"
AC, CA1, LEG = f"AC{1:032d}", f"CA{1:032d}", f"CA{'0' * 30}d1"
U, N, T = "+15550001111", "+15550002222", "+15550003333"
STEPS = Steps.of(B, "D1")
XML = '<?xml version="1.0" encoding="UTF-8"?>'
SAY = '<Say language="en-US" voice="Polly.Joanna">'


def record(**more: Any) -> DetourRecord:
    return DetourRecord(detour_id="D1", call_sid=CA1, since_ms=0, name="billing", **more)


def incoming(status: str) -> dict[str, str]:
    return {
        "AccountSid": AC, "ApiVersion": "2010-04-01", "CallSid": CA1, "CallStatus": status,
        "Direction": "inbound", "From": U, "Caller": U, "To": N, "Called": N,
    }  # fmt: skip


def dialled(**more: Any) -> str:
    return detour_twiml.dial(record(**more), STEPS, Target(T), caller_id=N, time_limit_s=3_600)


def test_a_caller_is_sent_on() -> None:
    assert dialled() == (
        f'{XML}<Response><Dial action="{B}/detour/D1/after" callerId="{N}" method="POST" timeLimit="3600" '
        f'timeout="25"><Number method="POST" statusCallback="{B}/detour/D1/leg" '
        'statusCallbackEvent="initiated ringing answered completed" '
        f'url="{B}/detour/D1/whisper">{T}</Number></Dial></Response>'
    )


def test_a_caller_who_may_come_back_by_a_key_is_told_so_to_the_carrier() -> None:
    assert 'hangupOnStar="true"' in dialled(after=Afterwards.RETURN)
    assert "hangupOnStar" not in dialled()


def test_without_a_key_nothing_is_asked() -> None:
    noun = ET.fromstring(dialled(accept="")).find("./Dial/Number")
    assert noun is not None
    assert "url" not in noun.attrib
    assert noun.get("statusCallback") == f"{B}/detour/D1/leg"


def test_no_talk_is_longer_than_the_carrier_allows() -> None:
    document = detour_twiml.dial(record(), STEPS, Target(T), caller_id=None, time_limit_s=86_400)
    dial = ET.fromstring(document).find("./Dial")
    assert dial is not None
    assert dial.get("timeLimit") == "14400"
    assert dial.get("callerId") is None


def test_the_target_is_asked() -> None:
    document = detour_twiml.whisper(record(brief="Ann Lee, about an invoice."), STEPS, twiml.BUNDLED)
    said = "A call for you. Ann Lee, about an invoice. To take it, press 1. To decline, press 2."
    assert document == (
        f'{XML}<Response><Gather action="{B}/detour/D1/accept" actionOnEmptyResult="true" input="dtmf" '
        f'method="POST" numDigits="1" timeout="6">{SAY}{said}</Say></Gather><Hangup /></Response>'
    )


def test_two_meet_in_a_room_of_their_own() -> None:
    assert detour_twiml.room(record(), STEPS, "caller") == (
        f'{XML}<Response><Dial action="{B}/detour/D1/after" method="POST"><Conference beep="false" '
        'endConferenceOnExit="true" participantLabel="caller" startConferenceOnEnter="true" '
        f'statusCallback="{B}/detour/D1/room" statusCallbackEvent="start end join leave" '
        f'waitUrl="{B}/detour/D1/hold">pb-D1</Conference></Dial></Response>'
    )


def test_a_caller_on_hold() -> None:
    assert detour_twiml.hold(record(kind=DetourKind.HOLD), STEPS) == (
        f'{XML}<Response><Enqueue action="{B}/detour/D1/after" waitUrl="{B}/detour/D1/hold">pb-D1</Enqueue>'
        "</Response>"
    )
    assert detour_twiml.music(f"{B}/hold.wav") == f"{XML}<Response><Play>{B}/hold.wav</Play></Response>"
    assert detour_twiml.let_go() == f"{XML}<Response><Leave /></Response>"


def test_keys_are_pressed_and_the_stream_opened_by_one_document() -> None:
    links = twiml.Links.below(B)
    document = twiml.connect(
        stream_url=links.media_stream, action_url=links.after_stream, status_url=links.stream_status,
        parameters={"token": "…"}, keys="1w2",
    )  # fmt: skip
    assert document == (
        f'{XML}<Response><Play digits="1w2" /><Connect action="{B}/after-stream" method="POST">'
        f'<Stream statusCallback="{B}/stream-status" url="wss://voice.example.com/media-stream">'
        '<Parameter name="token" value="…" /></Stream></Connect></Response>'
    )


def test_the_carrier_s_signatures() -> None:
    """Computed by others, with the token 12345."""
    after = {
        "DialCallStatus": "completed", "DialCallSid": LEG, "DialCallDuration": "9", "DialBridged": "false",
    }  # fmt: skip
    settings = load_settings(
        env_file=None, public_url=B, twilio_auth_token="12345", openai_api_key="sk-invented"
    )
    gate = Signatures(settings)
    for path, form, signature in [
        ("/detour/D1/after", {**incoming("in-progress"), **after}, "W5zWnMT+VMIVoMsUZDb1XtF097g="),
        (
            "/amd?ref=R1",
            {
                "AccountSid": AC, "CallSid": CA1, "AnsweredBy": "machine_end_beep",
                "MachineDetectionDuration": "9420",
            },
            "YQjHpqKYPf2zBcLIoqYYEAD7GEs=",
        ),
    ]:  # fmt: skip
        assert RequestValidator("12345").compute_signature(B + path, form) == signature
        gate.check_webhook("POST", path, list(form.items()), {"X-Twilio-Signature": signature})


# -- what a target hears


def announced(**more: Any) -> str:
    voice = more.pop("voice", twiml.BUNDLED)
    return detour_twiml.announcement(record(**more), voice).text


def test_what_a_model_says_of_the_caller_is_bounded_and_of_one_line() -> None:
    long = announced(brief="<break time='60s'/> & so on,\n\x00 " + "very " * 400 + "END")
    assert detour_twiml.duration_ms(long) <= detour_twiml.WORDS_MS
    assert long.endswith("very. To take it, press 1. To decline, press 2.")
    assert "\n" not in long
    assert "\x00" not in long
    document = detour_twiml.whisper(record(brief="</Say><Dial>+19005550100</Dial>"), STEPS, twiml.BUNDLED)
    assert [verb.tag for verb in ET.fromstring(document).iter()] == ["Response", "Gather", "Say", "Hangup"]


def test_without_a_word_about_the_caller_their_number_is_said() -> None:
    said = "A call for you. From 1 5 5, 5 0 0, 0 1 1, 1 1. To take it, press 1. To decline, press 2."
    assert announced(caller=U) == said
    assert announced() == "A call for you. To take it, press 1. To decline, press 2."
    assert announced(accept="2") == "A call for you. To take it, press 2."


@pytest.mark.parametrize("language", ["de", "es", "fr", "it", "ja", "nl", "pl", "pt", "zh", "pt-BR", "en-GB"])
def test_a_target_is_asked_in_the_call_s_language(language: str) -> None:
    voice = twiml.Voice.of(Phrases(), language)
    spoken = detour_twiml.announcement(record(brief="Ann Lee " * 60), voice)
    expected = voice.words["busy"]
    assert (spoken.language, spoken.voice) == (expected.language, expected.voice)
    assert re.search(r"1.*2", spoken.text)
    assert detour_twiml.duration_ms(spoken.text) <= detour_twiml.WORDS_MS
    assert language.startswith("en") or "press" not in spoken.text
    assert "{" not in spoken.text
    assert ET.fromstring(detour_twiml.gone(voice)).findtext("./Say")


def test_a_language_without_words_of_its_own_is_asked_in_english() -> None:
    assert announced(voice=twiml.Voice.of(Phrases(), "sv-SE")).startswith("A call for you.")


# -- whose number is shown


@pytest.mark.parametrize(
    ("fields", "ours", "theirs"),
    [
        (incoming("ringing"), N, U),
        ({**incoming("ringing"), "From": "anonymous"}, N, ""),
        ({**incoming("ringing"), "From": "+266696687"}, N, "+266696687"),
        ({"Direction": "outbound-api", "From": N, "To": U}, N, U),
        (
            {"Direction": "inbound", "From": "sip:ann@pbx.example.com", "To": "sip:x@y.sip.example.com"},
            "",
            "",
        ),
        ({}, "", ""),
    ],
)
def test_a_target_sees_the_number_that_is_ours(fields: dict[str, str], ours: str, theirs: str) -> None:
    assert (own_number(fields), person(fields)) == (ours, theirs)
    # A SIP call has no number of ours.
    assert own_number(fields, ["+15550009999", "+15550008888"]) == (ours or "+15550009999")


def test_the_sound_of_waiting_is_quiet_and_never_silent() -> None:
    sound = hold_sound.notes()
    assert len(sound) == hold_sound.PIECE_S * 8_000
    levels = [rms(pcmu_to_pcm(sound[at : at + 1_600])) for at in range(0, len(sound), 1_600)]
    assert 100 < min(levels) <= max(levels) < 3_000
