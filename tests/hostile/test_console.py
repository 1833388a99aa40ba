"""The console over a real server: what it shows against what a phone heard, and what looking costs."""

from __future__ import annotations

import asyncio
import random
import time
from typing import Any

import pytest
from websockets.exceptions import InvalidStatus

from tests.hostile.console_page import TOKEN, Page, open_page
from tests.hostile.kit import Model, Phone, Session, bridge, tone

pytestmark = pytest.mark.hostile
WORDS = "We are open from nine to five on every day but Sunday, and on Sunday we are closed."


async def speaks(session: Session, metadata: Any = None) -> None:
    """An answer of six seconds, with its words."""
    if metadata is None:
        await session.turn_ends()
    response_id = await session.begin(metadata)
    item_id = f"item_{session.responses}"
    await session.item(response_id, item_id)
    for start in range(0, len(WORDS), 10):
        await session.tell(
            "response.output_audio_transcript.delta", response_id=response_id, item_id=item_id,
            output_index=0, content_index=0, delta=WORDS[start : start + 10],
        )  # fmt: skip
    for _ in range(12):
        await session.delta(response_id, item_id, tone(0.5))
    await session.tell(
        "response.output_audio.done", response_id=response_id, item_id=item_id, output_index=0,
        content_index=0,
    )  # fmt: skip
    await session.done(response_id)


def served(model: Model, **settings: str) -> Any:
    given: dict[str, Any] = {"BRIDGE_CONSOLE_TOKEN": TOKEN, "BRIDGE_GREETING": "off", **settings}
    return bridge(model, **given)


async def talked(phone: Phone) -> None:
    """The caller has asked, and hears the answer."""
    await phone.talk(0.5)
    async with asyncio.timeout(5):
        while not phone.heard:  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def test_a_call_is_listed_and_looked_at_while_it_lasts() -> None:
    async with Model(on_turn=speaks) as model, served(model) as house:
        page = await open_page(house)
        async with page.looking():
            phone = await Phone(house).dial()
            await page.until(lambda: phone.sid in page.calls)
            row = page.calls[phone.sid]
            assert row["caller"] == "+1 … 01"
            assert row["called"] == "+1 … 02"
            await page.tell(kind="look", call=phone.sid)
            await talked(phone)
            await page.until(lambda: page.line("agent"))
            await page.until(lambda: page.view["playing"])
            await asyncio.sleep(1.0)
            line = page.line("agent")
            assert line is not None
            assert line["text"] == WORDS
            assert line["state"] == "playing"
            assert 0 < line["heard"] < len(WORDS)
            turn = page.view["turns"][0]
            assert 300 <= turn["felt_ms"] < 1_500  # the model's own 300 ms, and then it answers at once
            assert turn["parts"][-1][2] == turn["felt_ms"]
            # The caller speaks over it: what was heard of the words is what the phone has played.
            await phone.talk(0.5)
            await page.until(lambda: any(lane["state"] == "barge_in" for lane in page.view["lanes"]), 2)
            played_s = phone.heard_s()
            line = page.line("agent")
            assert line is not None
            assert line["state"] == "cut"
            assert abs(line["heard_ms"] / 1000 - played_s) < 0.1
            assert abs(line["heard"] / len(WORDS) - line["heard_ms"] / 6_000) < 0.12
            await phone.hang_up()
            await page.until(lambda: page.calls[phone.sid]["state"] == "ended")
            assert page.calls[phone.sid]["end"] == "the caller hung up"
            assert page.calls[phone.sid]["barge_ins"] == 1
            assert page.gaps == 0


async def test_an_operator_helps_a_call_and_ends_it_and_its_recording_says_so() -> None:
    async with Model(on_turn=speaks) as model, served(model) as house:
        page = await open_page(house)
        phone = await Phone(house).dial()
        async with page.looking():
            await page.until(lambda: phone.sid in page.calls)
            await page.tell(kind="look", call=phone.sid)
            await page.until(lambda: page.view)
            assert (await page.act(phone.sid, "say", "s1", text="A colleague is on the way."))[0] == 200
            assert (await page.act(phone.sid, "say", "s1", text="A colleague is on the way."))[1]["repeated"]
            await page.until(lambda: phone.heard)
            asked = [event for event in model.events if event["type"] == "response.create"]
            assert len(asked) == 1
            assert "A colleague is on the way." in str(asked[0])
            assert (await page.act(phone.sid, "whisper", text="They are angry."))[0] == 200
            await page.until(lambda: page.line("operator", "They are angry."))
            assert any("They are angry." in str(event) for event in model.events)
            assert len([event for event in model.events if event["type"] == "response.create"]) == 1
            heard_s = len(phone.clears)
            assert (await page.act(phone.sid, "mute", on=True))[0] == 200
            await page.until(lambda: len(phone.clears) > heard_s)
            await page.until(lambda: page.calls[phone.sid]["muted"])
            assert (await page.act(phone.sid, "mute", on=False))[0] == 200
            assert (await page.act(phone.sid, "hang_up"))[0] == 200
            await page.until(lambda: phone.closed_s is not None, 5)
            await page.until(lambda: page.calls[phone.sid]["state"] == "ended")
            assert page.calls[phone.sid]["end"] == "we hung up"
            done = [event["text"] for event in page.view["events"] if event["of"] == "operator"]
            assert len(done) == 5
        await house.until_log("call.summary")
        said = house.recordings()[0].read_text()
        assert said.count('"is":"OperatorActed"') == 5
        assert not any("angry" in line for line in said.splitlines() if "OperatorActed" in line)
        assert len(house.events("= operator")) == 5
        assert "angry" not in house.log
        assert not await house.replays()


async def test_who_listens_hears_what_the_caller_hears_and_the_caller() -> None:
    dice = random.Random(7)
    said: list[bytes] = []

    async def hums(session: Session, metadata: Any = None) -> None:
        if metadata is None:
            await session.turn_ends()
        if said:
            return
        response_id = await session.begin(metadata)
        item_id = f"item_{session.responses}"
        await session.item(response_id, item_id)
        for _ in range(12):
            said.append(dice.randbytes(4_000))
            await session.delta(response_id, item_id, said[-1])
        await session.done(response_id)

    async with Model(on_turn=hums) as model, served(model, BRIDGE_CONSOLE_LISTEN="1") as house:
        page = await open_page(house)
        phone = await Phone(house).dial()
        async with page.looking():
            await page.until(lambda: phone.sid in page.calls)
            ear = await page.connect(f"/console/calls/{phone.sid}/audio")
            heard: dict[int, list[tuple[float, int, bytes]]] = {0: [], 1: []}

            async def listen() -> None:
                async for frame in ear:
                    assert isinstance(frame, bytes)
                    at_ms = int.from_bytes(frame[1:5], "big")
                    heard[frame[0]].append((time.monotonic(), at_ms, frame[5:]))

            listening = asyncio.create_task(listen())
            await page.until(lambda: page.calls[phone.sid]["listeners"] == 1)
            await talked(phone)
            began_s = phone.heard[0][0]
            await asyncio.sleep(1.5)
            # No sooner than the phone plays it, although seconds of it were sent.
            ahead = b"".join(sound for _, _, sound in heard[1])
            assert abs(len(ahead) / 8000 - (time.monotonic() - began_s)) < 0.15
            await phone.talk(0.5)  # the rest of it is cut off
            await page.until(lambda: phone.clears, 3)
            await asyncio.sleep(0.3)
            cut = b"".join(sound for _, _, sound in heard[1])
            played = b"".join(sound for _, sound in phone.heard)
            assert abs(len(cut) - len(played)) < 0.1 * 8000
            shared = min(len(cut), len(played))
            assert cut[:shared] == played[:shared]
            assert b"".join(said).startswith(cut)
            caller = b"".join(sound for _, _, sound in heard[0])
            assert tone(0.3) in caller
            await phone.hang_up()
            await asyncio.wait_for(listening, 5)
            assert ear.close_code == 1000
        await house.until_log("call.summary")
        recording = house.recordings()[0].read_text()
        assert '"is":"OperatorActed","what":"listens"' in recording
        assert not await house.replays()


async def test_listening_wants_its_setting_a_session_and_a_page_of_ours() -> None:
    async with Model(on_turn=speaks) as model, served(model) as off:
        page, phone = await open_page(off), await Phone(off).dial()
        with pytest.raises(InvalidStatus, match="403"):
            await page.connect(f"/console/calls/{phone.sid}/audio")
        assert (await page.act(phone.sid, "listen", on=True))[0] == 403
    async with Model(on_turn=speaks) as model, served(model, BRIDGE_CONSOLE_LISTEN="1") as house:
        page, phone = await open_page(house), await Phone(house).dial()
        stranger = Page(house.port)
        for who, path in ((stranger, phone.sid), (page, "CA" + "0" * 32)):
            with pytest.raises(InvalidStatus, match="403"):
                await who.connect(f"/console/calls/{path}/audio")
        page.base = "http://evil.example"
        with pytest.raises(InvalidStatus, match="403"):
            await page.connect(f"/console/calls/{phone.sid}/audio")
        page.base = f"http://127.0.0.1:{house.port}"
        path = (await page.act(phone.sid, "listen", on=True))[1]["audio"]
        ears = [await page.connect(path) for _ in range(5)]
        sixth = await page.connect(path)
        await asyncio.wait_for(sixth.wait_closed(), 3)
        assert sixth.close_code == 1013
        assert (await page.act(phone.sid, "listen", on=False))[1]["stopped"] == 5
        for ear in ears:
            await asyncio.wait_for(ear.wait_closed(), 3)
        last = await page.connect(path)
        assert (await page.request("POST", "/console/session/end", {}))[0] == 200
        await asyncio.wait_for(last.wait_closed(), 3)
        await phone.hang_up()
        await house.until_log("call.summary")
        recording = house.recordings()[0].read_text()
        assert recording.count('"what":"listens"') == recording.count('"what":"listens no longer"') == 6
