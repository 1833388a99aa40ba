"""What left the sockets in a live call equals, to the byte, what replaying its recording writes again.

Three witnesses who know nothing of each other: what phone and model received over loopback, what the
recording says was sent, and what the adapters of the replay write. The replay has no socket and no clock.
"""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from bridge.carriers import CARRIERS, Twilio
from bridge.core import messages as m
from bridge.doubles.agents import Parrot, Scripted, Speech
from bridge.doubles.tones import marked, tone
from bridge.recording import Header, Parts, Recorder, Recording, describe, replay
from bridge.sockets.frames import Message
from bridge.upstreams import UPSTREAMS, OpenAI
from tests.calls import House, bridge, hang_up, has_heard, phone_of, within
from tests.loops import Run, run

__all__ = ["run"]

pytestmark = pytest.mark.parametrize("run", ["uvloop"], indirect=True)

QUIET = b"\xff" * 8


Doors = dict[tuple[str, int], list[Message]]
"""Frames by the door they left by, and the number of the upstream session (0 for the carrier)."""


class Live:
    """Calls whose recordings are kept here, with all sound or without any."""

    def __init__(self, *, sound: bool) -> None:
        self.sound = sound
        self.lines: dict[str, list[str]] = {}
        self.received: dict[str, Doors] = {}

    def recorder(self, call_sid: str, config: m.CallConfig) -> Recorder:
        header = Header(carrier="twilio", upstream="openai", config=config)
        lines = self.lines[call_sid] = []
        return Recorder(lines.append, header, self.sound)

    def note(self, house: House, number: int, *sessions: int) -> None:
        """What the peers of the n-th call got; `sessions` were its own, in their order."""
        phone = house.phones[number]
        got: Doors = {("carrier", 0): phone.got}
        for epoch, session in enumerate(sessions, 1):
            got["upstream", epoch] = house.server(session).got
        self.received[phone.call_sid] = got


def check(live: Live, lost: int = 0) -> None:
    """`lost` sessions closed under the bridge: what was on the way to them then, they did not get."""
    assert len(live.lines) == len(live.received) > 0
    for call_sid, lines in live.lines.items():
        assert lines[-1] == '{"end":true}'
        written: Doors = {}
        result = replay(lines, strict=True, parts=noting(written))
        assert result.difference is None, describe(result.difference)
        assert replay(lines, strict=True).outputs == lines
        assert recorded(lines) == written
        assert written.keys() == live.received[call_sid].keys()
        for (door, epoch), received in live.received[call_sid].items():
            sent = written[door, epoch]
            if door == "upstream" and epoch <= lost:
                assert 0 < len(received) <= len(sent)
                sent = sent[: len(received)]
            assert sent == received


def noting(written: Doors) -> Parts:
    """The parts of a replay, with adapters that note what they write."""

    class Carrier(Twilio):
        def write(self, command: m.CarrierCommand) -> str:
            written.setdefault(("carrier", 0), []).append(frame := super().write(command))
            return frame

    def upstream(epoch: int = 1, url: str | None = None) -> Any:
        made = OpenAI(epoch, url)
        write = made.write

        def note(command: m.UpstreamCommand) -> str | bytes:
            written.setdefault(("upstream", epoch), []).append(frame := write(command))
            return frame

        made.write = note  # type: ignore[assignment]
        return made

    return Parts(carriers={**CARRIERS, "twilio": Carrier}, upstreams={**UPSTREAMS, "openai": upstream})


def recorded(lines: list[str]) -> Doors:
    """The frames that the recording says left."""
    sent: Doors = {}
    for step in Recording(lines).steps():
        for one in step.outputs:
            if one.frame is not None and not one.dropped:
                sent.setdefault((one.door, one.epoch), []).append(one.frame)
    return sent


def test_a_barge_in_with_its_sound(run: Run) -> None:
    story = [Speech(3_000, "a long story"), Speech(8_000, "and how it goes on")]
    live = Live(sound=True)

    async def main() -> None:
        answers = Scripted([story, Speech(400, "Yes?")])
        server = {"late_deltas": 2, "cancel_ms": 50, "strange": True}
        async with bridge(answers, server=server, recorder=live.recorder) as house:
            call = await house.call(QUIET * 700 + tone(300, 300))
            await within(5, lambda: phone_of(call).heard.count(3) >= 400 * 8)
            call.send(phone_of(call).press("5", call.now_ms()))
            hang_up(call)
            await within(1, lambda: house.gone(call))
            live.note(house, 0, 0)

    run(main())
    check(live)
    [lines] = live.lines.values()
    assert any("conversation.item.truncate" in line for line in lines)


def test_without_sound_the_lengths_suffice(run: Run) -> None:
    """The same truth with silence in the place of sound: compared frame by frame with the sound left out."""
    live = Live(sound=False)

    async def main() -> None:
        async with bridge(Parrot(marked(1, 200)), recorder=live.recorder) as house:
            call = await house.call(QUIET * 400 + tone(300, 300))
            await within(5, lambda: has_heard(call, tone(300, 300)))
            hang_up(call)
            await within(1, lambda: house.gone(call))

    run(main())
    [lines] = live.lines.values()
    result = replay(lines, strict=True)
    assert result.difference is None, describe(result.difference)
    assert result.outputs == lines


def test_a_session_that_is_lost_and_had_again_and_nonsense_on_both_legs(run: Run) -> None:
    live = Live(sound=True)

    async def main() -> None:
        async with bridge(Parrot(marked(1, 600)), recorder=live.recorder) as house:
            call = await house.call(QUIET * 3_000)
            phone = phone_of(call)
            await within(2, lambda: phone.heard.count(1))
            for frame in ("{not JSON", '{"event":"weather"}', '{"event":"mark","mark":{}}'):
                call.socket.send(frame)
            house.upstream.sessions[0].socket.send('{"type":"response.done","response":7}')
            house.upstream.sessions[0].socket.close(1011)
            await within(3, lambda: len(house.upstream.sessions) == 2 and house.server(1).got)
            await within(3, lambda: house.server(1).sent["response.done"])
            await asyncio.sleep(0.05)  # for what is on the way to the phone when it hangs up, it does not get
            hang_up(call)
            await within(1, lambda: house.gone(call))
            live.note(house, 0, 0, 1)

    run(main())
    check(live, lost=1)


def test_many_calls_at_once(run: Run) -> None:
    live = Live(sound=True)

    async def main() -> None:
        async with bridge(Parrot(marked(1, 200)), recorder=live.recorder) as house:
            calls = [await house.call(QUIET * (300 + 40 * n) + tone(200, 300 + 20 * n)) for n in range(8)]
            for number, call in enumerate(calls):
                said = tone(200, 300 + 20 * number)
                await within(5, lambda call=call, said=said: has_heard(call, said))  # type: ignore[misc]
                hang_up(call)
            await within(2, lambda: all(house.gone(call) for call in calls))
            for number in range(len(calls)):
                live.note(house, number, number)

    run(main())
    check(live)


def test_a_replay_can_tell_a_difference(run: Run) -> None:
    """A test of the test: one byte less in what was sent, and it is noticed."""
    live = Live(sound=True)

    async def main() -> None:
        async with bridge(Parrot(marked(1, 200)), recorder=live.recorder) as house:
            call = await house.call(QUIET * 100)
            await within(2, lambda: phone_of(call).heard.count(1) == 1_600)
            hang_up(call)
            await within(1, lambda: house.gone(call))

    run(main())
    [lines] = live.lines.values()
    number = next(
        n for n, line in enumerate(lines) if '"to":"upstream"' in line and "response.create" in line
    )
    changed = [
        *lines[:number],
        lines[number].replace("Begin the call", "Begin the cal"),
        *lines[number + 1 :],
    ]
    found = replay(changed, strict=True).difference
    assert found is not None
    assert found.line == number + 1
