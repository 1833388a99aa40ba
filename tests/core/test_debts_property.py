"""Whatever turns, tools, noises, cancels, losses and agents do: see `talk` for the rules that hold."""

from __future__ import annotations

import random

import pytest

from .talk import Talk

FAST = 300
LONG = 10_000


def held(seed: int, steps: int) -> None:
    talk = Talk(seed)
    try:
        talk.play(steps)
        talk.calm()
    except AssertionError as broken:
        raise AssertionError(f"{broken}: Talk({seed}), {steps} steps, at {talk.call.now_ms} ms") from broken


def all_held() -> None:
    for seed in range(FAST):
        held(seed, 30)


def test_each_debt_is_paid_once_or_named_unpaid_whatever_happens() -> None:
    all_held()


@pytest.mark.hostile
@pytest.mark.long
@pytest.mark.timeout(1_200)
def test_ten_thousand_calls_more() -> None:
    first = random.randrange(2**32)
    print(f"seeds from {first}")  # noqa: T201  to play one again
    for seed in range(first, first + LONG):
        held(seed, 60)


def test_the_talk_itself_is_answered() -> None:
    talk = Talk(7)
    talk.responds = True
    talk.random.random = lambda: 0.5  # type: ignore[method-assign]
    for step in (talk.turn, talk.turn, talk.respond):
        step()
    talk.calm()
    assert len(talk.heard) == 1
    assert talk.became["turn:1"] == 1


def test_the_rules_see_a_debt_that_is_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bridge.core.answers.ask", lambda _call, _now_ms: None)
    with pytest.raises(AssertionError):
        all_held()


def test_the_rules_see_an_agent_that_is_not_in_force(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bridge.core.config.SessionConfig.after", lambda config, _before: config)
    with pytest.raises(AssertionError, match="in force"):
        all_held()


def test_the_rules_see_a_request_while_the_caller_speaks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bridge.core.answers.hears", lambda _call: False)
    with pytest.raises(AssertionError, match="while the caller speaks"):
        all_held()
