"""Calls as they are: a bridge, a model's server and a phone, over loopback sockets, on both loops."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import socket
import sys
from base64 import b64encode
from collections import Counter
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
import uvloop
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from bridge.core import messages as m
from bridge.doubles.agents import Parrot, Scripted, Speech
from bridge.doubles.carrier_frames import CarrierFrames
from bridge.doubles.tones import marked, tone
from bridge.errors import ConfigError
from bridge.server import service
from bridge.server.routes import create_app
from bridge.settings.settings import load_settings
from bridge.simulators.carrier import CarrierSimulator
from bridge.simulators.servers import EmbeddedUpstream, Simulation
from bridge.sockets.stream import StreamSocket
from tests.calls import (
    House,
    KeepingPhone,
    KeepingServer,
    Served,
    bridge,
    carrier_message,
    hang_up,
    has_heard,
    phone_of,
    served,
    within,
)
from tests.loops import Run, both_loops
from tests.upstreams.published import client_event

ONCE = pytest.mark.parametrize("run", ["asyncio"], indirect=True)
"""For what runs in a process of its own, with its own loop."""
ON_UVLOOP = pytest.mark.parametrize("run", ["uvloop"], indirect=True)
"""As `phonebridge serve` does."""


def silence(ms: int) -> bytes:
    return b"\xff" * (8 * ms)


# --- a barge-in --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("all_sent", "run"),
    [(False, "asyncio"), (False, "uvloop"), (True, "uvloop")],
    ids=["while it is generated, asyncio", "while it is generated", "when all was sent"],
    indirect=["run"],
)
def test_a_barge_in_in_the_middle(run: Run, all_sent: bool) -> None:
    """Three seconds of one item and some of the next wait at the carrier when the caller speaks up.

    Three callers do so, one after the other. The truth is the phone's; that a busy machine stops this process
    between a clear and its arrival can happen to one of them.
    """
    story = [Speech(3_000, "a long story"), Speech(8_000, "and how it goes on")]
    server = {"speed": 50 if all_sent else 5, "late_deltas": 3, "cancel_ms": 100}
    errors_ms: list[int] = []

    async def main() -> None:
        async with bridge(Scripted([story, Speech(400, "Yes?")]), server=server) as house:
            calls = [await house.call(silence(700 + 37 * number) + tone(300, 300)) for number in range(3)]
            for number, call in enumerate(calls):
                phone, model = phone_of(call), house.server(number)
                await within(5, lambda phone=phone: phone.heard.count(3) >= 400 * 8)  # type: ignore[misc]
                hang_up(call)
                await call.closed

                heard_ms = phone.heard.count(1) // 8
                assert 300 < heard_ms < 1_500
                assert list(model.truncations) == ["item_1"]
                errors_ms.append(abs(model.truncations["item_1"] - heard_ms))
                assert model.deleted == ["item_2"]
                assert len(phone.cleared) == 1
                # The late deltas came, and were not heard; nor was anything else of the second item.
                assert phone.heard.count(2) == 0
                assert (model.conversation.ever["item_2"].audio_ms < 8_000) is not all_sent
                assert phone.heard.count(3) == 400 * 8
                # Nothing was asked for that is refused: the vendor had cancelled by itself.
                assert model.errors == []
                assert all("response.cancel" not in str(frame) for frame in model.got)
                await within(1, lambda call=call: house.reason(call))  # type: ignore[misc]
                [barge_in] = house.stats(call).barge_ins[:1]
                assert (barge_in.item_id, barge_in.heard_ms) == ("item_1", model.truncations["item_1"])

    run(main())
    assert sorted(errors_ms)[1] <= 20


@both_loops
@ON_UVLOOP
async def test_a_parrot_greets_and_answers() -> None:
    words = tone(400, 500)
    greeting = marked(9, 200)

    async with bridge(Parrot(greeting), server={"speed": 50}) as house:
        call = await house.call(silence(400) + words)
        phone = phone_of(call)
        await within(5, lambda: has_heard(call, words))
        hang_up(call)
        assert phone.heard.count(9) == len(greeting)  # so loud is nothing else here
        assert phone.heard.index(9) < phone.recording()[0].index(words)
        assert phone.cleared == []
        assert len(house.upstream.sessions) == 1
        await within(1, lambda: house.reason(call) is m.Reason.CALLER_HUNG_UP)


@both_loops
async def test_small_writes_do_not_wait_for_each_other() -> None:
    """Else a `clear` behind a piece of sound leaves when the caller's next frame has come, 20 ms late."""

    async with bridge(Parrot(marked(1, 100))) as house:
        call = await house.call()
        await within(2, lambda: phone_of(call).heard.count(1))
        runner = house.registry.runner(phone_of(call).call_sid)
        assert runner is not None
        legs = [runner._carrier.socket, *(leg.socket for leg in runner._upstreams.legs.values())]
        assert len(legs) == 2
        for leg in legs:
            assert isinstance(leg, StreamSocket)
            kernel = leg._transport.get_extra_info("socket")
            assert kernel.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        hang_up(call)
        await call.closed


def test_the_backlog_is_the_configured_one(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    make = socket.create_server

    def note(*args: Any, backlog: int, **options: Any) -> socket.socket:
        asked.append(backlog)
        return make(*args, backlog=backlog, **options)

    monkeypatch.setattr(socket, "create_server", note)
    service.listen("127.0.0.1", 0).close()
    service.listen("127.0.0.1", 0, 7).close()
    assert asked == [512, 7]


def test_a_port_that_is_taken_is_named_once() -> None:
    with service.listen("127.0.0.1", 0) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ConfigError) as told:
            service.listen("127.0.0.1", port)
    assert str(told.value) == (
        f"127.0.0.1:{port} cannot be listened on: Address already in use; "
        "name another by --port and --host, or PORT and HOST"
    )


@pytest.mark.skipif(sys.platform != "linux", reason="where the kernel tells")
@pytest.mark.parametrize("factory", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_the_backlog_is_still_the_configured_one_while_it_is_served(
    factory: Callable[[], asyncio.AbstractEventLoop],
) -> None:
    async def main() -> None:
        sock = service.listen("127.0.0.1", 0, 7)
        made = service.Service(load_settings(demo=True, env_file=None, insecure=True, upstream="embedded"))
        async with service.serving(create_app(made.settings, made.registry), sock, 7):
            info = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 32)
            most = int.from_bytes(info[28:32], sys.byteorder)  # of a listening socket: how many may wait
            assert most == 7

    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(main())


@pytest.mark.parametrize("factory", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_a_crowd_that_connects_is_accepted_in_a_few_turns_of_the_loop(
    factory: Callable[[], asyncio.AbstractEventLoop],
) -> None:
    """Else a caller behind them waits for as many turns as there are of them, and each turn serves one."""

    async def main() -> None:
        sock = service.listen("127.0.0.1", 0)
        made = service.Service(load_settings(demo=True, env_file=None, insecure=True, upstream="embedded"))
        async with service.serving(create_app(made.settings, made.registry), sock):
            strangers = made.registry.services.health.strangers
            with contextlib.ExitStack() as crowd:
                for _ in range(100):
                    crowd.enter_context(socket.create_connection(sock.getsockname()))
                turns = 0
                while len(strangers) < 100:
                    turns += 1
                    assert turns < 100 / 3
                    await asyncio.sleep(0)
            async with asyncio.timeout(2):
                while strangers:  # noqa: ASYNC110  they leave by themselves
                    await asyncio.sleep(0.01)

    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(main())


# --- ends --------------------------------------------------------------------------------------------------
# Without phrases, so that no apology is waited for.


@both_loops
async def test_the_caller_hangs_up() -> None:
    async with bridge(Parrot(marked(1, 5_000))) as house:
        before = asyncio.all_tasks()
        call = await house.call()
        await within(2, lambda: phone_of(call).heard.count(1))
        hang_up(call)
        await within(1, lambda: house.gone(call) and asyncio.all_tasks() <= before)
        assert house.reason(call) is m.Reason.CALLER_HUNG_UP
        assert call.closed.result()[0] == house.upstream.sessions[0].closed.result()[0] == 1000


@both_loops
@pytest.mark.parametrize(
    ("code", "config"),
    [(1011, {"dial_attempts": 1}), (1006, {"dial_attempts": 1}), (3000, {})],
    ids=["fault", "cut", "key withdrawn"],
)
async def test_the_model_is_gone_for_good(code: int, config: dict[str, Any]) -> None:
    """Its socket closes and none can be had any more; or it says that there will be none. That is an error in
    the log, for the next callers will meet it too.
    """

    async with bridge(Parrot(marked(1, 5_000)), config=config, errors=code == 3000) as house:
        before = asyncio.all_tasks()
        call = await house.call()
        await within(2, lambda: phone_of(call).heard.count(1))
        house.lose_model(code)
        await within(1, lambda: house.gone(call) and asyncio.all_tasks() <= before)
        lost = m.Reason.UPSTREAM_REFUSED if code == 3000 else m.Reason.UPSTREAM_LOST
        assert house.reason(call) is lost
        assert call.closed.result()[0] == 1000


@both_loops
async def test_the_model_cannot_be_reached_at_all() -> None:
    """Nobody has anything to say to this caller, but the call is answered, and ends."""

    async with bridge(Parrot(b""), config={"dial_attempts": 1}) as house:
        house.upstream.shut()
        before = asyncio.all_tasks()
        call = await house.call()
        await within(1, lambda: house.gone(call) and asyncio.all_tasks() <= before)
        assert house.reason(call) is m.Reason.UPSTREAM_UNREACHABLE


@both_loops
@ON_UVLOOP
async def test_the_model_is_gone_for_good_and_the_caller_is_told() -> None:
    """With a phrase for it the call ends when that was heard."""
    sorry = marked(7, 400)
    apology = m.Sound(b64encode(sorry).decode(), len(sorry), "Sorry.")

    config = {"dial_attempts": 1, "phrases": {"apology": apology}}
    async with bridge(Parrot(marked(1, 5_000)), config=config) as house:
        call = await house.call()
        await within(2, lambda: phone_of(call).heard.count(1))
        house.lose_model(1011)
        await within(1 + 0.4, lambda: house.gone(call))
        heard = phone_of(call).heard
        assert heard.count(7) == len(sorry)
        assert heard.rindex(1) < heard.index(7)
        assert house.reason(call) is m.Reason.UPSTREAM_LOST


@contextlib.asynccontextmanager
async def served_call() -> AsyncIterator[tuple[Served, Simulation, list[Simulation]]]:
    """A real `phonebridge serve`, with a call on it that hears the greeting; phone and model are here."""
    upstream = EmbeddedUpstream(lambda: KeepingServer(Parrot(marked(1, 5_000))))
    async with upstream.serve() as url:
        asked = {"BRIDGE_INSECURE": "1", "BRIDGE_UPSTREAM": "openai", "BRIDGE_UPSTREAM_URL": url}
        async with served(**asked) as bridge:
            call = await CarrierSimulator(make=KeepingPhone).call(f"{bridge.base}/incoming-call")
            await within(3, lambda: phone_of(call).heard.count(1))
            yield bridge, call, upstream.sessions


@both_loops
@ONCE
async def test_sighup_ends_no_call_and_ctrl_c_does() -> None:
    async with served_call() as (bridge, call, sessions):
        bridge.process.send_signal(signal.SIGHUP)
        await within(1, lambda: any("SIGHUP" in line for line in bridge.logged))
        heard = phone_of(call).heard.count(1)
        await within(1, lambda: phone_of(call).heard.count(1) > heard)
        bridge.process.send_signal(signal.SIGINT)
        legs = [call, *sessions]
        await within(1, lambda: all(leg.closed.done() for leg in legs))
        assert await bridge.ended(1) == 0
        assert [leg.closed.result()[0] for leg in legs] == [1000, 1000]
    assert not any("Traceback" in line or "never" in line for line in bridge.said), bridge.said


@both_loops
@ONCE
async def test_sigterm_lets_the_call_go_on_and_takes_no_other() -> None:
    async with served_call() as (bridge, call, _):
        bridge.process.send_signal(signal.SIGTERM)
        second = CarrierSimulator(call_sid=f"CA{2:032x}")
        async with asyncio.timeout(2):
            while True:  # until the signal has arrived
                document = await second.webhook(f"{bridge.base}/incoming-call", {})
                if document.find("./Connect/Stream") is None:
                    break
        stranger = await second.open(f"ws{bridge.base.removeprefix('http')}/media-stream", {})
        assert (await stranger.closed)[0] == 1008
        assert bridge.process.returncode is None
        heard = phone_of(call).heard.count(1)
        await within(1, lambda: phone_of(call).heard.count(1) > heard)
        hang_up(call)
        assert await bridge.ended(1.5) == 0


@both_loops
@ONCE
async def test_ctrl_c_while_calls_may_go_on() -> None:
    async with served_call() as (bridge, call, _):
        bridge.process.send_signal(signal.SIGTERM)
        await within(2, lambda: any("1 calls are left" in line for line in bridge.logged))
        assert not call.closed.done()
        bridge.process.send_signal(signal.SIGINT)
        await within(1, call.closed.done)
        assert await bridge.ended(1) == 0


# --- bad input ---------------------------------------------------------------------------------------------
# A well-behaved call goes on beside each of these, and notices nothing. `run` fails where anything escapes.

BESIDE = marked(0x55, 500)
"""What the parrot says to every caller; long enough to be heard while the other call misbehaves."""


@contextlib.asynccontextmanager
async def beside_another(**options: Any) -> AsyncIterator[House]:
    async with bridge(Parrot(BESIDE), insecure=True, **options) as house:
        other = await house.call()
        await within(2, lambda: phone_of(other).heard.count(0x55))
        yield house
        await within(2, lambda: has_heard(other, BESIDE))
        assert not other.closed.done()
        hang_up(other)
        await within(1, lambda: house.registry.runner(phone_of(other).call_sid) is None)
        assert house.reason(other) is m.Reason.CALLER_HUNG_UP
        assert house.stats(other).frames_refused == {}


class Rude:
    """A carrier that sends what it likes: a plain websocket client."""

    def __init__(self, connection: ClientConnection, call_sid: str = f"CA{99:032x}") -> None:
        self.connection = connection
        self.frames = CarrierFrames(call_sid, f"AC{1:032x}", f"MZ{99:032x}")

    async def start(self) -> None:
        await self.connection.send(self.frames.connected())
        await self.connection.send(self.frames.start({}))

    async def hears(self, seconds: float = 2) -> str:
        """The next message of the bridge's that is sound."""
        async with asyncio.timeout(seconds):
            while True:
                frame = await self.connection.recv()
                if carrier_message(frame, self.frames.stream_sid) == "media":
                    return str(frame)

    async def closed(self) -> int:
        """The close code, when the bridge has closed; what it says before is read."""
        async with asyncio.timeout(2):
            with contextlib.suppress(ConnectionClosed):
                while True:
                    await self.connection.recv()
        assert self.connection.close_code is not None
        return self.connection.close_code


def rude(house: House) -> connect:
    return connect(house.stream, compression=None, max_size=None)


REFUSED_OF_THE_CARRIER: dict[str, tuple[str | bytes, str]] = {
    "binary": (b"\x00\xff not text", "carrier: a binary frame"),
    "bad JSON": ("{not JSON", "carrier: not a message of Twilio's"),
    "no object": ("[1, 2]", "carrier: not a message of Twilio's"),
    "another stream": (
        '{"event":"media","streamSid":"MZ0","media":{"payload":"////"}}',
        "carrier: media of another stream",
    ),
    "no base64": (
        f'{{"event":"media","streamSid":"MZ{99:032x}","media":{{"payload":"\\u0000"}}}}',
        "carrier: media whose payload is not base64",
    ),
    "start again": (CarrierFrames("CA1", "AC1", f"MZ{99:032x}").start({}), "carrier: a second start"),
}


def test_a_carrier_that_sends_nonsense(run: Run, caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        async with beside_another() as house, rude(house) as connection:
            carrier = Rude(connection)
            await carrier.start()
            await carrier.hears()
            for frame, _ in REFUSED_OF_THE_CARRIER.values():
                for _ in range(3):
                    await connection.send(frame)
            await connection.send('{"event":"weather","streamSid":"MZ0","sky":{"blue":true}}')
            await connection.send(carrier.frames.media(b"\x10" * 160, 100))
            runner = house.registry.runner(carrier.frames.call_sid)
            assert runner is not None
            await within(1, lambda: runner.call.caller_audio.frames)
            assert runner.call.phase is m.Phase.LIVE
            assert runner.call.stats.frames_refused == counted(REFUSED_OF_THE_CARRIER)
            await connection.send(carrier.frames.stop())
            assert await carrier.closed() == 1000

    run(main())
    noted = [line for line in caplog.messages if "frame refused" in line]
    for kind in counted(REFUSED_OF_THE_CARRIER):
        assert sum(kind in line for line in noted) == 1


def counted(frames: dict[str, tuple[str | bytes, str]]) -> dict[str, int]:
    """How often each kind is refused when all of these come three times."""
    return {kind: 3 * times for kind, times in Counter(kind for _, kind in frames.values()).items()}


@both_loops
@ON_UVLOOP
async def test_a_frame_of_a_megabyte_ends_that_call_only() -> None:
    async with beside_another() as house, rude(house) as connection:
        carrier = Rude(connection)
        await carrier.start()
        await carrier.hears()
        await connection.send(carrier.frames.media(b"\x10" * 750_000, 100))
        assert await carrier.closed() == 1009
        await within(1, lambda: house.registry.runner(carrier.frames.call_sid) is None)
        ended = house.log.ended[carrier.frames.call_sid][0]
        assert ended == m.Ended(m.Reason.CARRIER_GIVEN_UP, "message over 65536 bytes")


@ON_UVLOOP
def test_sound_before_the_start(run: Run, caplog: pytest.LogCaptureFixture) -> None:
    """A few frames are let pass, and the call begins; a stream of them is no call."""

    async def main() -> None:
        async with beside_another() as house:
            async with rude(house) as connection:
                carrier = Rude(connection)
                for _ in range(5):
                    await connection.send(carrier.frames.media(b"\x10" * 160, 100))
                await carrier.start()
                await carrier.hears()
                await connection.send(carrier.frames.stop())
                assert await carrier.closed() == 1000
            async with rude(house) as connection:
                carrier = Rude(connection, f"CA{98:032x}")
                for _ in range(20):
                    await connection.send(carrier.frames.media(b"\x10" * 160, 100))
                assert await carrier.closed() == 1008
                assert connection.close_reason is not None
                assert connection.close_reason.startswith(
                    "refused: no start among the first frames; 10 frames"
                )
                assert carrier.frames.call_sid not in house.log.did
            assert len(house.upstream.sessions) == 2

    run(main())
    began, refused = [line for line in caplog.messages if "stream" in line]
    assert began.startswith("a stream began with 7 frames, 5 of them refused, the first: media before start")
    assert refused.startswith(
        "stream refused: no start among the first frames; 10 frames, 10 of them refused"
    )


@both_loops
@ON_UVLOOP
@pytest.mark.parametrize("account", [{}, {"accountSid": None}, {"accountSid": ""}])
async def test_a_simulator_need_not_know_an_account(account: dict[str, Any]) -> None:
    async with beside_another() as house, rude(house) as connection:
        carrier = Rude(connection)
        start = json.loads(carrier.frames.start({}))
        del start["start"]["accountSid"]
        start["start"] |= account
        await connection.send(json.dumps(start))
        await carrier.hears()
        await connection.send(carrier.frames.stop())
        assert await carrier.closed() == 1000


@both_loops
@ON_UVLOOP
async def test_a_second_stream_of_the_same_call_is_turned_away() -> None:
    async with beside_another() as house, rude(house) as first, rude(house) as second:
        carrier = Rude(first)
        await carrier.start()
        await carrier.hears()
        again = Rude(second)
        await again.start()
        assert await again.closed() == 1008
        assert second.close_reason == "refused: duplicate"
        await carrier.hears()
        await first.send(carrier.frames.stop())
        assert await carrier.closed() == 1000


@both_loops
@ON_UVLOOP
async def test_a_carrier_that_vanishes() -> None:
    async with beside_another() as house, rude(house) as connection:
        carrier = Rude(connection)
        await carrier.start()
        await carrier.hears()
        connection.transport.abort()
        await within(1, lambda: house.registry.runner(carrier.frames.call_sid) is None)
        assert house.log.ended[carrier.frames.call_sid][0].reason is m.Reason.CARRIER_LOST
        assert house.upstream.sessions[1].closed.result()[0] == 1000


REFUSED_OF_THE_MODEL: dict[str, tuple[str | bytes, str]] = {
    "binary": (b"\x00\xff not text", "upstream: a binary frame"),
    "bad JSON": ("{not JSON", "upstream: not a server event"),
    "no type": ('{"kind":"session.created"}', "upstream: not a server event"),
    "of the wrong type": (
        '{"type":"response.done","response":7}',
        "upstream: response.done Expected `object`, got `int`",
    ),
    "sound of nobody": (
        '{"type":"response.output_audio.delta","delta":"AAAA"}',
        "upstream: response.output_audio.delta without response_id",
    ),
    "no base64": (
        '{"type":"response.output_audio.delta","response_id":"r","item_id":"i","delta":"\u20ac"}',
        "upstream: response.output_audio.delta whose delta is not base64",
    ),
}
STRANGE_OF_THE_MODEL = [
    '{"type":"response.mood.updated","mood":{"at":[1,null]}}',
    '{"type":"session.created","session":{"id":"sess_2"}}',
    '{"type":"conversation.item.deleted","item_id":"item_of_nobody"}',
    '{"type":"response.output_audio.done","response_id":"r","item_id":"item_of_nobody"}',
    '{"type":"error","error":{"type":"invalid_request_error","code":"strange","message":"what?"}}',
    '{"type":"response.padding","padding":"' + "x" * 1_000_000 + '"}',
]


@ON_UVLOOP
def test_a_model_that_sends_nonsense(run: Run, caplog: pytest.LogCaptureFixture) -> None:
    """A megabyte in one frame is nothing unusual on this leg; none of it ends the call."""
    words = tone(400, 500)

    async def main() -> None:
        async with beside_another() as house:
            call = await house.call(silence(900) + words)
            phone = phone_of(call)
            await within(2, lambda: phone.heard.count(0x55))
            session = house.upstream.sessions[1]
            for _ in range(3):
                for frame, _ in REFUSED_OF_THE_MODEL.values():
                    session.socket.send(frame)
                for frame in STRANGE_OF_THE_MODEL:
                    session.socket.send(frame)
            await within(4, lambda: has_heard(call, words))
            assert phone.heard.count(0x55) == len(BESIDE)
            hang_up(call)
            await within(1, lambda: house.gone(call) or house.registry.runner(phone.call_sid) is None)
            assert house.reason(call) is m.Reason.CALLER_HUNG_UP
            assert house.stats(call).frames_refused == counted(REFUSED_OF_THE_MODEL)
            assert house.stats(call).faults == {"strange": 3}

    run(main())
    noted = [line for line in caplog.messages if "frame refused" in line]
    for kind in counted(REFUSED_OF_THE_MODEL):
        assert sum(kind in line for line in noted) == 1


# --- what was sent -----------------------------------------------------------------------------------------
# Every bridge of these tests is checked when it is left (tests/calls.py). Here the check is.

OTHER_SHAPES = [
    '{"event":"media","streamSid":"MZ1","media":{"payload":"////"},"sequenceNumber":"1"}',
    '{"event":"media","streamSid":"MZ1","media":{"payload":"////","track":"outbound"}}',
    '{"event":"media","streamSid":"MZ1","media":{"payload":""}}',
    '{"event":"media","streamSid":"MZ2","media":{"payload":"////"}}',
    '{"event":"media","media":{"payload":"////"}}',
    '{"event":"mark","streamSid":"MZ1","mark":{"name":17}}',
    '{"event":"clear","streamSid":"MZ1","clear":{}}',
    '{"event":"stop","streamSid":"MZ1"}',
    b'{"event":"clear","streamSid":"MZ1"}',
]


@pytest.mark.parametrize("frame", OTHER_SHAPES)
def test_a_message_of_another_shape_would_be_noticed(frame: str | bytes) -> None:
    with pytest.raises((AssertionError, KeyError)):
        carrier_message(frame, "MZ1")


def test_the_three_shapes_there_are() -> None:
    bodies = ['"media","streamSid":"MZ1","media":{"payload":"////"}', '"clear","streamSid":"MZ1"']
    bodies.append('"mark","streamSid":"MZ1","mark":{"name":"17"}')
    assert [carrier_message(f'{{"event":{body}}}', "MZ1") for body in bodies] == ["media", "clear", "mark"]


def test_an_event_that_the_vendor_never_published_would_be_noticed() -> None:
    for frame in ('{"type":"response.cancel","why":"bored"}', '{"type":"response.pause"}'):
        with pytest.raises((AssertionError, ValueError)):
            client_event(frame)
