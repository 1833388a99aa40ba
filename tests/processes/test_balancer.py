"""The balancer and the phone's second attempt, alone: what the tests of whole processes stand on."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest

from bridge.simulators.carrier import CarrierSimulator, WebhookFailed
from tests.processes.balancer import Balancer
from tests.processes.rig import run

pytestmark = pytest.mark.runs_with(function=run)

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 11\r\nConnection: close\r\n\r\n<Response/>"


@contextlib.asynccontextmanager
async def server(*answers: bytes) -> AsyncIterator[tuple[str, list[bytes]]]:
    """Gives these answers, one a connection, then only takes connections. Its address; what it was sent."""
    asked: list[bytes] = []
    left = list(answers)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append(await reader.read(1 << 16))
        if left:
            writer.write(left.pop(0))
            await writer.drain()
        writer.close()

    listening = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with listening:
        yield f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}", asked


async def test_a_server_that_takes_no_connection_is_passed_over() -> None:
    async with server() as (gone, _):
        pass
    async with server(ANSWER, ANSWER) as (here, asked), Balancer().serve() as balancer:
        balancer.put(gone, here)
        for _ in range(2):
            assert (await CarrierSimulator().webhook(f"{balancer.base}/incoming-call", {})).tag == "Response"
        assert len(asked) == 2


async def test_what_was_sent_to_a_server_that_says_nothing_the_phone_sends_once_more() -> None:
    async with (
        server() as (dying, lost),
        server(ANSWER) as (here, asked),
        Balancer().serve() as balancer,
    ):
        balancer.put(dying, here)
        assert (await CarrierSimulator().webhook(f"{balancer.base}/after-stream", {})).tag == "Response"
        assert (len(lost), len(asked)) == (1, 1), "each saw it once: the balancer sends nothing twice"


@pytest.mark.parametrize(
    "answers", [(), (b"HTTP/1.1 503 No\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",)]
)
async def test_neither_twice_in_vain_nor_an_answer_that_says_no_is_asked_about_again(
    answers: tuple[bytes],
) -> None:
    async with server(*answers) as (here, asked):
        with pytest.raises(WebhookFailed):
            await CarrierSimulator().webhook(f"{here}/after-stream", {})
        assert len(asked) == 2 - len(answers)
