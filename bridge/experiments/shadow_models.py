"""What `--against` names: a model of this machine in virtual time, or one behind a URL in real time."""

from __future__ import annotations

from typing import Any, Final

from bridge.agents.importing import imported
from bridge.doubles.agents import Agent as Mind
from bridge.doubles.front_desk.agent import FrontDesk
from bridge.errors import ConfigError

from .shadow import Recorded
from .shadow_facts import Run
from .shadow_run import Arm, Embedded, MindOf, run_embedded

EMBEDDED: Final = "embedded"


def embedded(where: str) -> Embedded:
    """The model of this machine: `embedded` is the front desk; `module:attribute` an object with `answer`, or
    a function of a seed that makes one. Raises ConfigError for anything else.
    """
    if where == EMBEDDED:
        return Embedded(lambda _seed: FrontDesk())
    return Embedded(_mind_of(where))


def has_dice(model: Embedded) -> bool:
    """Whether two runs of a call may differ."""
    return not isinstance(model.mind(0), FrontDesk) and model.mind(0) is not model.mind(1)


def run_here(model: Embedded, call: Recorded, arm: Arm, seed: int, most_usd: float | None) -> Run:
    """One run in virtual time."""
    return run_embedded(call.name, call.script, arm, model, seed, most_usd)


def _mind_of(where: str) -> MindOf:
    module, _, attribute = where.partition(":")
    if not module or not attribute:
        raise ConfigError(f"a model is embedded, openai, a URL or module:attribute, not {where!r}")
    found: Any = getattr(imported(module), attribute, None)
    if hasattr(found, "answer") and not isinstance(found, type):
        mind: Mind = found
        return lambda _seed: mind
    if not callable(found):
        raise ConfigError(f"{where} neither answers nor makes something that does")
    make: MindOf = found
    return make
