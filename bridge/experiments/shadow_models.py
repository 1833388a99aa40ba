"""What `--against` names: a model of this machine in virtual time, or one behind a URL in real time."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import datetime as dt
from collections.abc import Iterator
from typing import Any, Final
from urllib.parse import urlsplit

import msgspec

from bridge.agents.importing import imported
from bridge.doubles.agents import Agent as Mind
from bridge.doubles.front_desk.agent import FrontDesk
from bridge.errors import BridgeError, ConfigError
from bridge.recording.caller_script import CallerScript
from bridge.settings.settings import load_settings
from bridge.sockets.peers import is_loopback
from bridge.upstreams import REHEARSALS, UPSTREAMS

from .shadow import Experiment, Job, Outcome, compare, compare_live
from .shadow_facts import Run, has_price
from .shadow_live import LiveModel, NotRun, run_live
from .shadow_rules import ShadowRules
from .shadow_run import Arm, Embedded, MindOf, config_of, run_embedded
from .workers import red_exit

EMBEDDED: Final = "embedded"
OPENAI: Final = "openai"


def model_of(where: str) -> Embedded | LiveModel:
    """The model: `embedded` is the front desk; `module:attribute` an object with `answer`, or a function of a
    seed that makes one; an upstream of the table, or the address of one that speaks as OpenAI's. Raises
    ConfigError for anything else, and for a vendor whose key is not set.
    """
    if where == EMBEDDED:
        return Embedded(lambda _seed: FrontDesk())
    if where.lower().startswith(("ws://", "wss://")):
        return _live(OPENAI, where)
    if where in UPSTREAMS and where not in REHEARSALS:
        return _live(where, None)
    return Embedded(_mind_of(where))


def has_dice(model: Embedded | LiveModel) -> bool:
    """Whether two runs of a call may differ."""
    if isinstance(model, LiveModel):
        return True
    return not isinstance(model.mind(0), FrontDesk) and model.mind(0) is not model.mind(1)


def costs(model: Embedded | LiveModel) -> bool:
    """Whether runs are billed: a model of this machine is not."""
    if isinstance(model, Embedded):
        return False
    return model.url is None or not is_loopback(urlsplit(model.url).hostname)


def priced(model: LiveModel, script: CallerScript, arm: Arm) -> bool:
    """Whether it is known what a call of this arm costs there: without a price no limit of money holds."""
    configs, recorded = config_of(script, arm, model.vendor, model.settings.prices)
    prices = recorded.prices
    if arm.agent is not None and arm.agent.model is not None:
        session = msgspec.structs.replace(recorded.session, model=arm.agent.model)
        prices = configs.rates(session, dt.datetime.now(dt.UTC).date())
    return has_price(prices)


def carried_out(
    experiment: Experiment, model: Embedded | LiveModel, parallel: int, rules: ShadowRules | None = None
) -> Outcome:
    """The experiment, with this model. Raises NotRun where a call or a judge cannot be had; the runs until
    then stay in the experiment.
    """
    if isinstance(model, Embedded):
        here = model

        def one(job: Job) -> Run:
            with _told(job):
                run = run_embedded(job.call.name, job.call.script, job.arm, here, job.seed, job.purse)
                return _judged(run, rules)

        with red_exit():
            return compare(experiment, one)
    there = model

    async def live(job: Job) -> Run:
        with _told(job):
            run = await run_live(job.call.name, job.call.script, job.arm, there, job.purse)
            return await asyncio.to_thread(_judged, run, rules)

    return asyncio.run(compare_live(experiment, live, parallel))


@contextlib.contextmanager
def _told(job: Job) -> Iterator[None]:
    """What the user's agent or mind raises is told with its call."""
    try:
        yield
    except BridgeError:
        raise
    except (Exception, SystemExit) as error:
        raise NotRun(f"{job.call.name}, {job.arm.name}: {type(error).__name__}: {error}") from error


def _judged(run: Run, rules: ShadowRules | None) -> Run:
    broken = None
    if rules is not None and run.evidence is not None:
        try:
            broken = rules.broken(run.evidence)
        except BridgeError as error:
            raise NotRun(f"{run.call}: no verdict on the rubric: {error}") from error
    return dataclasses.replace(run, evidence=None, broken=broken)


def _live(vendor: str, url: str | None) -> LiveModel:
    settings = load_settings(
        insecure=True, twilio_auth_token=None, public_url=None, upstream=vendor, upstream_url=url
    )
    return LiveModel(settings, vendor, url or settings.vendor_url(vendor))


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
    try:
        make(0)
    except (Exception, SystemExit) as error:  # of the user's function
        raise ConfigError(f"{where} makes no mind: {type(error).__name__}: {error}") from error
    return make
