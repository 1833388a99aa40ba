"""The carrier's stream goes and comes again while the call, its runner and the model's socket live on."""

from __future__ import annotations

import asyncio

import pytest

from bridge.core import messages as m
from bridge.doubles.carrier_frames import CarrierFrames
from bridge.recording import Header, Recorder, replay
from tests.test_runner import ACCOUNT, CALL, LOUD, FakeSocket, Table, in_virtual_time

pytestmark = pytest.mark.runs_with(function=in_virtual_time)

ID = "d" * 32
WISH = m.Detour(ID, name="billing", quiet=True)
BUSY = m.DetourResult(m.TransferOutcome.BUSY)


def next_stream(table: Table, number: int = 2) -> FakeSocket:
    """The carrier opens another stream of the call."""
    socket, frames = FakeSocket(), CarrierFrames(CALL, ACCOUNT, f"MZ{number:032x}")
    table.carrier, table.frames = socket, frames
    table.runner.attach(socket, [frames.start({})])
    table.runner.feed(m.Admitted())
    return socket


async def test_the_model_keeps_its_socket_and_the_carrier_gets_a_new_one() -> None:
    table = Table()
    await table.live()
    left = table.carrier
    table.runner.feed(WISH)
    assert left.codes == [1000]
    assert table.runner.away
    await asyncio.sleep(0.1)
    left.says(table.frames.media(LOUD, 200))
    left.says(table.frames.stop())
    assert not table.ended, "what still comes of the old stream means nothing"
    table.runner.feed(m.WentAway(ID))
    table.runner.feed(m.Returned(ID, BUSY))
    appended = len(table.models[0].of("input_audio_buffer.append"))
    back = next_stream(table)
    assert len(table.models) == 1
    assert not table.models[0].codes
    table.hears(LOUD, 100)
    assert len(table.models[0].of("input_audio_buffer.append")) == appended + 1
    [note] = table.models[0].of("conversation.item.create")
    assert "the line is busy" in note["item"]["content"][0]["text"]
    assert len(table.models[0].of("response.create")) == 1
    table.speaks(200)
    assert back.sound_ms == 200
    assert left.sound_ms == 0
    back.says(table.frames.stop())
    await table.runner.closed


async def test_marks_of_the_stream_that_was_left_mean_nothing() -> None:
    table = Table()
    await table.live()
    table.speaks(300)
    name = table.carrier.of("mark")[-1]["mark"]["name"]
    table.model("response.created", response={"id": "resp_1", "status": "in_progress", "output": []})
    table.model("response.done", response={"id": "resp_1", "status": "completed", "output": []})
    table.runner.feed(WISH)
    await asyncio.sleep(4)
    assert table.runner.away, "the watchdog of the drain does not wait for marks that never come"
    table.runner.feed(m.WentAway(ID))
    back = next_stream(table)
    table.carrier.says(table.frames.mark(name))
    table.speaks(500, "item_9")
    assert table.call.playout.line.ledger.claimed < 500 * 8
    back.says(table.frames.stop())
    await table.runner.closed


async def test_a_call_that_is_over_while_away_closes_for_good() -> None:
    table = Table()
    await table.live()
    table.runner.feed(WISH)
    table.runner.feed(m.WentAway(ID))
    table.runner.feed(m.DetourOver(ID, m.DetourResult(m.TransferOutcome.CONNECTED)))
    assert [end.reason for end in table.ended] == [m.Reason.TRANSFERRED]
    await table.runner.closed
    assert table.models[0].codes == [1000]


async def test_a_recording_of_it_replays_exactly() -> None:
    lines: list[str] = []
    header = Header(config=m.CallConfig(), carrier="twilio", upstream="openai")
    table = Table(recorder=Recorder(lines.append, header))
    await table.live()
    table.hears(LOUD, 100)
    table.runner.feed(WISH)
    table.runner.feed(m.WentAway(ID))
    table.runner.feed(m.LegState(ID, m.LegStep.RINGING))
    await asyncio.sleep(20)
    table.runner.feed(m.Returned(ID, BUSY))
    back = next_stream(table)
    table.hears(LOUD, 100)
    table.speaks(200)
    await asyncio.sleep(1)
    back.says(table.frames.stop())
    await table.runner.closed
    replayed = replay(lines)
    assert replayed.ended
    assert replayed.difference is None
