"""How many may be connected who have proven nothing, and which of them goes first. In virtual time."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from starlette.websockets import WebSocket

from bridge.ops.health import Health
from bridge.sockets import strangers
from bridge.sockets.http_protocol import BoundedHttpProtocol
from bridge.sockets.limits import Quota
from bridge.sockets.request_turns import A_TURN
from bridge.sockets.strangers import FEW, HELD_BYTES, MOST, PER_ADDRESS, Strangers, internet_address
from bridge.sockets.uvicorn import take_socket
from tests.agents.virtual_time import run
from tests.http_wire import Site, Wire, answering_after, settled, statuses
from tests.test_http_protocol import GET, UPGRADE, head_of, post

pytestmark = pytest.mark.runs_with(function=run)

HERE, ELSEWHERE, THERE = "127.0.0.1", "8.8.8.8", "2606:4700:1::1"


def limited(monkeypatch: pytest.MonkeyPatch, limit: int | None, used: float = 0.1) -> None:
    monkeypatch.setattr(strangers, "descriptor_limit", lambda: limit)
    monkeypatch.setattr(strangers, "descriptors_used", lambda: used)


@pytest.mark.parametrize(
    ("host", "address"),
    [
        ("127.0.0.1", None),
        ("10.1.2.3", None),
        ("192.168.1.1", None),
        ("100.64.0.9", None),
        ("::1", None),
        ("fd00::1", None),
        ("fe80::1%eth0", None),
        ("::ffff:10.0.0.1", None),
        ("", None),
        ("8.8.8.8", "8.8.8.8"),
        ("::ffff:8.8.8.8", "8.8.8.8"),
        ("2606:4700:1:2::1", "2606470000010002"),
        ("2606:4700:1:2:ffff::1", "2606470000010002"),
    ],
)
def test_whose_connection_it_is(host: str, address: str | None) -> None:
    """On this machine and network it is a proxy's, so it says nothing; of IPv6 a customer has the /64."""
    assert internet_address(Wire(host)) == address


@pytest.mark.parametrize(
    ("limit", "room"), [(256, 64), (1_024, 256), (1 << 20, MOST), (None, MOST), (8, FEW)]
)
async def test_a_quarter_of_the_descriptors_the_oldest_goes_first(
    monkeypatch: pytest.MonkeyPatch, limit: int | None, room: int
) -> None:
    limited(monkeypatch, limit)

    site = Site()
    wires = [site.connect() for _ in range(room + 10)]
    assert [wire.open for wire in wires] == [False] * 10 + [True] * room
    real = site.connect()
    real.says(GET)
    await settled()
    assert statuses(real.answered) == [200]
    assert len(site.strangers) == room


async def test_twenty_of_one_address_where_addresses_are_known() -> None:
    site = Site()
    other = site.connect(THERE)
    wires = [site.connect(ELSEWHERE) for _ in range(PER_ADDRESS + 5)]
    proxied = [site.connect(HERE) for _ in range(PER_ADDRESS + 5)]
    assert [wire.open for wire in wires] == [False] * 5 + [True] * PER_ADDRESS
    assert other.open
    assert all(wire.open for wire in proxied)
    for wire in wires[5:]:
        wire.says(GET)  # a finished request is none of the twenty, and neither is its connection
    await settled()
    more = [site.connect(ELSEWHERE) for _ in range(PER_ADDRESS)]
    assert all(wire.open for wire in wires[5:] + more)
    wires[5].says(GET[:5])
    assert [wire.open for wire in (wires[5], *more)] == [True, False] + [True] * (PER_ADDRESS - 1)
    for wire in (other, *wires, *proxied, *more):
        wire.abort()
    await settled()
    assert site.strangers._by_address == {}


async def test_half_requests_cost_no_router_its_connections_and_idle_ones_cost_nobody_a_request(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    limited(monkeypatch, 256)

    site = Site()
    router = [site.connect() for _ in range(20)]
    for wire in router:
        wire.says(GET)
    await settled()
    for _ in range(200):
        site.connect().says(GET[:9])
    assert all(wire.open for wire in router)

    site = Site()
    slow = [site.connect() for _ in range(20)]
    for wire in slow:
        wire.says(GET[:9])
    for _ in range(200):
        site.connect().says(GET)
        await settled()
    assert all(wire.open for wire in slow)


async def test_who_is_being_answered_stays_up_to_as_many_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    limited(monkeypatch, 256)

    gate = asyncio.Event()
    site = Site(answering_after(gate))
    asking = []
    for _ in range(70):
        asking.append(site.connect())
        asking[-1].says(GET)
    idle = [site.connect() for _ in range(100)]
    for _ in range(10):
        await settled()
    late = site.connect()
    late.says(GET)
    await settled()
    gate.set()
    await settled()
    # As many as may wait, else they would be without end. Of those that wait for their turn the oldest
    # go; when all are being answered the newcomer goes.
    served = [statuses(wire.answered) for wire in asking]
    assert served == [[503]] * 6 + [[204]] * 64
    assert statuses(late.answered) == [503]
    assert sum(wire.open for wire in [*idle, *asking, late]) == 64


async def test_what_many_ask_at_once_is_answered_a_little_in_each_turn_of_the_loop(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """So the frames of calls come between; and each kind of request waits behind its own kind only."""
    read: list[bytes] = []
    parse = BoundedHttpProtocol._parse_head

    def parsed(self: BoundedHttpProtocol, head: bytes, rest: bytes) -> None:
        read.append(head)
        parse(self, head, rest)

    begun: list[str] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        begun.append(scope["path"])
        await receive()
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body"})

    site = Site(app)
    crowd = [site.connect() for _ in range(60)]
    for number, wire in enumerate(crowd):
        wire.says(b"GET /first/%d HTTP/1.1\r\nHost: x\r\n\r\n" % number)
    most = 0
    while len(begun) < 60:
        before = len(begun)
        await asyncio.sleep(0)
        most = max(most, len(begun) - before)
    assert most == A_TURN
    await settled()

    # Reading a head is part of it: it may have 16 KiB and a hundred lines.
    monkeypatch.setattr(BoundedHttpProtocol, "_parse_head", parsed)
    wires = [site.connect() for _ in range(20)]
    for wire in wires:
        wire.says(GET)
    assert read == []
    await asyncio.sleep(0)
    assert len(read) == A_TURN
    for _ in range(3):
        await settled()
    assert len(read) == 20

    begun.clear()
    gone = site.connect()
    gone.says(b"GET /gone HTTP/1.1\r\nHost: x\r\n\r\n")
    for wire in crowd:
        wire.says(b"GET /again HTTP/1.1\r\nHost: x\r\n\r\n")
    for target in (b"GET /healthz", b"POST /incoming-call"):
        site.connect().says(target + b" HTTP/1.1\r\nHost: x\r\n\r\n")
    gone.abort()
    await settled()
    assert {"/healthz", "/incoming-call"} < set(begun)
    assert begun.count("/again") < 15 * A_TURN
    for _ in range(6):
        await settled()
    assert begun.count("/again") == 60
    assert "/gone" not in begun

    begun.clear()
    for _ in range(60):
        site.connect().says(b"GET /asked?a=b HTTP/1.1\r\nHost: x\r\n\r\n")
    site.connect().says(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
    for _ in range(6):
        await asyncio.sleep(0)
    assert "/healthz" in begun
    assert begun.count("/asked") < 6 * A_TURN
    for _ in range(6):
        await settled()
    assert begun.count("/asked") == 60
    assert [statuses(wire.answered) for wire in crowd] == [[204, 204]] * 60


FORM = b"a=b&" * 15_000
CROWDS = {
    "whole forms, waiting for their turn": post(FORM),
    "forms that lack a byte": post(FORM[:-1], length=len(FORM)),
    "forms of chunks without an end": post(b"").replace(b"Content-Length: 0", b"Transfer-Encoding: chunked")
    + b"ea5f\r\n"
    + FORM[:-1],
    "half an enormous head": head_of(16_000)[:-2],
    "a page, and half a head behind it": GET + head_of(15_000)[:-2],
}


@pytest.mark.parametrize("crowd", CROWDS)
async def test_what_all_unanswered_requests_amount_to_is_bounded(crowd: str) -> None:
    """Four mebibytes, and beyond it eight KiB each: that is room for any carrier's webhook."""

    gate = asyncio.Event()

    async def slow(_scope: Any, receive: Any, send: Any) -> None:
        await gate.wait()
        await receive()
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body"})

    site = Site(slow)
    wires = [site.connect() for _ in range(500)]
    for wire in wires:
        for start in range(0, len(CROWDS[crowd]), 16_000):
            wire.says(CROWDS[crowd][start : start + 16_000])
    await settled()
    kept_bytes = sum(wire.protocol._held_bytes() for wire in wires if wire.protocol is not None)
    assert kept_bytes <= site.strangers.held_bytes  # heads that were parsed count until the next read
    assert HELD_BYTES / 2 < kept_bytes < 2 * HELD_BYTES
    assert any(statuses(wire.answered) == [503] for wire in wires) or b"GET" in CROWDS[crowd]
    caller = site.connect()
    caller.says(post(b"a=b&" * 1_500))
    gate.set()
    for _ in range(30):
        await settled()
    assert statuses(caller.answered) == [204]
    for wire in wires:
        wire.abort()
    await settled()
    assert site.strangers.held_bytes == 0


def test_calls_take_back_what_strangers_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    """Strangers never make the reason, and leave a tenth of all free for the next call."""
    calls = 190
    limited(monkeypatch, 256)

    async def main() -> None:
        counted = Strangers()
        health = Health(strangers=counted)
        monkeypatch.setattr("bridge.ops.health.descriptors_used", lambda: (calls + len(counted)) / 256)
        monkeypatch.setattr(strangers, "descriptors_used", lambda: (calls + len(counted)) / 256)
        wires = [Wire() for _ in range(60)]
        for wire in wires:
            wire.protocol = asyncio.Protocol()
            counted.enter(wire, lambda: None, 100)
        assert health.reasons() == []
        assert [wire.open for wire in wires] == [False] * 20 + [True] * 40
        later = [Wire() for _ in range(10)]
        for wire in later:
            wire.protocol = asyncio.Protocol()
            counted.enter(wire, lambda: None, 100)
        assert len(counted) == 40
        nonlocal calls
        calls = 206
        assert health.reasons() == ["descriptors"]
        calls = 30
        await asyncio.sleep(1.1)  # they may have their quarter again, without any webhook
        for _ in range(50):
            wire = Wire()
            wire.protocol = asyncio.Protocol()
            counted.enter(wire, lambda: None, 100)
        assert len(counted) == 64

    run(main())


async def test_an_upgrade_is_a_stranger_s_until_its_call_is_admitted() -> None:
    gate = asyncio.Event()

    async def undecided(_scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await gate.wait()
        await send({"type": "websocket.close"})

    site = Site(undecided)
    wire = site.connect()
    wire.says(UPGRADE)
    await settled()
    assert len(site.strangers) == 1
    gate.set()
    await settled()
    assert statuses(wire.answered) == [403]
    assert len(site.strangers) == 0


async def test_a_frame_that_is_not_whole_counts_as_a_request_does() -> None:
    """Of hundreds that upgrade by an overheard signature and begin a message of 60,000 bytes."""
    ended: list[str] = []

    async def taken(scope: Any, receive: Any, send: Any) -> None:
        websocket = WebSocket(scope, receive, send)
        await websocket.accept()
        socket = take_socket(websocket, stranger=True)
        socket.start(lambda _frame: None, lambda _code, why: ended.append(why), Quota(200, 65_536, 50))
        await socket.released()

    site = Site(taken)
    frame = b"\x81\xfe" + (60_000).to_bytes(2, "big") + bytes(4) + b"a" * 59_000
    wires = [site.connect() for _ in range(120)]
    for wire in wires:
        wire.says(UPGRADE + frame[:8_000])
    for _ in range(240):
        await settled()
    for wire in wires:
        wire.says(frame[8_000:])
    await settled()
    assert HELD_BYTES / 2 < site.strangers.held_bytes < 2 * HELD_BYTES
    assert sum(b"too much of all that waits" in wire.answered for wire in wires) > 40
    for wire in wires:
        if wire.open:
            wire.abort()
    for _ in range(5):
        await settled()
    assert site.strangers.held_bytes == 0
    assert len(ended) == 120
