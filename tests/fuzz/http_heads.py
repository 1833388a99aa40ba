"""Requests as nobody should send them: real ones with bytes changed, cut, doubled and put together anew.

python -m tests.fuzz.http_heads 50000
"""

from __future__ import annotations

import logging
import random
import sys
from dataclasses import dataclass, field

from tests.agents.virtual_time import run
from tests.fuzz.mutations import grown_bytes, mutate
from tests.http_wire import Site, settled, statuses

_SEEDS = [
    b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n",
    (
        b"POST /incoming-call HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-www-form-urlencoded\r\n"
        b"X-Twilio-Signature: aaaa\r\nContent-Length: 11\r\n\r\nCallSid=CA1"
    ),
    (
        b"POST /after-stream HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
        b"4;a=b\r\nCall\r\n7\r\nSid=CA1\r\n0\r\nX: y\r\n\r\n"
    ),
    (
        b"GET /media-stream HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
        b"Sec-WebSocket-Protocol: a, b\r\n\r\n\x81\x85\x01\x02\x03\x04abcde"
    ),
    b"OPTIONS * HTTP/1.0\r\nConnection: keep-alive\r\n\r\nHEAD / HTTP/1.1\r\nHost: x\r\n\r\n",
    b"PUT / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\nabc",
    b"GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n\r\n",
    b"CONNECT x:443 HTTP/1.1\r\nHost: x:443\r\n\r\n",
]
_SPICE = [
    b"\r\n", b"\n", b"\r", b"\r\n\r\n", b"\0", b"\xff", b"\x80\xfe", b":", b" ", b"\t", b",", b";",
    b"%",     b"%00", b"/", b"//", b"?", b"#", b"http://a@b:99999/", b"*", b"chunked",
    b"Transfer-Encoding: chunked\r\n",     b"Transfer-Encoding: gzip, chunked\r\n",
    b"Content-Length: 5\r\n", b"Content-Length: -1\r\n",     b"Content-Length: 99999999999999999999\r\n",
    b"Content-Length: 70000\r\n", b"Connection: close\r\n",     b"Connection: upgrade\r\n",
    b"Upgrade: websocket\r\n", b"Upgrade: websocket, h2c\r\n", b"HTTP/1.1",     b"HTTP/2.0", b"HTTP/9.9",
    b"Host: \xe9\r\n", b"X: " + b"a" * 9_000 + b"\r\n", b"X: a\r\n" * 101,     b"a" * 17_000,
    b"ffffffffffffffff\r\n", b"0\r\n\r\n", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",     b"\x16\x03\x01",
]  # fmt: skip


@dataclass
class Result:
    """What came of a run. `kept_bytes` is what memory grew by after a first tenth."""

    inputs: int = 0
    answers: dict[int, int] = field(default_factory=dict)
    kept_bytes: int = 0


def mutated(chance: random.Random) -> bytes:
    data = bytearray(chance.choice(_SEEDS))
    if chance.random() < 0.3:
        data += chance.choice(_SEEDS)
    for _ in range(chance.randint(1, 4)):
        mutate(data, chance, _SEEDS, _SPICE, _cut)
    return bytes(data)


def _cut(data: bytearray, at: int) -> None:
    del data[at:]


def fuzz(inputs: int, seed: int = 13) -> Result:
    """So many mutated requests, each on a connection of its own, in pieces. Raises if anything escapes into
    the loop, if a task or a connection is left, or if something is answered that is no answer.
    """
    chance = random.Random(seed)
    result = Result()

    async def one(site: Site) -> None:
        wire = site.connect("8.8.8.8" if chance.random() < 0.5 else "127.0.0.1")
        data = mutated(chance)
        cuts = sorted(chance.randint(0, len(data)) for _ in range(chance.randint(0, 3)))
        for start, end in zip([0, *cuts], [*cuts, len(data)], strict=True):
            wire.says(data[start:end])
            if chance.random() < 0.3:
                await settled()
        if wire.open and chance.random() < 0.2:
            wire.protocol.eof_received()
        await settled()
        for status in statuses(wire.answered):
            result.answers[status] = result.answers.get(status, 0) + 1
        wire.abort()
        await settled()

    async def main() -> None:
        site = Site()

        async def each(number: int) -> None:
            result.inputs = number
            await one(site)
            site.asked.clear()

        result.kept_bytes = await grown_bytes(inputs, each)
        assert len(site.strangers) == 0
        assert site.state.connections == set()
        assert site.state.tasks == set()

    run(main(), longest_s=1e9)
    assert set(result.answers) <= {100, 200, 400, 403, 405, 408, 413, 414, 426, 431}, result.answers
    return result


if __name__ == "__main__":
    logging.disable(logging.WARNING)
    sys.stdout.write(f"{fuzz(int(sys.argv[1]))}\n")
