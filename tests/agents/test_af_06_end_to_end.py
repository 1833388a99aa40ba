"""AF-6: in this repository, over real sockets: a phone calls the webhook, follows its TwiML, opens a stream;
the model answers over a websocket of its own; the handler runs on its own loop and thread between the two.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Mapping

from bridge.agents.agent import Agent
from bridge.agents.calls import UserSide
from bridge.agents.config import AgentConfigs
from bridge.agents.session import Session
from bridge.agents.tools import tool
from bridge.carriers.twilio import Twilio
from bridge.core import messages as m
from bridge.core.stats import Stats
from bridge.doubles.options import ServerOptions
from bridge.doubles.phone import Phone
from bridge.doubles.realtime import RealtimeServer
from bridge.doubles.tones import murmur, tone
from bridge.server import service
from bridge.server.calls import CallRegistry
from bridge.server.routes import create_app
from bridge.server.services import CallFactory
from bridge.settings.settings import load_settings
from bridge.simulators.carrier import CarrierSimulator
from bridge.simulators.servers import EmbeddedUpstream
from bridge.sockets.dial import Socket, dial
from bridge.upstreams import Dial
from bridge.upstreams.openai import embedded
from tests.agents.obedient import Obedient

TOKEN = "invented-for-this-test"
WORDS = "You rang?"
threads: list[str] = []
heard: list[tuple[str, str]] = []


@tool
def greeting_for(number: str) -> str:
    """What to say to a caller of that number."""
    assert number.startswith("+1555")
    threads.append(threading.current_thread().name)
    return WORDS


async def handler(session: Session) -> None:
    threads.append(threading.current_thread().name)
    said = await session.say(str(await session.call(greeting_for, number=session.fields["From"])))
    turn = await session.input()
    heard.append((said.text, turn.text))
    await session.hang_up()


def resolver(fields: Mapping[str, str]) -> dict[str, object]:
    threads.append(threading.current_thread().name)
    return {"metadata": {"caller": fields["From"]}}


AGENT = Agent(handler=handler, resolver=resolver, tools=[greeting_for])


class Wiring:
    """What the service does with a user side: attaches it when there is a runner, tells it what happens."""

    registry: CallRegistry

    def __init__(self, side: UserSide, fields: Mapping[str, str]) -> None:
        self.side = side
        self.fields = fields
        self.endings: list[m.Ended] = []

    def call_began(self, call_sid: str) -> None:
        runner = self.registry.runner(call_sid)
        assert runner is not None
        runner.detours = False  # type: ignore[attr-defined]
        self.side.attach(call_sid, runner, self.fields)  # type: ignore[arg-type]  # the runner has no tap yet

    def call_did(self, call_sid: str, action: m.Action, now_ms: int) -> None:
        self.side.call_did(call_sid, action, now_ms)

    def call_ended(self, call_sid: str, ended: m.Ended, stats: Stats) -> None:
        self.endings.append(ended)
        self.side.call_ended(call_sid, ended, stats)


async def one_call() -> tuple[Phone, list[m.Ended]]:
    sock = service.listen("127.0.0.1", 0)
    base = f"http://127.0.0.1:{sock.getsockname()[1]}"
    settings = load_settings(
        demo=True,
        public_url=base,
        twilio_auth_token=TOKEN,
        upstream="embedded",
        disclosure=False,
        env_file=None,
    )
    side = UserSide(AGENT, AgentConfigs(settings.call_config()), upstream="embedded")
    side.start()
    handset = CarrierSimulator(auth_token=TOKEN)
    wiring = Wiring(side, {"From": handset.caller})
    await side.prepare(handset.call_sid, wiring.fields)
    server = RealtimeServer(Obedient(), ServerOptions(transcribe=lambda _item: "It was me"))
    async with EmbeddedUpstream(lambda: server).serve() as upstream_url:

        async def dial_plain(dialled: Dial) -> Socket:
            return await dial(dialled.url, {})

        making = CallFactory(
            config=lambda _fields: side.config(handset.call_sid),
            carrier=Twilio,
            vendor=lambda epoch: embedded(epoch, upstream_url),
            dial=dial_plain,
        )
        registry = wiring.registry = CallRegistry(making, observers=(wiring,))
        async with service.serving(create_app(settings, registry), sock):
            simulation = await handset.call(f"{base}/incoming-call")
            phone = simulation.machine
            assert isinstance(phone, Phone)
            while not phone.played_bytes >= len(murmur(WORDS)):
                phone.wake(simulation.now_ms())
                await asyncio.sleep(0.02)
            simulation.send(phone.say(tone(300), simulation.now_ms()))
            await asyncio.wait_for(simulation.closed, 10)
            await registry.shut_down()
    await asyncio.to_thread(side.close)
    return phone, wiring.endings


def test_af_06_a_call_end_to_end_over_sockets() -> None:
    threads.clear()
    heard.clear()
    phone, endings = asyncio.run(asyncio.wait_for(one_call(), 30))
    assert heard == [(WORDS, "It was me")]
    assert murmur(WORDS) in phone.heard
    assert [ended.reason for ended in endings] == [m.Reason.WE_HUNG_UP]
    resolved, handled, called = threads
    assert handled == "user loop"
    assert resolved.startswith("user ")
    assert called.startswith("user ")
    assert "user loop" not in (resolved, called)
