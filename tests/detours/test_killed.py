"""The process dies while the caller is away: the next one has what was said, and where they are."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from bridge.agents.agent import Agent
from bridge.core import messages as m
from bridge.server.draining import hand_over
from bridge.server.store import EmbeddedStore
from tests.detours.rig import BILLING, Mind, feed, greeted_call, heard, hears_a_word, wish
from tests.detours.test_documents import T
from tests.door.rig import door, run, until

pytestmark = [pytest.mark.hostile, pytest.mark.runs_with(function=run)]


async def test_what_a_killed_process_leaves_on_disk_has_the_detour(tmp_path: Path) -> None:
    journal = tmp_path / "journal.jsonl"
    agent = Agent("Answer.", greeting="Hello.")
    async with door(Mind(), agent, transfers=BILLING, journal=str(journal)) as house:
        phone = house.api.phone(T, "no_answer")
        call = await greeted_call(house)
        feed(house, call, wish(ring_s=600))
        await until(lambda: phone.legs and phone.leg.status == "ringing", 10)
        await asyncio.sleep(1.2)  # of the 6 s that it rings at this pace; files are written once a second
        sid = call.handset.call_sid
        following = EmbeddedStore(journal)  # as another process reads it, at this moment
        try:
            carried = following.conversations.find(sid)
            assert carried is not None
            assert (carried.away, carried.ring_s, carried.detours) == ("transfer to billing", 600, 1)
            assert [item.role for item in carried.items] == ["assistant"]
            intent = following.intents.peek(sid)
            assert intent is not None
            record = following.detours.find(intent.removeprefix("detour:"))
            assert record is not None
            assert (record.name, record.kind) == ("billing", m.DetourKind.TRANSFER)
        finally:
            following.close()
        call.hang_up()
        await until(lambda: call.over)


async def test_a_caller_whose_process_goes_is_had_by_the_next_with_what_came_of_it(tmp_path: Path) -> None:
    """The call is handed over while the target rings; whoever is asked next begins it anew."""
    mind, agent = Mind(), Agent("Answer.", greeting="Hello.")
    async with door(mind, agent, transfers=BILLING, journal=str(tmp_path / "journal.jsonl")) as house:
        phone = house.api.phone(T, "no_answer")
        call = await greeted_call(house)
        feed(house, call, wish(ring_s=200))
        await until(lambda: phone.legs and phone.leg.status == "ringing", 10)
        await hand_over(house.service.registry, 5_000)
        sid = call.handset.call_sid
        assert house.log.ended[sid][0].reason is m.Reason.HANDED_OVER
        await hears_a_word(call, 1)
        assert "transfer to billing: nobody answered" in mind.known[-1]
        assert "Word 1." in mind.known[-1], "what was said before"
        assert "interrupted" not in mind.known[-1], "no word about a line that broke off"
        assert len(phone.legs) == 1
        call.hang_up()
        await until(lambda: call.over)


async def test_what_a_killed_process_leaves_on_disk_has_a_detour_that_was_about_to_begin(
    tmp_path: Path,
) -> None:
    """The caller hears the last word: the next process has no detour, and its model knows of this one."""
    journal = tmp_path / "journal.jsonl"
    async with door(Mind(ms=4_000), transfers=BILLING, journal=str(journal)) as house:
        call = house.dial(house.caller())
        await until(lambda: call.streaming.is_set() and len(heard(call, 0)) > 0)
        feed(house, call, wish())
        await asyncio.sleep(1.5)
        following = EmbeddedStore(journal)
        try:
            carried = following.conversations.find(call.handset.call_sid)
            assert carried is not None
            assert "transfer to billing: it was given up" in carried.items[-1].text
            assert carried.away == ""
        finally:
            following.close()
        call.hang_up()
        await until(lambda: call.over)
