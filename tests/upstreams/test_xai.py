"""xAI: the shapes that it was seen to send and to take. Ids and words are invented."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from bridge.core import messages as m
from bridge.errors import ConfigError
from bridge.upstreams import UPSTREAMS, Xai
from bridge.upstreams.dial import Auth
from bridge.upstreams.xai import CAPABILITIES
from tests.core.conftest import new_call

TOOL = {"type": "function", "name": "hours", "parameters": {"type": "object", "properties": {}}}
CONFIG = m.SessionConfig(
    model="grok-voice-latest",
    voice="ara",
    instructions="Be brief.",
    transcription="grok-transcribe",
    tools=(TOOL,),
)
DETECTION = {
    "type": "server_vad",
    "threshold": 0.5,
    "prefix_padding_ms": 300,
    "silence_duration_ms": 500,
    "create_response": True,
    "interrupt_response": True,
}
IN_FORCE: dict[str, Any] = {
    "turn_detection": {"type": "server_vad", "create_response": True, "interrupt_response": True},
    "model": "grok-voice-latest",
    "input_audio_format": "not specified",
    "output_audio_format": "not specified",
    "tools": [{"type": "function", "function": {k: v for k, v in TOOL.items() if k != "type"}}],
    "audio": {
        "input": {"format": {"type": "audio/pcmu"}, "transport": "json"},
        "output": {"format": {"type": "audio/pcmu"}, "transport": "json"},
    },
}


@pytest.fixture
def model() -> Xai:
    return Xai()


def parsed(model: Xai, kind: str, **fields: Any) -> Any:
    return model.parse(json.dumps({"type": kind, "event_id": "e", **fields}))


def configured(model: Xai, **told: Any) -> Any:
    """What the answer to our configuration says."""
    model.write(m.ConfigureSession(CONFIG))
    return parsed(model, "session.updated", session={**IN_FORCE, **told})


# --- what goes out


def test_its_address_and_whose_key_it_gets(model: Xai) -> None:
    dial = model.dial(CONFIG)
    assert dial.url == "wss://api.x.ai/v1/realtime?model=grok-voice-latest"
    assert (dial.auth, dial.key) == (Auth.BEARER, "XAI_API_KEY")


def test_turn_detection_and_voice_stand_at_the_top(model: Xai) -> None:
    session = json.loads(model.write(m.ConfigureSession(CONFIG)))["session"]
    assert session == {
        "instructions": "Be brief.",
        "voice": "ara",
        "turn_detection": DETECTION,
        "audio": {
            "input": {"format": {"type": "audio/pcmu"}, "transcription": {"model": "grok-transcribe"}},
            "output": {"format": {"type": "audio/pcmu"}},
        },
        "tools": [TOOL],
    }


def test_a_voice_is_not_sent_twice(model: Xai) -> None:
    session = json.loads(model.write(m.ConfigureSession(CONFIG, True)))["session"]
    assert "voice" not in session
    assert session["turn_detection"] == DETECTION


@pytest.mark.parametrize(
    "changes",
    [
        {"turn_detection": None},
        {"turn_detection": m.SemanticVad()},
        {"noise_reduction": "far_field"},
    ],
)
def test_what_it_has_not_is_refused_before_a_call(model: Xai, changes: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="xAI"):
        model.dial(msgspec.structs.replace(CONFIG, **changes))


def test_a_language_is_a_hint_and_a_speed_is_taken(model: Xai) -> None:
    config = msgspec.structs.replace(CONFIG, language="de", speed=1.2)
    model.dial(config)
    audio = json.loads(model.write(m.ConfigureSession(config)))["session"]["audio"]
    assert audio["input"]["transcription"] == {"model": "grok-transcribe", "language_hint": "de"}
    assert audio["output"]["speed"] == 1.2


def test_a_response_is_asked_for_in_their_words(model: Xai) -> None:
    asked = json.loads(model.write(m.CreateResponse("greeting", "Say hello.")))
    assert asked["response"] == {"instructions": "Say hello."}
    text = json.loads(model.write(m.CreateResponse("summary", text_only=True)))
    assert text["response"] == {"modalities": ["text"]}


# --- what comes in: X1 to X10


@pytest.mark.parametrize("metadata", [{}, {"metadata": None}, {"metadata": {}}])
def test_x1_without_metadata_each_request_is_told_by_its_order(model: Xai, metadata: Any) -> None:
    bare = {"id": "r1", "object": "realtime.response", "output": [], "status": "in_progress", **metadata}
    model.write(m.CreateResponse("greeting"))
    assert parsed(model, "response.created", response=bare) == m.ResponseStarted("r1", "greeting")
    model.write(m.CreateResponse("result:1"))
    assert parsed(model, "response.created", response={**bare, "id": "r2"}).tag == "result:1"


def test_x2_and_x8_usage_stands_beside_and_details_are_a_string(model: Xai) -> None:
    usage = {
        "input_tokens": 13,
        "input_token_details": {"text_tokens": 13, "audio_tokens": 0},
        "output_tokens": 113,
        "output_token_details": {"text_tokens": 8, "audio_tokens": 105},
        "output_audio_seconds": 2.09,
        "billable_audio_seconds": 1,
    }
    response = {"id": "r", "status": "completed", "status_details": "unimplemented", "usage": {}}
    done, seconds = parsed(model, "response.done", response=response, response_id="r", usage=usage)
    assert (done.response_id, done.status, done.usage) == (
        "r",
        "completed",
        m.Usage(text_in=13, text_out=8, audio_out=105),
    )
    assert seconds == m.UsageSeen(1, 1.0)
    _, again = parsed(model, "response.done", response={**response, "id": "r2"}, usage=usage)
    assert again.seconds_total == 2.0


@pytest.mark.parametrize("usage", [None, {}, {"billable_audio_seconds": None}, "none"])
def test_x2_no_usage_is_unknown(model: Xai, usage: Any) -> None:
    done = parsed(
        model, "response.done", response={"id": "r", "status": "completed", "usage": {}}, usage=usage
    )
    assert done == m.ResponseDone("r", "completed")


@pytest.mark.parametrize("seconds", [-3, 1e300])
def test_x2_seconds_that_cannot_be_right_are_bounded(model: Xai, seconds: float) -> None:
    usage = {"billable_audio_seconds": seconds}
    _, seen = parsed(model, "response.done", response={"id": "r"}, usage=usage)
    assert 0 <= seen.seconds_total <= 86_400


def test_x3_only_the_completed_transcript_is_the_turn(model: Xai) -> None:
    kind = "conversation.item.input_audio_transcription.completed"
    told = [
        ("Hello?", "in_progress"),
        ("Hello, my name is", "in_progress"),
        ("Hello, my name is Ann.", "completed"),
    ]
    turns = [parsed(model, kind, item_id="i", transcript=words, status=status) for words, status in told]
    assert [turn and turn.text for turn in turns] == [None, None, "Hello, my name is Ann."]


def test_x4_turn_detection_is_read_at_the_top(model: Xai) -> None:
    on = configured(model)
    assert (on.interrupts, on.responds) == (True, True)
    off = configured(model, turn_detection={"type": None})
    assert (off.interrupts, off.responds) == (False, False)


def test_x5_and_x6_wrapped_tools_and_formats_that_say_nothing_are_no_difference(model: Xai) -> None:
    assert configured(model) == m.SessionUpdated()
    other = configured(model, tools=[{"type": "function", "function": {"name": "other"}}])
    assert [difference.partition(" ")[0] for difference in other.differences]


def test_x6_formats_below_audio_count(model: Xai) -> None:
    pcm = {"format": {"type": "audio/pcm", "rate": 24_000}}
    assert not configured(model, audio={"input": pcm, "output": pcm}).formats_ok


@pytest.mark.parametrize("audio", [None, [], {"input": None}, {"input": {"format": None}}, "none"])
def test_an_answer_of_any_shape_breaks_nothing(model: Xai, audio: Any) -> None:
    assert configured(model, audio=audio, tools=None, turn_detection=None).formats_ok is False


def test_x7_a_sentence_has_the_time_at_which_it_begins(model: Xai) -> None:
    place = {"response_id": "r", "item_id": "i", "output_index": 0, "content_index": 0}
    kind = "response.output_audio_transcript.delta"
    assert parsed(model, kind, **place, delta="Three four.", start_time=1.8) == m.TextDelta(
        "r", "i", 0, "Three four.", start_ms=1_800
    )
    for strange in (None, -1, 1e300):
        assert parsed(model, kind, **place, delta="Three.", start_time=strange).start_ms is None


def test_x7_a_sound_with_more_fields_is_a_sound(model: Xai) -> None:
    place = {"response_id": "r", "item_id": "i", "output_index": 0, "content_index": 0}
    delta = parsed(model, "response.output_audio.delta", **place, delta="////", audio_duration_ms=0, ts=0)
    assert delta == m.AudioDelta("r", "i", 0, "////", 3)


def test_a_server_that_begins_with_the_conversation_has_begun(model: Xai) -> None:
    """Seen in the field: no session.created ever came, and nothing was configured."""
    assert parsed(model, "conversation.created", conversation={"id": "c1"}) == m.SessionCreated()


def test_a_conversation_behind_a_session_says_nothing_new(model: Xai) -> None:
    session = {"id": "s1", "object": "realtime.session"}
    assert parsed(model, "session.created", session=session) == m.SessionCreated(session_id="s1")
    assert parsed(model, "conversation.created", conversation={"id": "c1"}) is None


def test_x9_items_that_a_resumed_session_replays_are_ignored(model: Xai) -> None:
    item = {"id": "old", "type": "message", "role": "user", "content": [{"type": "text", "text": "Hours?"}]}
    assert parsed(model, "conversation.item.added", item=item) is None
    configured(model)
    assert parsed(model, "conversation.item.added", item=item).text == "Hours?"


def test_a_ping_of_theirs_says_nothing(model: Xai) -> None:
    assert parsed(model, "ping", timestamp=1_785_214_092_700, previous_item_id=None) is None


def test_the_record_says_what_it_gives_up() -> None:
    record = UPSTREAMS["xai"].capabilities
    assert (record.truncates, record.tags, record.probes) == (False, False, False)
    assert (record.cancels, record.duplex) == (True, False)
    assert record.session_s * 83 // 100 <= 25 * 60  # when the next one is dialled


@pytest.mark.parametrize("handler", [False, True])
def test_a_caller_who_goes_on_after_a_pause_is_told_of_with_all_words(handler: bool) -> None:
    """Seen in the field: the item stays open over the pause, and each commit transcribes all of it again. The
    response to the first part ends without a word on it.
    """
    rules = m.AgentRules(handler=handler)
    session = m.SessionConfig(transcription="grok-transcribe", agent=rules)
    call = new_call(capabilities=CAPABILITIES, session=session, media_gap_ms=10**9)
    call.speaks(0, m.Started("MZ1", "CA1", "AC1"), m.SessionCreated(), m.SessionUpdated(), m.Admitted())
    for at_ms, words in ((1_000, "I would like"), (2_000, "I'd like to book a table.")):
        call.at(at_ms, m.SpeechStarted("u1"))
        call.speaks(at_ms + 500, m.SpeechStopped("u1"), m.TurnCommitted("u1"))
        call.at(at_ms + 530, m.CallerTranscribed("u1", words))
        if not handler:
            call.at(at_ms + 550, m.ResponseStarted(f"r{at_ms}"))
    call.until(12_000 if handler else 2_600)
    told = [action.text for _, action in call.said if isinstance(action, m.Turn)]
    assert told == ["I would like", "I'd like to book a table."]
    assert not call.call.transcripts.awaited
    said = [item.text for item in call.call.playout.conversation.items.values() if item.role == "user"]
    assert said == ["I'd like to book a table."]
    if not handler:
        sound = call.at(2_700, m.AudioDelta("r2000", "A", 0, "", 3_200))
        assert any(isinstance(action, m.PlayAudio) for action in sound)
