"""A process that stood still: its calls wait until it is known whose they are. Time is virtual."""

from __future__ import annotations

import asyncio
import math

import pytest

from bridge.core import messages as m
from bridge.runner.pulse import DOUBT_S, READ_S, Pulse
from tests.agents.virtual_time import VirtualLoop
from tests.test_runner import LOUD, Table, in_virtual_time

pytestmark = pytest.mark.runs_with(function=in_virtual_time)


def now_s() -> float:
    return asyncio.get_running_loop().time()


class Waiting:
    def __init__(self, said: list[str]) -> None:
        self.said = said

    def go_on(self) -> None:
        self.said.append("goes on")


async def test_a_loop_that_beats_doubts_nothing() -> None:
    pulse, asked = Pulse(), []
    assert pulse.until_s == math.inf
    pulse.start(lambda: asked.append(1))
    for _ in range(100):
        await asyncio.sleep(0.1)
        assert now_s() < pulse.until_s
    assert not asked
    pulse.close()
    await asyncio.sleep(10)
    assert now_s() < pulse.until_s


async def test_it_asks_once_and_all_wait_for_the_answer() -> None:
    pulse, said = Pulse(), []
    pulse.start(lambda: said.append("asked"))
    pulse.until_s = now_s() - 1  # as after a pause
    for _ in range(3):
        pulse.doubt(Waiting(said))
    await asyncio.sleep(1)  # the beat goes on, and does not answer the question
    assert said == ["asked"]
    assert now_s() > pulse.until_s
    pulse.settle()
    assert said == ["asked", *["goes on"] * 3]
    assert now_s() < pulse.until_s <= now_s() + DOUBT_S
    pulse.until_s = 0.0
    await asyncio.sleep(0.2)  # no frame came: the beat finds it
    assert said[4:] == ["asked"]
    pulse.close()


async def stood_still() -> Table:
    """A call whose process wakes up, with something said on both legs, a timer that is due, and a wish."""
    table = Table()
    await table.live()
    table.runner._pulse.until_s = now_s() - 1
    table.carrier.sent.clear()
    table.models[-1].sent.clear()
    table.hears()
    table.hears(at_ms=120)
    table.model("response.created", response={"id": "resp_1"})
    table.speaks(200)
    table.runner.feed(m.Say("say", "Hello."))
    await asyncio.sleep(1)
    return table


async def test_nothing_passes_while_it_is_not_known_whose_the_call_is() -> None:
    table = await stood_still()
    assert (table.carrier.sent, table.models[-1].sent) == ([], [])
    table.runner.taken_over("two")
    await table.runner.closed


async def test_a_call_that_is_still_this_machines_goes_on_where_it_was() -> None:
    table = await stood_still()
    table.runner._pulse.settle()
    assert len(table.models[-1].of("input_audio_buffer.append")) == 2
    assert table.carrier.sound_ms == 200
    came = [what for _, what, _ in table.notes.all if what.startswith("came")][-4:]
    assert came == ["came carrier 0", "came carrier 0", "came upstream 1", "came upstream 1"]
    await table.ends()


async def test_a_frame_that_waited_is_looked_at_once() -> None:
    """When it passes, and not while it is not known whose the call is."""
    table = Table()
    await table.live()
    table.runner._look_each = 1
    table.runner._glance = lambda _event: (m.BrokenOnPurpose("a glance"),)  # type: ignore[method-assign, assignment]
    table.runner._pulse.until_s = now_s() - 1
    before = len(table.notes.all)
    table.hears()
    assert len(table.notes.all) == before
    table.runner._pulse.settle()
    order = [what.split()[0] for _, what, _ in table.notes.all[before:]]
    assert [one for one in order if one != "decided"] == ["happened", "came", "went"]
    await table.ends()


async def test_a_call_of_another_machine_ends_without_a_word() -> None:
    """No sound, no request, no intent; and its recording says where it is."""

    table = await stood_still()
    asked: list[m.Ended] = []
    table.runner.before_close = asked.append
    table.told.clear()
    table.runner.taken_over("two")
    await table.runner.closed
    assert (table.carrier.sent, table.models[-1].sent) == ([], [])
    assert [action for _, action in table.told] == [m.Ended(m.Reason.TAKEN_OVER, "two")]
    assert (table.carrier.codes, table.models[-1].codes, asked) == ([1000], [1000], [])
    assert table.notes.of("happened")[-1] == m.TakenOver("two")
    assert table.notes.closed == 1
    table.runner.taken_over("three")
    assert len(table.ended) == 1


async def test_a_call_that_came_from_elsewhere_says_so_in_its_recording() -> None:
    table = Table()
    await table.live()
    moved = m.Moved("one", "two", "crash", 412, 3, 1)
    table.runner.feed(moved)
    words = "from one to two (crash), 412 ms silent, 3 items came along, at most 1 said twice"
    assert m.Noted("moved", words) in [action for _, action in table.told]
    assert m.Moved("", "two", "handover", 9, 0, 0).words == (
        "from a machine that is not known to two (handover), 9 ms silent, 0 items came along, none said twice"
    )
    await table.ends()


async def test_what_a_process_missed_while_it_stood_still_is_not_the_carriers_silence() -> None:
    """The timer of the carrier's media is overdue, and five seconds of them wait in the kernel."""
    table, loop = Table(), asyncio.get_running_loop()
    assert isinstance(loop, VirtualLoop)
    await table.live()
    table.hears()
    loop.now_s += table.runner.call.config.media_gap_ms / 1000 + 1
    loop.call_later(READ_S / 2, table.hears, LOUD, 120)  # the sockets are read after timers that are due
    await asyncio.sleep(1)
    assert table.runner.call.phase is m.Phase.LIVE
    loop.now_s += table.runner.call.config.media_gap_ms / 1000 + 1
    await asyncio.sleep(1)
    assert table.runner.call.phase is m.Phase.ENDED, "here the carrier has sent nothing"
    await table.runner.closed
