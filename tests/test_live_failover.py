"""A call that goes on from GPT-Live to a vendor with turns, and the other way: both doubles, one phone, in
virtual time.

When something sounds is measured by loudness at the phone; what the second vendor was told is read from its
own frames; what A cost is counted by its double.
"""

from __future__ import annotations

import dataclasses
import json
from typing import Any, cast

import pytest

from bridge.codecs.audible import is_audible_block
from bridge.core import messages as m
from bridge.core.failover import FAILED_OVER
from bridge.core.limits import cost_micro_usd
from bridge.doubles.agents import Output, Scripted, Speech, ToolCall
from bridge.doubles.gpt_live import LiveServer
from bridge.doubles.live_options import LiveOptions, Stall
from bridge.doubles.phone import Phone, PhoneOptions
from bridge.doubles.tones import tone
from bridge.recording import Header, Parts, Recorder, describe, replay
from bridge.testing.virtual_call import VirtualCall
from bridge.upstreams import UPSTREAMS, OpenAI
from bridge.upstreams.live import LIVE, Live

from .live_call import HOURS
from .test_failover import Mind, Server

LATE_MS = 3_000
LEFT_MS = 300
"""Of the first vendor's sound may be on its way to the caller when its socket is lost."""
GREETING = "Good morning, this is the office of Doctor Miller."
ANSWER = "We are open from nine to five, and closed on Sunday, as every week."
TOKENS = {"audio_out": 64.0, "text_out": 24.0, "audio_in": 32.0, "text_in": 4.0}
MINUTES = {"session_minute": 0.05}
STATES = ("greeting", "silent", "caller speaks", "owed", "speaking", "tool")
QUICK = (("greeting", 0), ("speaking", 700), ("tool", 0))
CALLS = [
    pytest.param(to, state, offset_ms, marks=() if (state, offset_ms) in QUICK else pytest.mark.hostile)
    for to in ("gpt-live", "openai")
    for state in STATES
    for offset_ms in (0, 700)
]


class Timed(LiveServer):
    """Knows how long its session was open: from the `session.started` that it sent to the socket's end."""

    began_ms = over_ms = 0

    def wake(self, now_ms: int) -> list[str]:
        frames = super().wake(now_ms)
        if self.sent["session.started"] and not self.began_ms:
            self.began_ms = now_ms
        return frames

    def gone(self, now_ms: int) -> list[str]:
        self.over_ms = now_ms
        return super().gone(now_ms)


class Talk:
    """One call with `first`, whose redial fails, and the other of the two to go on with."""

    def __init__(
        self, to: str, *, tool: bool = False, voice: str = "", redials: int = 0, stall_ms: int = 0
    ) -> None:
        self.redials, self.greeting_ms = redials, 3_000
        self.options = LiveOptions(transcribe=lambda _item: "Opening hours?")
        if stall_ms:
            self.greeting_ms = 28_000
            self.options = dataclasses.replace(self.options, stalls=(Stall(4_000, stall_ms),))
        self.to_live = to == "gpt-live"
        self.turn: list[Output] = (
            [ToolCall("hours", {"day": "mon"}, "call_1")] if tool else [Speech(tone(4_000), ANSWER)]
        )
        self.realtime: list[Server] = []
        self.live: list[Timed] = []
        self.cut_ms = 0
        self.lines: list[str] = []
        can = {"gpt-live": LIVE, "openai": m.Capabilities()}
        prices = {"gpt-live": MINUTES, "openai": TOKENS}
        first = "openai" if self.to_live else "gpt-live"
        session = m.SessionConfig(
            model="of-the-first", instructions="Be brief.", tools=(HOURS,),
            transcription="gpt-transcribe" if self.to_live else None,
        )  # fmt: skip
        config = m.CallConfig(
            session=session, capabilities=can[first], prices=prices[first], greeting=GREETING,
            failover=(m.VendorPlan(
                to, can[to], "of-the-second", voice, "off" if self.to_live else "gpt-transcribe",
                prices=prices[to], transcribes=not self.to_live,
            ),),
        )  # fmt: skip
        recorder = Recorder(self.lines.append, Header(carrier="twilio", upstream=first, config=config))
        make = cast("Any", {"gpt-live": (self._live, Live), "openai": (self._realtime, OpenAI)})
        self.phone = Phone(options=PhoneOptions())
        self.call = VirtualCall(
            config, self.phone, make[first][0], recorder=recorder, upstream=make[first][1], dial_ms=60
        )
        self.call.others = {to: make[to]}
        self.call.start()

    def _mind(self, is_first: bool) -> Mind:
        return Mind([Speech(tone(3_000), GREETING)], self.turn) if is_first else Mind()

    def _realtime(self) -> Server | None:
        if self.realtime:
            return None
        words = self.options.transcribe
        self.realtime.append(Server(self._mind(self.to_live), latency_ms=200, transcribe=words))
        return self.realtime[-1]

    def _live(self) -> Timed | None:
        if len(self.live) > self.redials:
            return None
        greeting = Speech(tone(self.greeting_ms), GREETING)
        agent: Any = Mind() if self.to_live else Scripted([greeting, self.turn])
        self.live.append(Timed(agent, self.options))
        return self.live[-1]

    def to(self, at_ms: int) -> Talk:
        self.call.until(at_ms)
        return self

    def says(self, ms: int = 800) -> None:
        self.call.from_phone(self.phone.say(tone(ms, 500), self.call.now_ms))

    def bring_to(self, state: str, offset_ms: int) -> int:
        """The call in that state, and a little further; then the first is cut. Returns since when the caller
        waits for a sound.
        """
        if state == "greeting":
            return self.to(1_600 + offset_ms).cut()
        if state == "silent":
            self.to(5_600 + offset_ms).cut()
            self.to(self.cut_ms + 300).says()
            return self.call.now_ms + 800
        self.to(5_500).says()
        if state == "caller speaks":
            self.to(5_800 + offset_ms // 4).cut()
            return 5_500 + 800
        self.to(6_500)
        if state == "speaking":
            self.to(8_000 + offset_ms)
        elif state == "tool":
            while not self.call.log(m.ToolWanted):
                self.to(self.call.now_ms + 20)
            self.to(self.call.now_ms + offset_ms)
        return self.cut()

    def cut(self) -> int:
        self.cut_ms = self.call.now_ms
        self.call.lose_model()
        return self.cut_ms

    def first_sound_ms(self, since_ms: int) -> int:
        """From then until the caller hears something new, by loudness: what was on the line is over first."""
        heard, from_ms = self.phone.heard, since_ms - (self.phone.started_ms or 0)
        loud = [is_audible_block(heard[at : at + 160]) for at in range(from_ms * 8, len(heard) - 160, 160)]
        left = loud.index(False)
        assert left * 20 <= LEFT_MS, left
        return 20 * loud.index(True, left) if True in loud[left:] else 10**9

    @property
    def told(self) -> list[tuple[str, str]]:
        """The history that the second was given."""
        if not self.to_live:
            return self.realtime[0].history
        given = self.live[0].log[0]["session"].get("input", [])
        return [(one["role"], one["content"][0]["text"]) for one in given]

    @property
    def greets(self) -> bool:
        """Whether the second was asked to greet."""
        asked = self.live[0].log if self.to_live else self.realtime[0].got
        kinds = ("response.create", "session.commentary.append")
        return any(GREETING in json.dumps(one) for one in asked if one["type"] in kinds)

    @property
    def spent_micro_usd(self) -> float:
        """What both have counted."""
        tokens = sum(cost_micro_usd(one, TOKENS) for server in self.realtime for one in server.usd)
        return tokens + sum(1e6 * 0.05 * (server.over_ms - server.began_ms) / 60_000 for server in self.live)


def whole(talk: Talk) -> None:
    """The call ends; then what holds of each call holds."""
    talk.call.from_phone(talk.phone.hang_up(talk.call.now_ms))
    assert talk.call.run() is not None
    assert [error for server in talk.live for error in server.errors] == []
    result = replay(talk.lines, strict=True, parts=Parts(upstreams=UPSTREAMS))
    assert result.difference is None, describe(result.difference)
    assert result.outputs == talk.lines
    billed = talk.call.call.stats.cost_micro_usd
    assert billed == pytest.approx(talk.spent_micro_usd, abs=1e6 * 0.05 / 60)  # to the second


@pytest.mark.parametrize(("to", "state", "offset_ms"), CALLS)
def test_the_other_goes_on_with_what_was_heard(to: str, state: str, offset_ms: int) -> None:
    talk = Talk(to, tool=state == "tool")
    since_ms = talk.bring_to(state, offset_ms)
    if state == "tool":
        (wanted,) = talk.call.log(m.ToolWanted)
        result = m.ToolFinished(wanted.call_id, '{"open":"9-17"}')
        talk.call.at(talk.cut_ms + 400, lambda: talk.call.feed(result))
    talk.to(talk.cut_ms + 8_000)
    assert (len(talk.realtime), len(talk.live)) == (1, 1)
    assert len([one for one in talk.call.log(m.Noted) if one.what == FAILED_OVER]) == 1
    assert talk.first_sound_ms(since_ms) < LATE_MS
    assert len(talk.call.log(m.ToolWanted)) == (state == "tool")
    spoken = [one.heard for one in talk.call.log(m.Spoken) if one.heard]
    assert talk.greets is (state == "greeting" and not spoken)
    told = [text for role, text in talk.told if role == "assistant"]
    assert told == spoken[: len(told)]
    if state != "greeting":
        assert told[0] == GREETING
    if state == "speaking":
        assert len(told) == 2
        assert ANSWER.startswith(told[1])
    whole(talk)


@pytest.mark.virtual
def test_a_turn_is_told_once_and_with_its_words_after_gpt_live_too() -> None:
    talk = Talk("openai")
    talk.bring_to("silent", 0)
    talk.to(talk.cut_ms + 9_000)
    assert [turn.text for turn in talk.call.log(m.Turn)] == ["Opening hours?"]


def test_a_voice_that_gpt_live_does_not_have_costs_one_more_dial() -> None:
    """It refuses the whole session, and its socket dies of that."""
    talk = Talk("gpt-live", voice="onyx", redials=1)
    since_ms = talk.bring_to("speaking", 700)
    talk.to(talk.cut_ms + 8_000)
    assert talk.first_sound_ms(since_ms) < LATE_MS
    refused, taken = (server.log[0]["session"]["audio"] for server in talk.live)
    assert refused["output"] == {"voice": "onyx"}
    assert "output" not in taken


@pytest.mark.virtual
@pytest.mark.parametrize(("stall_ms", "leaves"), [(1_400, True), (600, False)])
def test_a_stream_that_lags_for_long_is_left_when_it_is_quiet(stall_ms: int, leaves: bool) -> None:
    """The model speaks for 28 s without a pause, so the lag of a stall stays."""
    talk = Talk("openai", stall_ms=stall_ms)
    talk.to(40_000)
    notes = [one.detail for one in talk.call.log(m.Noted) if one.what == FAILED_OVER]
    assert notes == (["the first -> openai: its sound lags"] if leaves else [])
    assert [one for one in talk.call.log(m.Spoken) if one.cut] == []
    assert len(talk.realtime) == leaves
    whole(talk)


def test_a_result_that_comes_while_the_other_begins_is_told_and_answered() -> None:
    """Its session was configured without it, and a fact alone is answered by nothing."""
    talk = Talk("gpt-live", tool=True)
    talk.bring_to("tool", 700)
    (wanted,) = talk.call.log(m.ToolWanted)
    talk.call.at(talk.cut_ms + 400, lambda: talk.call.feed(m.ToolFinished(wanted.call_id, "nine to five")))
    talk.to(talk.cut_ms + 3_000)
    assert all("nine to five" not in text for _, text in talk.told)
    appends = [one for one in talk.live[0].log if one["type"].endswith(".append") and "content" in one]
    assert [(one["type"].split(".")[1], one["content"]) for one in appends] == [
        ("thinking", 'Tool hours with {"day": "mon"} returned nine to five'),
        ("commentary", "Answer the caller now."),
    ]
