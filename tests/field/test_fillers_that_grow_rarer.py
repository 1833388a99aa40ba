"""What a caller hears while they wait: never silence, ever fewer words, never the same twice in a row, and an
end or a person after a minute.

Reported of other bridges: "One moment, please", ten times in thirty seconds.
"""

from __future__ import annotations

import asyncio
from base64 import b64decode, b64encode
from itertools import pairwise

import pytest

from bridge import Agent, sounds, tool
from bridge.core import messages as m
from bridge.core.filled_pauses import FilledPauses
from bridge.sounds.phrases import Phrases
from bridge.testing.call import begin
from bridge.testing.scripted_call import ScriptedCall

TEXTS = {len(sounds.load(name)): name for name in ("filler", "filler_2", "filler_3", "working")}


def slow(seconds: float, filler: str | None = "filler", name: str = "look_up") -> object:
    @tool(name=name, deadline_ms=90_000, filler=filler)
    async def look_up() -> str:
        "Look up the opening hours."
        await asyncio.sleep(seconds)
        return "nine to five"

    return look_up


def waits(*tools: object, seconds: int = 40, **fields: object) -> ScriptedCall:
    """A call whose model calls the tool at 1 s, and answers with its result."""
    call = begin(Agent(instructions="x", greeting="", tools=list(tools)), **fields)  # type: ignore[arg-type]
    call.model.answers("Nine to five.")
    call.at(1_000)
    call.model.calls("look_up")
    call.at(seconds * 1_000)
    return call


def heard(call: ScriptedCall, kind: str) -> list[tuple[int, str]]:
    """When which of our sounds were over, those of that kind."""
    said = [(at, action) for at, action in call.rehearsal.said if isinstance(action, m.Heard)]
    return [(at, TEXTS.get(a.heard_ms * 8, a.say_id)) for at, a in said if a.say_id.startswith(kind)]


def test_words_grow_rarer_and_vary_and_there_is_no_silence() -> None:
    call = waits(slow(30))
    words = heard(call, "filler")
    assert [name for _, name in words] == ["filler", "filler_2", "filler_3"]
    began = [at - len(sounds.load(name)) // 8 for at, name in words]
    gaps = [later - sooner for sooner, later in pairwise(began)]
    assert all(0 <= gap - due <= 400 for gap, due in zip(gaps, [7_000, 10_000], strict=True)), gaps
    assert call.caller.longest_silence_ms(1_000, 31_000) < 1_900
    assert [spoken.heard for _, spoken in call.rehearsal.said if isinstance(spoken, m.Spoken)] == [
        "Nine to five."
    ]
    call.close()


def test_the_next_wait_begins_with_other_words() -> None:
    call = begin(Agent(instructions="x", greeting="", tools=[slow(4)]))  # type: ignore[list-item]
    for at_ms in (1_000, 20_000, 40_000):
        call.model.answers("Nine to five.")
        call.at(at_ms)
        call.model.calls("look_up")
    call.at(60_000)
    assert [name for _, name in heard(call, "filler")] == ["filler", "working", "filler"]
    call.close()


def test_a_quiet_loop_has_words_after_15_s_and_pays_no_debt() -> None:
    call = waits(slow(40, "waiting"), seconds=50)
    began = [at - len(sounds.load(name)) // 8 for at, name in heard(call, "filler")]
    assert all(0 <= at - due <= 400 for at, due in zip(began, [16_000, 31_100], strict=True)), began
    assert len(heard(call, "waiting")) > 20
    assert call.caller.longest_silence_ms(1_000, 41_000) < 1_900
    [answer] = [spoken.heard for _, spoken in call.rehearsal.said if isinstance(spoken, m.Spoken)]
    assert answer == "Nine to five."
    call.close()


def test_a_tool_without_a_filler_is_not_covered() -> None:
    call = waits(slow(10, None), seconds=20)
    assert heard(call, "filler") == heard(call, "waiting") == []
    call.close()


@pytest.mark.parametrize("filler", ["filler", "waiting", None])
def test_after_a_minute_the_call_ends_in_words(filler: str | None) -> None:
    call = waits(slow(80, filler), seconds=80)
    assert call.rehearsal.ended is not None
    assert call.rehearsal.ended.reason is m.Reason.LIMIT
    noted = [(at, a.detail) for at, a in call.rehearsal.said if isinstance(a, m.Noted)]
    [(noted_ms, detail)] = [(at, detail) for at, detail in noted if "waited" in detail]
    assert detail == "they have waited for 60 s"
    assert 61_000 <= noted_ms <= 63_000
    [goodbye] = [spoken.heard for _, spoken in call.rehearsal.said if isinstance(spoken, m.Spoken)]
    assert goodbye == "Nine to five.", "the model's words, whatever it says"
    call.close()


def test_after_a_minute_a_person_where_there_is_one() -> None:
    call = waits(slow(80), seconds=80, fallback="desk")
    assert call.rehearsal.ended is not None
    assert (call.rehearsal.ended.reason, call.rehearsal.ended.detail) == (m.Reason.TRANSFERRED, "desk")
    intents = [a.intent for _, a in call.rehearsal.said if isinstance(a, m.NoteIntent)]
    assert intents == ["transfer:desk"]
    call.close()


def test_an_agent_may_let_callers_wait_longer() -> None:
    agent = Agent(instructions="x", greeting="", tools=[slow(70)], wait_ms=0)  # type: ignore[list-item]
    call = begin(agent)
    call.model.answers("Nine to five.")
    call.at(1_000)
    call.model.calls("look_up")
    call.at(85_000)
    assert call.rehearsal.ended is None
    assert [spoken.heard for _, spoken in call.rehearsal.said if isinstance(spoken, m.Spoken)]
    call.close()


def test_the_answer_does_not_wait_for_a_long_quiet_sound() -> None:
    """An operator's own may be music of half a minute: it stops within half a second."""
    phrases = Phrases().sounds("en")
    music = sounds.load("busy") * 6
    long = m.Sound(b64encode(music).decode(), len(music))
    call = waits(slow(12), phrases={**phrases, "waiting": long}, seconds=30)
    *_, asked_ms = [at for at, a in call.rehearsal.said if isinstance(a, m.CreateResponse)]
    [(done_ms, spoken)] = [(at, a) for at, a in call.rehearsal.said if isinstance(a, m.Spoken)]
    assert spoken.heard == "Nine to five."
    assert done_ms - asked_ms < 200 + 500 + 13 * 60 + 100
    call.close()


def test_a_caller_who_speaks_meanwhile_is_answered() -> None:
    call = waits(slow(30), seconds=12)
    call.model.answers("I am still looking, sorry.")
    call.caller.says("Are you there?", ms=800)
    call.at(20_000)
    said = [spoken.heard for _, spoken in call.rehearsal.said if isinstance(spoken, m.Spoken)]
    assert said
    call.close()


def test_silence_within_an_answer_is_filled_by_words_once_and_then_by_the_quiet_sound() -> None:
    """The vendor sends twelve seconds of silence before its words: it is one answer, and the line is busy."""
    pauses, fillers = FilledPauses(8), [Phrases().sounds("en")[name] for name in ("filler", "waiting")]
    silent = b64encode(b"\xff" * 4_000).decode()
    sent = b"".join(b64decode(pauses.fill(silent, 4_000, fillers)) for _ in range(24))
    assert len(sent) == 24 * 4_000
    assert sent.count(sounds.load("filler")) == 1
    assert sent.count(sounds.waiting()) >= 4
    pauses.audible()
    sent = b"".join(b64decode(pauses.fill(silent, 4_000, fillers)) for _ in range(8))
    assert sent.count(sounds.load("filler")) == 1, "another pause begins with words again"
