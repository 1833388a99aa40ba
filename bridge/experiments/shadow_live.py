"""One recorded caller on a call of today in real time: with our bridge, and a model behind a URL."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import msgspec

from bridge.agents.calls import UserSide
from bridge.agents.loop import SameLoop
from bridge.carriers.twilio import Twilio
from bridge.core import messages as m
from bridge.core.call import Call
from bridge.doubles.phone import Phone
from bridge.errors import BridgeError
from bridge.recording import Recorder
from bridge.recording.caller_script import Act, CallerScript, Kind, answered
from bridge.recording.recorded_tools import RecordedTools
from bridge.runner import Runner
from bridge.server.model_dial import proof_for
from bridge.settings.settings import Settings
from bridge.simulators.memory_sockets import pair
from bridge.simulators.servers import Simulation
from bridge.sockets.dial import Socket, dial
from bridge.testing.answered_from import answered_from
from bridge.testing.call import PLACED
from bridge.upstreams import UPSTREAMS, Dial

from .budget import Purse
from .shadow_caller import ShadowCaller
from .shadow_facts import Run, facts, heard_by
from .shadow_run import MOST_TIMES, SLACK_MS, Arm, commands_of, config_of, written

LOOK_S: Final = 0.005
"""How often the caller looks at the line while nothing is due."""
GONE_S: Final = 5.0
"""What a call has to come to its end once its caller has hung up."""
NO_MODEL: Final = frozenset({m.Reason.UPSTREAM_UNREACHABLE, m.Reason.UPSTREAM_REFUSED, m.Reason.BROKEN})


class NotRun(BridgeError):
    """A call could not be had: nothing is known of what it was to show."""


@dataclass(frozen=True, slots=True)
class LiveModel:
    """A model as the settings name it: `vendor` of the table, perhaps at another `url`."""

    settings: Settings
    vendor: str
    url: str | None = None

    async def dial(self, dialled: Dial) -> Socket:
        """A session, with the key where it is the vendor's. Raises DialError."""
        return await dial(dialled.url, {**dialled.headers, **await proof_for(self.settings, dialled)})


async def run_live(
    name: str, script: CallerScript, arm: Arm, model: LiveModel, purse: Purse | None = None
) -> Run:
    """The recorded caller on a call of this arm, in real time. The call ends before its purse is
    empty. Raises NotRun where there is no model.
    """
    call, purse = LiveCall(script, arm, model, RecordedTools(script.tools, arm.stub)), purse or Purse()
    await call.begin()
    await call.play(purse, script.end_ms * MOST_TIMES + SLACK_MS)
    call.raise_without_model(name)
    heard = heard_by(call.phone, call.line.now_ms())
    stats = call.runner.call.stats
    return facts((name, arm.name), call.log, stats, call.caller, call.tools, heard, call.outputs)


class LiveCall:
    """A runner between a phone in memory and a model, and the agent's side beside it. `recorder` makes the
    recording of a call with this configuration; without one it is not recorded.
    """

    runner: Runner
    line: Simulation
    phone: Phone
    caller: ShadowCaller

    def __init__(
        self,
        script: CallerScript,
        arm: Arm,
        model: LiveModel,
        tools: RecordedTools,
        recorder: Callable[[m.CallConfig], Recorder] | None = None,
    ) -> None:
        self.script, self.arm, self.model = script, arm, model
        self.tools = tools
        self._recorder = recorder
        self.log: list[tuple[int, m.Action]] = []
        self.outputs: list[str] = []
        self.ended: m.Ended | None = None
        self.detours = False
        self._sid = f"CA{secrets.token_hex(16)}"
        self._users: UserSide | None = None
        self._loop = asyncio.get_running_loop()
        self._born_s = 0.0

    async def begin(self) -> None:
        """The phone's stream opens and the model is dialled."""
        config = await self._config()
        vendor = UPSTREAMS[self.model.vendor]
        config = msgspec.structs.replace(config, accepted_at_s=int(time.time()))
        self._born_s = self._loop.time()
        self.runner = Runner(
            Call(config),
            Twilio(),
            lambda epoch: vendor(epoch, self.model.url),
            self.model.dial,
            observe=self._observe,
            recorder=self._recorder(config) if self._recorder is not None else None,
        )
        if self._users is not None:
            self._users.attach(self._sid, self, self.script.parameters)
        ours, theirs = pair()
        self.phone = Phone(self._sid, parameters=self.script.parameters)
        self.line = Simulation(self.phone, theirs)
        self.runner.attach(ours, [*self.phone.start(self.line.now_ms())])
        self.line.start(lambda _now_ms: [])
        self.runner.feed(m.Admitted())
        self.calls_from(self.phone.started_ms or 0)

    def calls_from(self, now_ms: int) -> None:
        """The caller begins their script at that moment of the phone's clock."""
        self.caller = ShadowCaller(self.script.acts, self, now_ms)

    async def until_begun(self, within_ms: int) -> None:
        """Caller and model hear each other, or the call is over, or it is that late."""
        latest_ms = self.line.now_ms() + within_ms
        while self.runner.call.stats.began_ms is None and self.line.now_ms() < latest_ms:
            done, _ = await asyncio.wait([self.runner.closed], timeout=LOOK_S)
            if done:
                return

    def raise_without_model(self, name: str) -> None:
        """Raises NotRun where the call ended because there was no model."""
        ended = self.ended
        if ended is not None and ended.reason in NO_MODEL:
            raise NotRun(f"{name}: {ended.reason.value} {ended.detail}".rstrip())

    async def _config(self) -> m.CallConfig:
        configs, recorded = config_of(self.script, self.arm, self.model.vendor, self.model.settings.prices)
        if self.arm.agent is None:
            return recorded
        agent = answered_from(self.arm.agent, self.tools.answer, configs.transfers, live=self.arm.live)
        self._users = UserSide(agent, configs, upstream=self.model.vendor, loops=[SameLoop()])
        placed = PLACED if recorded.outbound is not None else {}
        found = await self._users.prepare(self._sid, {**self.script.parameters, **placed})
        if not isinstance(found, m.CallConfig):
            raise NotRun(f"the agent turns the call away: {found}")
        return found

    async def play(self, purse: Purse, most_ms: int) -> None:
        """The caller does what the script says, until the call is over."""
        while not self.runner.closed.done():
            now_ms = self.line.now_ms()
            for act in self.caller.wake(now_ms):
                self._do(act, now_ms)
            due_ms = self.caller.deadline_ms
            goes_on = purse.paid(self.runner.call.stats.cost_micro_usd)
            if due_ms is None or now_ms > most_ms or not goes_on:
                break
            wait_s = min(LOOK_S, max(0.0, (due_ms - self.line.now_ms()) / 1000))
            await asyncio.wait([self.runner.closed], timeout=wait_s)
        if not self.phone.closed:
            self.line.send(self.phone.hang_up(self.line.now_ms()))
        await asyncio.wait([self.runner.closed], timeout=GONE_S)

    def _do(self, act: Act, now_ms: int) -> None:
        if act.kind is Kind.SAYS and not act.sound:
            self._feed_all(written(act, now_ms))
        elif act.kind is Kind.SAYS:
            self.line.send(self.phone.say(act.sound, now_ms))
        elif act.kind is Kind.HANGS_UP:
            self.line.send(self.phone.hang_up(now_ms))
        elif act.digits != m.HIDDEN_KEY:
            self.line.send(self.phone.press(act.digits, now_ms))

    # --- the caller's line ---------------------------------------------------------------------------------

    def heard_ms(self, now_ms: int) -> float:
        """Sound that the phone has played."""
        self.line.send(self.phone.wake(now_ms))
        return self.phone.played_bytes / 8

    def queued_ms(self, now_ms: int) -> int:
        """Sound that the phone has to play."""
        return self.phone.queued_ms(now_ms)

    def answered(self, now_ms: int) -> bool:  # noqa: ARG002  the call has a clock of its own
        """As the core knows it."""
        return answered(self.runner.call, int((self._loop.time() - self._born_s) * 1000))

    # --- the agent's way to the call -----------------------------------------------------------------------

    def feed(self, event: m.Event) -> None:
        """A wish of the agent's."""
        if isinstance(event, m.ToolFinished):
            self.outputs.append(event.output)
        self.runner.feed(event)

    @property
    def tap(self) -> Callable[[m.CallerAudio], None] | None:
        """Where the caller's frames go besides."""
        return self.runner.tap

    @tap.setter
    def tap(self, tap: Callable[[m.CallerAudio], None] | None) -> None:
        self.runner.tap = tap

    def keep_keys(self, _detour_id: str, _keys: str) -> None:
        """There is no other side that would hear them."""

    def _observe(self, action: m.Action, now_ms: int) -> None:
        self.log.append((now_ms, action))
        if isinstance(action, m.Ended):
            self.ended = action
        if self._users is not None:
            self._users.call_did(self._sid, action, now_ms)
            if isinstance(action, m.Ended):
                self._users.call_ended(self._sid, action, self.runner.call.stats)
        elif isinstance(action, m.ToolWanted):
            found = self.tools.answer(action.name, action.arguments)
            self._loop.call_later(found.ms / 1000, self._feed_all, commands_of(action, found))

    def _feed_all(self, commands: Sequence[m.Event]) -> None:
        for command in commands:
            self.feed(command)
