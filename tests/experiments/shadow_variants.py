"""Ten things that may break when an agent or its model changes; each takes the place of the new arm."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from bridge import Agent, ServerVad, tool
from bridge.doubles.agents import Asked, Output
from tests.experiments.kit import AGENT, Restaurant


@tool
def look_up(question: str) -> str:
    """Look something up."""
    return question


class LooksUpFirst(Restaurant):
    """Asks a tool that the recordings do not have before it tells a price."""

    def _answer(self, asked: Asked) -> list[Output]:
        from bridge.doubles.agents import ToolCall

        words = asked.caller.words.text() if asked.caller and asked.caller.words else ""
        if asked.tool_output is None and "book" not in (words or "book") and self._offered(asked, "look_up"):
            return [ToolCall("look_up", {"question": words})]
        return super()._answer(asked)

    @staticmethod
    def _offered(asked: Asked, name: str) -> bool:
        return any(one["name"] == name for one in asked.session["tools"])


class HangsUp(Restaurant):
    """Ends the call once a table is booked."""

    def _answer(self, asked: Asked) -> list[Output]:
        from bridge.doubles.agents import ToolCall

        said = super()._answer(asked)
        return [*said, ToolCall("hang_up", {})] if asked.tool_output is not None else said


@dataclass(frozen=True)
class Variant:
    """A planted change: the new agent, its model, and a metric that must be called worse."""

    name: str
    worse: str
    agent: Agent = AGENT
    mind: Callable[[int], Any] = field(default=lambda _seed: Restaurant())


def _bridge_hang_up() -> Any:
    from bridge import hang_up

    return hang_up


VARIANTS = (
    Variant("a tool dropped", "tools_equal", AGENT.replace(tools=[])),
    Variant("a price changed", "figures_told", mind=lambda _seed: Restaurant(price="13.90")),
    Variant("opening hours changed", "figures_told", mind=lambda _seed: Restaurant(hours="ten to six")),
    Variant("a slower answer", "felt_p50_ms", mind=lambda _seed: Restaurant(think_ms=250)),
    Variant(
        "a slower voice detection",
        "felt_p50_ms",
        AGENT.replace(turn_detection=ServerVad(silence_duration_ms=900)),
    ),
    Variant("another argument", "tools_equal", mind=lambda _seed: Restaurant(day="Sunday")),
    Variant("bookings forgotten", "tools_equal", mind=lambda seed: Restaurant(seed=seed, forgets=0.5)),
    Variant("answers three times as long", "cost_usd", mind=lambda _seed: Restaurant(wordy=3)),
    Variant(
        "an unknown tool asked first",
        "tools_unanswered",
        AGENT.replace(tools=[*AGENT.tools, look_up]),
        lambda _seed: LooksUpFirst(),
    ),
    Variant(
        "it hangs up too early",
        "completed",
        AGENT.replace(tools=[*AGENT.tools, _bridge_hang_up()]),
        lambda _seed: HangsUp(),
    ),
)
