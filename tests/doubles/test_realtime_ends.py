"""How sessions end, stall and surprise."""

from __future__ import annotations

import json
from typing import Any

import pytest

from bridge.doubles.agents import Parrot, Speech
from bridge.doubles.options import Drop, ServerOptions
from tests.doubles.conftest import AT_ONCE, Client, append, scripted, silence


def test_a_session_ends_after_an_hour() -> None:
    client = Client(Parrot())
    client.until(3_599_999)
    (event,) = client.until(3_600_000)
    assert event["error"]["code"] == "session_expired"
    assert client.server.close == (1001, "Your session hit the maximum duration of 60 minutes.")
    assert client.server.deadline_ms is None
    assert client.at(3_600_001, {"type": "response.create"}) == []


def test_time_can_be_scaled_and_nothing_is_finished_at_the_end() -> None:
    client = scripted(Speech(10_000), latency_ms=0, speed=1, expires_after_ms=2_000)
    client.responds()
    client.until(60_000)
    assert client.kinds()[-1] == "error"
    assert client.of("response.done") == []
    assert client.times[-1] == 2_000


def test_the_server_can_be_dropped_at_any_moment() -> None:
    client = scripted(Speech(10_000), latency_ms=0, speed=1)
    client.responds()
    client.until(1000)
    assert client.server.drop(1012, 1000, reason="restart") == []
    assert client.server.close == (1012, "restart")
    assert client.until(60_000) == []


@pytest.mark.parametrize(
    ("drop", "last"),
    [
        (Drop("session.created", code=1013), "session.created"),
        (Drop("response.output_audio.delta", 3, 1006), "response.output_audio.delta"),
        (Drop("response.done"), "response.done"),
    ],
)
def test_the_server_can_be_dropped_after_any_event(drop: Drop, last: str) -> None:
    client = Client(Parrot(), **AT_ONCE, drops=(drop,))
    client.responds()
    assert client.kinds()[-1] == last
    assert client.kinds().count(last) == drop.nth
    assert client.server.close == (drop.code, "")


def test_a_client_that_is_gone_is_told_nothing_more() -> None:
    client = scripted(Speech(10_000), speed=1)
    client.responds()
    assert client.server.gone(500) == []
    assert client.server.close is None
    assert client.until(60_000) == []
    assert client.server.drop(1000, 60_000) == []
    assert client.server.close is None


def test_a_stalled_server_catches_up(voice: bytes) -> None:
    client = scripted(Speech(1000), latency_ms=0, speed=1, delta_bytes=(800,))
    client.responds()
    client.until(200)
    assert client.server.stall(250) == []
    assert client.server.deadline_ms is None
    assert client.at(900, append(voice[:640])) == []
    kinds = [json.loads(frame)["type"] for frame in client.server.resume(900)]
    assert [kind for kind in kinds if kind in ("response.output_audio.delta", "response.done")] == [
        "response.output_audio.delta"
    ] * 7 + ["response.done"]
    # Speech came in while it was stalled, and is noticed now.
    assert kinds.index("input_audio_buffer.speech_started") < kinds.index("response.done")


def test_a_strange_server_says_what_nobody_knows() -> None:
    client = Client(Parrot(), **AT_ONCE, strange=True)
    client.responds()
    assert client.of("response.mood.updated")
    assert all("x_unknown" in event for event in client.events)
    assert client.last("response.done")["response"]["output"][0]["phase"] == "final_answer"


def test_an_event_can_be_withheld() -> None:
    client = Client(Parrot(), withhold=frozenset({"session.updated"}))
    assert client.now("session.update", session={"type": "realtime"}) == []
    assert client.server.sent["session.updated"] == 0


@pytest.mark.parametrize("bad", [{"delta_bytes": ()}, {"delta_bytes": (800, 0)}, {"speed": 0}])
def test_options_that_would_never_end_are_refused(bad: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="positive speed"):
        ServerOptions(**bad)


def test_what_the_server_says_does_not_depend_on_how_often_it_is_woken(voice: bytes) -> None:
    sound = silence(300) + voice + silence(700)

    def run(step_ms: int) -> list[str]:
        client = scripted(Speech(3000, "one two three"), Speech(400), late_deltas=1, cancel_ms=33)
        out: list[str] = []
        out += client.server.receive('{"type":"response.create"}', 0)
        for now_ms in range(0, 6000, 20):
            for between in range(now_ms, now_ms + 20, step_ms):
                out += client.server.wake(between)
            chunk = sound[now_ms * 8 : now_ms * 8 + 160] or silence(20)
            out += client.server.receive(json.dumps(append(chunk)), now_ms + 20)
        return out

    assert run(1) == run(7) == run(20)
