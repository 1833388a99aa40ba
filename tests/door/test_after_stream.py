"""When a stream is over that nobody wanted to end: the call goes on, and the caller is told once."""

from __future__ import annotations

import asyncio
import json
import os
import time
from pathlib import Path
from typing import Any

import pytest

from bridge.agents.agent import Agent
from bridge.core import messages as m
from bridge.doubles.agents import Parrot, Scripted, Speech
from bridge.doubles.tones import marked, tone
from bridge.recording import describe, replay
from bridge.server.draining import hand_over
from bridge.server.store.snapshots import Conversations
from bridge.simulators.phone import Kind, PhoneCall
from bridge.sockets.dial import dial
from bridge.sounds import load
from tests.door.rig import DESK, Door, door, kinds, run, until
from tests.door.test_strangers import SID, Stranger, signed, webhook_token

pytestmark = pytest.mark.runs_with(function=run)

FIRST = marked(1, 600)
SECOND = marked(2, 600)
AGENT = Agent("Answer.", greeting="Hello.")


def silence(ms: int) -> bytes:
    return b"\xff" * (8 * ms)


def lose(call: PhoneCall) -> None:
    """The carrier's socket breaks, without a word."""
    simulation = call.streams[-1][1]
    simulation.send(call.phone.drop(simulation.now_ms()))


def items(house: Door, session: int) -> list[tuple[str, str]]:
    """What we put into the conversation of that session: role and text."""
    found = []
    for frame in house.servers()[session].got:
        event = json.loads(frame)
        if event["type"] == "conversation.item.create" and event["item"]["type"] == "message":
            found.append((event["item"]["role"], event["item"]["content"][0]["text"]))
    return found


async def test_a_stream_that_is_lost_is_opened_again_and_the_conversation_goes_on() -> None:
    mind = Parrot(FIRST, "Hello, who is there?")
    async with door(mind, AGENT, server={"transcribe": lambda _item: "It is me"}) as house:
        call = house.dial(house.caller(silence(1_200) + tone(400) + silence(3_000)))
        await until(lambda: call.streaming.is_set() and FIRST in call.phone.heard)
        await until(lambda: any(isinstance(one, m.Turn) for one in did(house, call)))
        await asyncio.sleep(0.6)
        lose(call)
        await until(lambda: len(call.streams) == 2)
        await until(lambda: load("restored")[: 500 * 8] in call.phone.heard)
        told = items(house, 1)
        assert ("user", "It is me") in told
        assert ("assistant", "Hello, who is there?") in told
        call.hang_up()
        await until(lambda: call.over)
        assert kinds(call) == [
            Kind.ASKED, Kind.STREAM, Kind.STREAM_OVER, Kind.ASKED, Kind.STREAM, Kind.STREAM_OVER,
            Kind.CALLER_LEFT,
        ]  # fmt: skip
        assert FIRST not in call.phone.heard, "nobody is greeted twice"


def did(house: Door, call: PhoneCall) -> list[m.Action]:
    return house.log.did.get(call.handset.call_sid, [])


@pytest.mark.parametrize("fallback", [None, "front desk"])
async def test_after_three_of_those_the_call_is_given_up(fallback: str | None) -> None:
    async with door(Parrot(FIRST), AGENT, fallback=fallback) as house:
        call = house.dial(house.caller())
        for number in range(4):
            await until(lambda number=number: len(call.streams) == number + 1 and call.streaming.is_set())
            await until(lambda: call.phone.received_bytes)
            lose(call)
        await until(lambda: call.over)
        assert len(call.streams) == 4
        assert call.reached == ([DESK] if fallback else [])
        assert Kind.SAID in kinds(call)[-4:]
        assert kinds(call)[-1] is Kind.HUNG_UP


async def test_a_call_that_is_handed_over_goes_on_as_if_nothing_had_been() -> None:
    """No phrase, no greeting: the caller hears nothing of it."""

    async with door(Parrot(FIRST, "Hello, who is there?"), AGENT) as house:
        call = house.dial(house.caller(silence(1_000) + tone(400) + silence(5_000)))
        await until(lambda: call.streaming.is_set() and FIRST in call.phone.heard)
        await hand_over(house.service.registry, 3_000)
        await until(lambda: len(call.streams) == 2)
        await until(lambda: len(house.servers()) == 2 and items(house, 1))
        assert ("assistant", "Hello, who is there?") in items(house, 1)
        await asyncio.sleep(0.5)
        call.hang_up()
        await until(lambda: call.over)
        assert load("restored") not in call.phone.heard
        assert FIRST not in call.phone.heard
        ended, _ = house.log.ended[call.handset.call_sid]
        assert ended.reason is m.Reason.CALLER_HUNG_UP


@pytest.mark.parametrize(
    ("intent", "answer"),
    [
        ("ended", "./Hangup"),
        ("transfer:front desk", "./Dial/Number"),
        ("handover", "./Connect/Stream/Parameter[@value='handover']"),
        (None, "./Connect/Stream/Parameter[@value='cut off']"),
    ],
)
async def test_whoever_runs_after_a_crash_answers_as_the_one_before(
    intent: str | None, answer: str, tmp_path: Path
) -> None:
    """Nothing is closed or written out at the end: what was noted is in the journal at once."""

    journal = tmp_path / "intents.jsonl"
    async with door(Parrot(FIRST), AGENT, journal=journal) as before:
        await webhook_token(before)
        before.service.services.control.intents.began(SID)
        if intent is not None:
            before.service.services.control.note(SID, intent)
        crashed = journal.read_bytes()
    journal.write_bytes(crashed)
    async with door(Parrot(FIRST), AGENT, journal=journal) as after:
        fields = {"CallStatus": "in-progress"}
        document = await after.handset(call_sid=SID).webhook(f"{after.base}/after-stream", fields)
        assert document.find(answer) is not None


@pytest.mark.parametrize("began", [True, False])
async def test_a_webhook_that_is_replayed_after_a_crash_opens_no_second_session(
    began: bool, tmp_path: Path
) -> None:
    """The next process has given out no token for this call, and still knows that there was a stream. A call
    that only rang before the crash has its stream yet to come.
    """

    journal = tmp_path / "intents.jsonl"
    async with door(Parrot(FIRST), AGENT, journal=journal) as before:
        await webhook_token(before)
        if began:
            before.service.services.control.intents.began(SID)
        crashed = journal.read_bytes()
    journal.write_bytes(crashed)
    async with door(Parrot(FIRST), AGENT, journal=journal) as after:
        token = await webhook_token(after)
        stranger = Stranger(await dial(after.stream, signed(after.stream)))
        stranger.start({"token": token})
        if began:
            assert await stranger.closed == (1008, "refused: token")
            assert after.upstream.sessions == []
        else:
            await until(lambda: stranger.got)
            stranger.socket.close()


async def test_a_draining_process_lets_the_carrier_ask_again_elsewhere() -> None:
    """Pause and redirect, not a second stream here; eight times at most, then an apology."""

    async with door(Parrot(FIRST), AGENT) as house:
        call = house.dial(house.caller())
        await until(lambda: call.streaming.is_set() and call.phone.received_bytes)
        house.service.registry.draining = True
        await hand_over(house.service.registry, 0)
        await until(lambda: call.over, 20)
        assert len(call.streams) == 1
        assert kinds(call).count(Kind.PAUSE) == 8
        assert kinds(call)[-2:] == [Kind.SAID, Kind.HUNG_UP]


def test_the_newer_stream_of_a_call_counts(tmp_path: Path) -> None:
    """The old one is a socket that nobody reads any more, and we do not know it yet. The model stays; what is
    recorded replays.
    """

    async def main() -> None:
        async with door(Scripted([Speech(FIRST, "one")]), AGENT, recordings=tmp_path) as house:
            older = Stranger(await dial(house.stream, signed(house.stream)))
            older.start({"token": await webhook_token(house)})
            await until(lambda: any(len(frame) > 200 for frame in older.got))
            handset, fields = house.handset(call_sid=SID), {"CallStatus": "in-progress"}
            document = await handset.webhook(f"{house.base}/after-stream", fields)
            parameters = {p.get("name", ""): p.get("value", "") for p in document.iterfind(".//Parameter")}
            newer = Stranger(await dial(house.stream, signed(house.stream)))
            newer.frames.stream_sid = f"MZ{6:032x}"
            newer.start(parameters)
            await newer.speaks(1.0)
            assert not newer.closed.done()
            assert older.closed.done()
            assert len(house.upstream.sessions) == 1
            assert m.Noted("newer stream", "the call goes on over it") in house.log.did[SID]
            newer.socket.send(newer.frames.stop())
            await newer.closed
            await until(lambda: SID in house.log.ended)

    run(main())
    for path in tmp_path.iterdir():
        lines = path.read_text().splitlines()
        result = replay(lines, strict=True)
        assert result.difference is None, describe(result.difference)
    assert sum('"epoch":1' in line and '"from":"carrier"' in line for line in lines) >= 1


def test_what_was_said_outlives_the_process_and_nobody_else_may_read_it(tmp_path: Path) -> None:
    carried = m.CallSnapshot(items=(m.SnapshotItem("user", "It is me"),), owed=True)
    before = Conversations(tmp_path / "kept")
    before.keep("CA1", m.CallSnapshot())
    before.keep("CA1", carried)
    before.keep("CA2", carried)
    assert before.find("CA1") == carried
    before.forget("CA2")
    before.close()
    [path] = (tmp_path / "kept").iterdir()
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert "CA1" not in path.name
    after = Conversations(tmp_path / "kept")
    assert after.find("CA1") == carried
    assert after.find("CA2") is None
    late = Conversations(tmp_path / "kept", now=lambda: path.stat().st_mtime + 601)
    assert late.find("CA1") is None


def test_what_another_process_has_written_since_is_known_too(tmp_path: Path) -> None:
    """The call was here, went on there, and comes back."""
    here, there, later = Conversations(tmp_path), Conversations(tmp_path), m.CallSnapshot(turns=2)
    here.keep("CA1", m.CallSnapshot(turns=1))
    here.close()
    there.keep("CA1", later)
    there.close()
    [path] = tmp_path.iterdir()
    os.utime(path, (time.time() + 1, time.time() + 1))  # a file's clock may be some milliseconds behind
    assert here.find("CA1") == later


def test_a_folder_that_cannot_be_written_costs_nothing_but_a_line(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "kept").write_text("a file")
    kept: Any = Conversations(tmp_path / "kept")
    for number in range(3):
        kept.keep(f"CA{number}", m.CallSnapshot())
    kept.close()
    assert kept.find("CA1") == m.CallSnapshot()
    assert len(caplog.messages) == 1
    assert Conversations(tmp_path / "kept").find("CA1") is None
