"""What the guide "Choose a model" says was measured, measured again: in virtual time, against the doubles."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest

from bridge.agents.config import AgentConfigs
from bridge.core import messages as m
from bridge.doctor.canary import DOUBLES
from bridge.doubles.agents import Asked, Output, Speech
from bridge.doubles.phone import Phone
from bridge.doubles.realtime import RealtimeServer
from bridge.doubles.tones import tone
from bridge.testing.call import usual_config
from bridge.testing.virtual_call import VirtualCall
from bridge.upstreams import UPSTREAMS

GUIDE = Path(__file__).parent.parent / "docs" / "guides" / "choose-a-model.md"
QUIET = b"\xff" * 8
BLOCK_MS = 20
SPEAKS_MS = 3_000
"""When the caller begins to speak over the first answer."""
PRICED_ON = dt.date(2026, 11, 29)


class Talker:
    """A model that says so much, whatever it is asked."""

    def __init__(self, sentences: int, ms: int) -> None:
        self._answer = Speech(tone(ms), "This is one sentence of an answer. " * sentences)

    def answer(self, _asked: Asked) -> Sequence[Output]:
        return [self._answer]


def called(name: str, mind: Talker, speech: bytes = b"") -> VirtualCall:
    """A call with that vendor's double, begun."""
    vendor = UPSTREAMS[name]
    session = m.SessionConfig(
        model=vendor.model or "voice", voice=vendor.voice, transcription=vendor.transcription or "scribe"
    )
    configs = AgentConfigs(m.CallConfig(), vendor=vendor.prices)
    config = msgspec.structs.replace(
        usual_config(greeting="Hello."),
        session=session,
        capabilities=vendor.capabilities,
        prices=configs.rates(session, PRICED_ON),
    )
    call = VirtualCall(
        config,
        Phone(speech=speech),
        lambda: RealtimeServer(mind, DOUBLES[name]()),
        upstream=lambda epoch: vendor(epoch, "ws://127.0.0.1"),
    )
    call.start()
    return call


def sounding(call: VirtualCall) -> list[bool]:
    """Of each 20 ms of the call, whether the caller heard something. By loudness alone."""
    heard = call.phone.heard
    size = BLOCK_MS * 8
    return [bool(heard[at : at + size].strip(b"\xff\x7f")) for at in range(0, len(heard), size)]


def interrupted(name: str) -> tuple[str, str]:
    """How long the model is heard after the caller began to speak over it, and what it is told of that."""
    call = called(name, Talker(4, 8_000), QUIET * SPEAKS_MS + tone(600) + QUIET * 2_000)
    call.until(5_000)
    blocks = sounding(call)
    begun = blocks.index(True)
    stopped = next(at for at in range(SPEAKS_MS // BLOCK_MS, len(blocks)) if not blocks[at])
    stops_ms, heard_ms = stopped * BLOCK_MS - SPEAKS_MS, (stopped - begun) * BLOCK_MS
    told = call.server.truncations
    off_ms = [abs(heard_ms - one) for one in told.values()]
    return f"{stops_ms} ms", f"yes, {off_ms[0]} ms off" if off_ms else "no"


def lost(name: str) -> tuple[str, str]:
    """The longest silence after a session was lost in an answer, and what the next one is told was said."""
    call = called(name, Talker(4, 8_000))
    call.until(4_000)
    call.lose_model()
    call.until(14_000)
    told = next(item.text for item in call.server.items.values() if item.role == "assistant")
    [spoken] = [one for one in call.log(m.Spoken) if one.cut]
    after = sounding(call)[4_000 // BLOCK_MS : 10_000 // BLOCK_MS]
    runs = re.findall("0+", "".join("01"[block] for block in after))
    known = "the words that were heard" if told == spoken.heard else "other words"
    return f"{max(map(len, runs), default=0) * BLOCK_MS} ms", known


def a_minute(name: str) -> str:
    """What four turns of four seconds cost, each with an answer of five."""
    turn = QUIET * 5_000 + tone(4_000) + QUIET * 6_000
    call = called(name, Talker(1, 5_000), turn * 4)
    call.until(61_000)
    assert call.call.stats.turns == 4
    cost = call.call.stats.cost_micro_usd
    return f"{cost / 1_000_000:.3f}" if call.call.config.prices else "by your price list"


def renewed(name: str) -> str:
    """How old a session is when the next one is dialled, where the vendor does not say when it ends it."""
    call = called(name, Talker(1, 1_000))
    call.until(3_000)
    up = call.call.up
    return f"{round((up.renew_due_ms - up.ready_ms) / 60_000)} min"


def rows() -> dict[str, list[str]]:
    """The measured table of the guide: by its first column, a cell for each vendor."""
    table = GUIDE.read_text(encoding="utf-8").partition("<!-- measured -->")[2].partition("\n\n")[0]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in table.strip().splitlines()]
    return {first: others for first, *others in cells}


@pytest.fixture(scope="module")
def measured() -> dict[str, list[str]]:
    names = list(DOUBLES)
    cut, loss = [interrupted(name) for name in names], [lost(name) for name in names]
    return {
        "": [f"`{name}`" for name in names],
        "the caller speaks over the model: it is heard for": [stops for stops, _ in cut],
        "the model is told what of its answer was heard": [told for _, told in cut],
        "the session is lost in an answer: silence": [gap for gap, _ in loss],
        "the next session knows of that answer": [known for _, known in loss],
        "a session is renewed after": [renewed(name) for name in names],
        "a minute of talk, US dollars": [a_minute(name) for name in names],
    }


@pytest.mark.virtual  # minutes of calls, in seconds
def test_the_table_is_what_is_measured(measured: dict[str, list[str]]) -> None:
    told = rows()
    assert {first: told[first] for first in told if not first.startswith("---")} == measured


def test_what_the_guide_says_of_xai_and_azure_is_what_their_records_say() -> None:
    records: dict[str, Any] = {name: UPSTREAMS[name].capabilities for name in DOUBLES}
    assert records["azure"] == records["openai"]
    text = GUIDE.read_text(encoding="utf-8")
    assert not records["xai"].truncates
    assert "cannot be told where its answer was cut" in text
    assert "No call was made to a vendor" in text
