"""A running call without kernel and loop: the real runner, two real sockets on transports that take
everything, and a clock that is set by hand.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import TypeVar

from bridge.carriers import Twilio
from bridge.core.call import Call
from bridge.core.messages import Action
from bridge.runner import Recorder, Runner
from bridge.sockets.frames import FrameCodec
from bridge.sockets.limits import CARRIER_LIMITS, UPSTREAM_LIMITS
from bridge.sockets.stream import StreamSocket
from bridge.upstreams import Dial, OpenAI

from .scripted import CONFIG, Input

Result = TypeVar("Result")

_phone = FrameCodec(server=False, max_size_bytes=1 << 20)
_model = FrameCodec(server=True, max_size_bytes=8 << 20)


class Sink(asyncio.Transport):
    """Takes every byte at once."""

    def write(self, data: bytes | bytearray | memoryview) -> None: ...

    def get_write_buffer_size(self) -> int:
        return 0


class HandClock(asyncio.SelectorEventLoop):
    """A loop whose time is what it was set to."""

    now_s = 0.0

    def time(self) -> float:
        return self.now_s


class RunningCall:
    """One call between its two sockets; `play` lets an input come in as bytes."""

    def __init__(self, carrier: StreamSocket, upstream: StreamSocket, runner: Runner) -> None:
        self.runner = runner
        self.doors: dict[str, Callable[[bytes], None]] = {
            "carrier": carrier.data_received,
            "upstream": upstream.data_received,
        }

    def play(self, step: Input, raw: bytes) -> None:
        """`raw` are the bytes of the step's frame (`wire_bytes`)."""
        if step.event is None:
            self.doors[step.door](raw)
        else:
            self.runner.feed(step.event)


def _nobody(_action: Action, _now_ms: int) -> None:
    """Observes a call that nothing is told of."""


async def running_call(
    recorder: Recorder | None = None, observe: Callable[[Action, int], None] = _nobody
) -> RunningCall:
    """A call whose carrier has connected and whose upstream has been dialled; nothing has been said yet."""
    carrier = StreamSocket(Sink(), server=True, limits=CARRIER_LIMITS)
    upstream = StreamSocket(Sink(), server=False, limits=UPSTREAM_LIMITS)

    async def dial(_dial: Dial) -> StreamSocket:
        return upstream

    runner = Runner(Call(CONFIG), Twilio(), OpenAI, dial, observe=observe, recorder=recorder)
    runner.attach(carrier, [])
    return RunningCall(carrier, upstream, runner)


def wire_bytes(step: Input) -> bytes:
    """The step's frame as its peer puts it on the wire."""
    return (_phone if step.door == "carrier" else _model).encode(step.frame)


def run(work: Coroutine[None, None, Result]) -> Result:
    """Runs it on a loop whose clock stands still unless it is set."""
    with asyncio.Runner(loop_factory=HandClock) as runner:
        return runner.run(work)
