"""A recorded call goes on from a moment with a model behind a URL, in real time."""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from bridge.core import messages as m
from bridge.errors import ConfigError
from bridge.recording import Recorder
from bridge.recording.caller_script import CallerScript, Kind
from bridge.recording.facts import facts_of
from bridge.recording.header import Forked, Header

from .budget import MICRO, Budget, Purse
from .fork import BEGIN_MS, Forking, ForkRun, turns_after
from .shadow_live import LiveCall, LiveModel
from .shadow_run import MOST_TIMES, SLACK_MS, Arm
from .workers import never, side_by_side

PARALLEL: Final = 4
"""Calls at once."""


@dataclass(frozen=True, slots=True)
class LiveForking:
    """What is to go on, with whom, and what is written in the new recordings: `recording` is the SHA-256 of
    the old one's file, `model` what the model is called.

    Raises ConfigError for a recording without sound: a real model hears nothing in its place.
    """

    forking: Forking
    arm: Arm
    upstream: LiveModel
    recording: str = ""
    model: str = ""
    sound: bool = False

    def __post_init__(self) -> None:
        acts = self.forking.script.acts
        if self.forking.caller is None and any(act.kind is Kind.SAYS and not act.sound for act in acts):
            raise ConfigError(
                "a model behind a URL listens, and this recording has no sound: record calls with "
                "BRIDGE_RECORD_AUDIO=1, or go on with a model of this machine"
            )

    @property
    def script(self) -> CallerScript:
        """The caller from the moment on."""
        forking = self.forking
        return dataclasses.replace(forking.script, header=forking.header, acts=forking.acts)

    def seconds(self, repeat: int) -> float:
        """About how long so many runs take."""
        return self.forking.left_ms / 1000 * -(-repeat // PARALLEL)

    async def run(self, purse: Purse) -> ForkRun:
        """One continuation. It ends before its purse is empty, and is not `whole` then. Raises NotRun where
        there is no model.
        """
        lines: list[str] = []
        forking = self.forking
        call = LiveCall(
            self.script, self.arm, self.upstream, forking.tools, lambda config: self._recorder(lines, config)
        )
        await call.begin()
        await call.until_begun(BEGIN_MS)
        call.calls_from(call.line.now_ms())
        await call.play(purse, forking.left_ms * MOST_TIMES + SLACK_MS)
        call.raise_without_model("fork")
        facts = facts_of(lines)
        whole = call.caller.completed or not purse.is_empty
        return ForkRun(lines, facts, tuple(turns_after(facts, 0)), whole)

    def _recorder(self, lines: list[str], config: m.CallConfig) -> Recorder:
        forking = self.forking
        forked = Forked(self.recording, forking.asked_ms, forking.moment.t_ms, model=public(self.model))
        header = Header(
            carrier="twilio",
            upstream=self.upstream.vendor,
            config=config,
            at=dt.datetime.now(dt.UTC).isoformat(timespec="milliseconds"),
            forked=forked,
        )
        return Recorder(lines.append, header, self.sound)


def public(model: str) -> str:
    """What a model is called, without what proves something in its address."""
    parts = urlsplit(model)
    if not parts.netloc:
        return model
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


async def run_forks(
    fork: LiveForking,
    repeat: int,
    most_usd: float | None,
    done: Callable[[ForkRun], None],
    stopped: Callable[[], bool] = never,
) -> None:
    """So many continuations, some at once, as long as there is money for the next one, until it is `stopped`.
    `done` is told each as soon as it is over. Raises NotRun where there is no model.
    """
    expected_usd, budget = fork.forking.left_usd, Budget(most_usd)
    waiting = iter(range(repeat))

    async def worker() -> None:
        for _ in waiting:
            purse = budget.begin(expected_usd)
            if purse is None:
                return
            run = await fork.run(purse)
            budget.end(purse, run.facts.cost_micro_usd / MICRO)
            done(run)

    await side_by_side([worker() for _ in range(min(repeat, PARALLEL))], stopped)
