"""The caller's frame has two ways into a call, `receive` and the runner's fast one, and one rule."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from bridge.core import messages as m
from bridge.core.call import Call

from .conftest import truth

EVENTS: dict[str, list[m.Event]] = {
    "begin": [m.Ringing(), m.Started("MZ1", "CA1", "AC1"), m.Admitted()],
    "up": [m.SessionCreated(1), m.SessionUpdated(epoch=1)],
    "lost": [m.UpstreamClosed(1006, "gone", 1)],
    "up again": [m.SessionCreated(2), m.SessionUpdated(epoch=2)],
    "loud": [m.CallerVoice(True)],
    "quiet": [m.CallerVoice(False)],
    "mute": [m.Mute(True)],
    "unmute": [m.Mute(False)],
    "speaks": [m.SpeechStarted("u1", 1)],
    "stops": [m.SpeechStopped("u1", 1), m.TurnCommitted("u1", 1)],
    "wake": [m.WakeUp()],
    "end": [m.Stopped()],
}
STEP = st.one_of(
    st.tuples(
        st.just("frame"), st.sampled_from((20, 20, 20, 20, 40, 79, 80, 5_000, 60_000, -40)), st.just(1)
    ),
    st.tuples(st.just("frame"), st.just(20), st.integers(1, 300)),
    st.tuples(st.sampled_from(sorted(EVENTS)), st.sampled_from((0, 1, 20, 800)), st.just(1)),
)


def fast(call: Call, event: m.Event, now_ms: int) -> list[m.Action]:
    """As the runner does it."""
    if not isinstance(event, m.CallerAudio):
        return call.receive(event, now_ms)
    deadline_ms = call.deadline_ms
    due = call.caller_frame(event, now_ms)
    assert call.deadline_ms == deadline_ms, "the runner sets no timer behind it"
    assert call.out == []
    if isinstance(due, str):
        return [m.AppendAudio(due, event.size_bytes, call.caller_audio.epoch)]
    return [*due]


@given(st.lists(STEP, max_size=40))
def test_any_sequence_of_inputs_gives_the_same_either_way(steps: list[tuple[str, int, int]]) -> None:
    usual, quick = Call(m.CallConfig()), Call(m.CallConfig())
    now_ms = at_ms = 100
    for what, step_ms, times in steps:
        for _ in range(times):
            now_ms += max(0, min(step_ms, 1_000))
            at_ms = max(0, at_ms + step_ms)
            events = [m.CallerAudio("f" * 212 + "/w==", 160, at_ms)] if what == "frame" else EVENTS[what]
            for event in events:
                assert usual.receive(event, now_ms) == fast(quick, event, now_ms)
                assert usual.deadline_ms == quick.deadline_ms
                assert usual.phase is quick.phase
    assert usual.caller_audio.dropped() == quick.caller_audio.dropped()
    assert usual.stats.frames_dropped == quick.stats.frames_dropped


def test_after_the_end_no_frame_goes_anywhere() -> None:
    call = Call(m.CallConfig())
    for event in (*EVENTS["begin"], *EVENTS["up"], *EVENTS["end"]):
        call.receive(event, 100)
    assert call.phase is m.Phase.ENDED
    assert not call.caller_frame(m.CallerAudio("AAAA", 3, 0), 120)
    assert truth(call.receive(m.CallerAudio("AAAA", 3, 0), 120)) == []
