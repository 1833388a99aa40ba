"""The same statements about every entry of the table of upstreams, over real sockets against its double.

A new upstream is one adapter, one record and one double: with a line in `DOUBLES` it is held to all of this.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import msgspec
import pytest

from bridge.codecs.audible import is_audible_block
from bridge.core import messages as m
from bridge.core.playout import UNTOLD
from bridge.doubles.agents import Asked, Output, Speech, ToolCall
from bridge.doubles.azure import DEPLOYMENT, SCRIBE, azure_options
from bridge.doubles.gpt_live import LiveServer
from bridge.doubles.live_options import LiveOptions, Refused
from bridge.doubles.options import ServerOptions
from bridge.doubles.tones import tone
from bridge.doubles.xai import xai_options
from bridge.recording import Header, Recorder, describe, replay
from bridge.runner.gate import Runner
from bridge.server import service
from bridge.server.routes import create_app
from bridge.settings.settings import load_settings
from bridge.simulators.servers import EmbeddedLive, EmbeddedUpstream, Simulation
from bridge.upstreams import UPSTREAMS
from tests.calls import TOKEN, House, KeepingServer, Log, hang_up, phone_of, within

pytestmark = pytest.mark.hostile

GREETING = "Good morning, this is the bakery."
RESULT = '{"open":"9-17"}'
LONG = "We have bread, rolls, cakes and many other things that you may like today."
TOOL = {"type": "function", "name": "hours", "parameters": {"type": "object", "properties": {}}}


class Mind:
    """One model through all sessions of a call: it greets, calls a tool, then speaks for long."""

    def __init__(self) -> None:
        self.turns: list[list[Output]] = [[ToolCall("hours")], [Speech(tone(6_000, 350), LONG)]]

    def answer(self, asked: Asked) -> list[Output]:
        if asked.tool_output is not None:
            return [Speech(tone(900, 450), "From nine to five.")]
        if asked.reason == "turn" and self.turns:
            return self.turns.pop(0)
        return [Speech(tone(1_200, 400), GREETING)]


@dataclass
class Double:
    """How a vendor's server is made, and what the bridge has to be told to reach it."""

    make: Callable[..., Callable[[], Any]]
    refusing: dict[str, Any]
    hosts: type[EmbeddedUpstream] = EmbeddedUpstream
    settings: dict[str, Any] = field(default_factory=dict)
    tools: bool = True


def realtime(options: Callable[..., ServerOptions]) -> Callable[..., Callable[[], Any]]:
    def make(**given: Any) -> Callable[[], Any]:
        mind, made = Mind(), options(**{"latency_ms": 50, **given})
        return lambda: KeepingServer(mind, made)

    return make


def live(**given: Any) -> Callable[[], Any]:
    mind, options = Mind(), LiveOptions(**{"start_ms": 100, **given})
    return lambda: LiveServer(mind, options)


REFUSALS = (m.Reason.UPSTREAM_REFUSED, m.Reason.UPSTREAM_UNREACHABLE)
REFUSED = {"refuse": {"session.update": "insufficient_quota"}}
LIVE_REFUSED = {"refuse_start": Refused("insufficient_quota", "insufficient_quota"), "cut_ms": 100}
DOUBLES = {
    "openai": Double(realtime(ServerOptions), REFUSED),
    "azure": Double(realtime(azure_options), REFUSED, settings={"model": DEPLOYMENT, "transcribe": SCRIBE}),
    "xai": Double(realtime(xai_options), REFUSED),
    "gpt-live": Double(live, LIVE_REFUSED, EmbeddedLive),
    "azure-live": Double(live, LIVE_REFUSED, EmbeddedLive, {"model": "live", "backend_model": "backend"}),
    "embedded": Double(realtime(ServerOptions), REFUSED),
    "parrot": Double(realtime(ServerOptions), REFUSED),
}


def test_every_entry_of_the_table_has_a_double() -> None:
    assert DOUBLES.keys() == UPSTREAMS.keys()


@contextlib.asynccontextmanager
async def house_of(
    name: str, *, config: dict[str, Any] | None = None, more: dict[str, Any] | None = None, **options: Any
) -> AsyncIterator[tuple[House, list[list[str]]]]:
    """A bridge that speaks with that vendor's double, and the recordings of its calls."""
    double = DOUBLES[name]
    upstream = double.hosts(double.make(**options))
    lines: list[list[str]] = []

    def recorder(_call_sid: str, made: m.CallConfig) -> Recorder:
        lines.append([])
        return Recorder(lines[-1].append, Header(carrier="twilio", upstream=name, config=made), True)

    async with contextlib.AsyncExitStack() as stack:
        url = await stack.enter_async_context(upstream.serve())
        sock = service.listen("127.0.0.1", 0)
        base = f"http://127.0.0.1:{sock.getsockname()[1]}"
        settings = load_settings(
            demo=True, env_file=None, upstream=name, upstream_url=url, public_url=base,
            twilio_auth_token=TOKEN, greeting=GREETING, disclosure=False, **double.settings, **(more or {}),
        )  # fmt: skip
        log = Log()
        registry = service.make_registry(settings, observers=(log,))
        usual = settings.call_config()
        session = msgspec.structs.replace(usual.session, tools=(TOOL,))
        made = msgspec.structs.replace(usual, **{"session": session, "phrases": {}, **(config or {})})
        registry._making.config = lambda _fields: made
        registry._making.recorder = recorder
        await stack.enter_async_context(service.serving(create_app(settings, registry), sock))
        try:
            yield House(base, registry, upstream, log, TOKEN), lines
        finally:
            await registry.shut_down()


@dataclass
class OneCall:
    """One call and what became of it."""

    house: House
    phone: Simulation

    @property
    def sid(self) -> str:
        return phone_of(self.phone).call_sid

    def did(self, kind: type[m.Message]) -> list[Any]:
        return [one for one in self.house.log.did.get(self.sid, []) if isinstance(one, kind)]

    @property
    def loud(self) -> bool:
        """Whether the phone hears something at this moment."""
        return is_audible_block(phone_of(self.phone).heard[-160:])

    @property
    def loud_ms(self) -> int:
        heard = phone_of(self.phone).heard
        return 20 * sum(is_audible_block(heard[at : at + 160]) for at in range(0, len(heard) - 159, 160))

    def says(self, ms: int) -> None:
        self.phone.send(phone_of(self.phone).say(tone(ms, 500), self.phone.now_ms()))

    @property
    def runner(self) -> Runner:
        found = self.house.registry.runner(self.sid)
        assert found is not None
        return found

    def told(self, number: int) -> str:
        """All that the n-th session was sent but sound."""
        machine = self.house.upstream.sessions[number].machine
        if isinstance(machine, LiveServer):
            frames = machine.log
        else:
            assert isinstance(machine, KeepingServer)
            frames = [json.loads(frame) for frame in machine.got]
        return json.dumps([one for one in frames if not str(one["type"]).endswith("audio.append")])


async def begun(house: House) -> OneCall:
    return OneCall(house, await house.call())


def replays(recordings: list[list[str]]) -> None:
    """Each to the byte."""
    assert recordings
    for lines in recordings:
        result = replay(lines, strict=True)
        assert result.difference is None, describe(result.difference)
        assert result.outputs == lines


async def of_each(holds: Callable[..., Awaitable[None]], entries: Iterable[tuple[str, ...]]) -> None:
    """That holds of every entry, all at the same time: what takes long is that people speak."""

    async def named(names: tuple[str, ...]) -> None:
        try:
            await holds(*names)
        except Exception as error:
            error.add_note(f"with {' and '.join(names)}")
            raise

    async with asyncio.TaskGroup() as group:
        for names in entries:
            group.create_task(named(names))


async def test_greeting_turn_tool_barge_in_drop_and_replay() -> None:
    await of_each(a_conversation, [(name,) for name in DOUBLES])


async def test_a_refusal_and_a_limit_end_a_call_and_a_cap_does_not() -> None:
    await of_each(ends, [(name,) for name in DOUBLES])


async def a_conversation(name: str) -> None:
    async with house_of(name) as (house, lines):
        call = await begun(house)
        await within(6, lambda: call.loud)  # it greets
        await within(6, lambda: call.did(m.Spoken))
        assert "bakery" in call.did(m.Spoken)[0].heard
        call.says(700)  # a turn, which is answered by a tool
        await within(8, lambda: call.did(m.ToolWanted))
        (wanted,) = call.did(m.ToolWanted)
        assert wanted.name == "hours"
        before_ms = call.loud_ms
        call.runner.feed(m.ToolFinished(wanted.call_id, RESULT))
        await within(8, lambda: call.loud_ms >= before_ms + 400)
        assert len(call.did(m.Turn)) == 1
        await within(6, lambda: not call.loud)
        await asyncio.sleep(0.4)
        call.says(700)
        await within(8, lambda: call.loud)
        await asyncio.sleep(1.2)
        clears, said = len(phone_of(call.phone).cleared), len(call.did(m.Spoken))
        call.says(1_500)  # over the answer
        await within(4, lambda: not call.loud)
        await within(4, lambda: len(call.did(m.Spoken)) > said)
        cut = call.did(m.Spoken)[said]
        if not UPSTREAMS[name].capabilities.duplex:  # which has stopped by itself, before much was sent
            assert cut.cut
            assert len(phone_of(call.phone).cleared) > clears
            untold = any(note.what == UNTOLD for note in call.did(m.Noted))
            assert untold is not UPSTREAMS[name].capabilities.truncates
        assert LONG.startswith(cut.heard.strip())
        assert 0 < len(cut.heard) < len(LONG)
        await asyncio.sleep(2.5)
        sessions = len(house.upstream.sessions)
        house.upstream.sessions[-1].socket.close(1011)  # the vendor drops it
        await within(6, lambda: len(house.upstream.sessions) == sessions + 1)
        await within(6, lambda: "bakery" in call.told(sessions) or "Good morning" in call.told(sessions))
        assert RESULT in call.told(sessions).replace('\\"', '"').replace("\\\\", "")
        hang_up(call.phone)
        await within(4, lambda: house.log.ended)
        replays(lines)


async def ends(name: str) -> None:
    async with contextlib.AsyncExitStack() as stack:
        refused, lines = await stack.enter_async_context(house_of(name, **DOUBLES[name].refusing))
        limits = m.Limits(call_ms=4_000, goodbye_ms=2_000)
        limited, limited_lines = await stack.enter_async_context(house_of(name, config={"limits": limits}))
        capped, capped_lines = await stack.enter_async_context(house_of(name, expires_after_ms=2_500))
        one, two, three = [await begun(house) for house in (refused, limited, capped)]
        await within(6, lambda: refused.log.ended)
        # Refused while the phone rang, and not dialled again when its stream came.
        assert refused.log.ended[one.sid][0].reason in REFUSALS
        assert len(refused.upstream.sessions) == 1  # no second dial
        await within(10, lambda: limited.log.ended)
        assert limited.log.ended[two.sid][0].reason is m.Reason.LIMIT
        await within(8, lambda: len(capped.upstream.sessions) >= 2)
        assert not capped.log.ended
        hang_up(three.phone)
        await within(4, lambda: capped.log.ended)
        replays([*lines, *limited_lines, *capped_lines])


async def test_a_call_goes_on_from_each_vendor_to_each_other_that_may_follow() -> None:
    follow = ("openai", "azure", "xai")
    await of_each(goes_on, itertools.permutations(follow, 2))
    live = [(name, "gpt-live") for name in (*follow, "azure-live")]
    live += [("openai", "azure-live"), ("xai", "azure-live"), ("azure-live", "azure")]
    await of_each(goes_on, [*live, *((second, first) for first, second in live)])


async def goes_on(first: str, second: str) -> None:
    """`first` is cut in the middle of its greeting and can be had no more."""
    other = DOUBLES[second]
    server = other.hosts(other.make())
    model = other.settings.get("model", "")
    scribe = other.settings.get("transcribe", "")
    async with contextlib.AsyncExitStack() as stack:
        url = await stack.enter_async_context(server.serve())
        more = {"failover": f"{second}:{model}::{scribe}@{url}"}
        if second == "azure-live":
            more["backend_model"] = "backend"
        house, lines = await stack.enter_async_context(house_of(first, more=more))
        call = await begun(house)
        await within(6, lambda: call.loud)
        await asyncio.sleep(0.6)
        house.lose_model(1006)
        await within(1, lambda: not call.loud)
        took_s = await within(6, lambda: call.loud)
        assert took_s < 3, took_s
        assert len(server.sessions) == 1
        machine = server.sessions[0].machine
        if isinstance(machine, LiveServer):
            said = machine.log[0]["session"]["input"]
        else:
            assert isinstance(machine, KeepingServer)
            told = [json.loads(frame) for frame in machine.got]
            said = [one["item"] for one in told if one["type"] == "conversation.item.create"]
        heard = [item["content"][0]["text"] for item in said if item.get("role") == "assistant"]
        assert heard == [one.heard for one in call.did(m.Spoken) if one.heard][: len(heard)] != []
        assert [note for note in call.did(m.Noted) if note.what == "failed over"]
        hang_up(call.phone)
        await within(4, lambda: house.log.ended)
        replays(lines)
