"""A call that goes on with another vendor: two servers, one phone, in virtual time.

What the caller hears is measured by loudness at the phone, what the second vendor was told is read from its
own frames, and what the caller had heard of the first from the sound that the phone played.
"""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass, field
from typing import Any

import msgspec
import pytest

from bridge.codecs.audible import is_audible_block
from bridge.core import messages as m
from bridge.core.failover import FAILED_OVER
from bridge.core.limits import cost_micro_usd
from bridge.core.playout import UNTOLD
from bridge.core.upstream_leg import Leg
from bridge.doubles.agents import Asked, Output, Speech, ToolCall
from bridge.doubles.options import ServerOptions
from bridge.doubles.phone import Phone, PhoneOptions
from bridge.doubles.realtime import RealtimeServer
from bridge.doubles.tones import tone
from bridge.ops import logs
from bridge.picture.facts import facts, hero
from bridge.picture.story import tell
from bridge.recording import Header, Parts, Recorder, describe, replay
from bridge.recording.outcome import outcome
from bridge.settings.settings import load_settings
from bridge.sounds.phrases import Phrases
from bridge.testing.call import usual_config
from bridge.testing.virtual_call import VirtualCall
from bridge.upstreams import UPSTREAMS, OpenAI

PRICES_A = {"audio_out": 64.0, "text_out": 24.0, "audio_in": 32.0, "text_in": 4.0}
PRICES_B = {name: 10 * usd for name, usd in PRICES_A.items()}
PLAN_B = m.VendorPlan("b", model="deployment-b", voice="ash", prices=PRICES_B)
LATE_MS = 3_000
GREETING = "Good morning, this is the office of Doctor Miller."
ANSWER = "We are open from nine to five, and closed on Sunday, as every week."
STATES = ("greeting", "silent", "caller speaks", "owed", "speaking", "tool")


QUICK = (("greeting", 0, False), ("speaking", 700, True), ("tool", 0, False))
MATRIX = [
    pytest.param(
        state, offset_ms, hangs, marks=() if (state, offset_ms, hangs) in QUICK else pytest.mark.virtual
    )
    for state in STATES
    for offset_ms in (0, 700)
    for hangs in (False, True)
]
"""A is cut in this state, this much further on, and refuses the redial, or takes it and says nothing."""


class Mind:
    """Says these things in turn; after them something short, as often as it is asked."""

    def __init__(self, *replies: list[Output]) -> None:
        self.replies = list(replies)
        self.asked: list[Asked] = []

    def answer(self, asked: Asked) -> list[Output]:
        self.asked.append(asked)
        return self.replies.pop(0) if self.replies else [Speech(tone(900, 700), "Certainly.")]


class Server(RealtimeServer):
    """Keeps what it was told, and sent."""

    def __init__(self, mind: Mind, **options: Any) -> None:
        super().__init__(mind, ServerOptions(**options))
        self.mind = mind
        self.got: list[dict[str, Any]] = []
        self.said: list[dict[str, Any]] = []

    def receive(self, frame: str | bytes, now_ms: int) -> list[str]:
        self.got.append(json.loads(frame))
        return self._kept(super().receive(frame, now_ms))

    def open(self, now_ms: int, model: str = "") -> list[str]:
        return self._kept(super().open(now_ms, model))

    def wake(self, now_ms: int) -> list[str]:
        return self._kept(super().wake(now_ms))

    def _kept(self, frames: list[str]) -> list[str]:
        self.said += [json.loads(frame) for frame in frames]
        return frames

    @property
    def history(self) -> list[tuple[str, str]]:
        """The conversation that it was told before it was asked for anything."""
        told = []
        for frame in self.got:
            if frame["type"] == "response.create":
                break
            if frame["type"] == "conversation.item.create" and frame["item"]["type"] == "message":
                told.append((frame["item"]["role"], frame["item"]["content"][0]["text"]))
        return told

    @property
    def usd(self) -> list[m.Usage]:
        """What it has counted, by its own frames."""
        counted = []
        for frame in self.said:
            if frame["type"] == "response.done" and (usage := frame["response"]["usage"]):
                into, out = usage["input_token_details"], usage["output_token_details"]
                cached = into.get("cached_tokens_details", {})
                counted.append(
                    m.Usage(
                        into["text_tokens"], into["audio_tokens"], 0,
                        cached.get("text_tokens", 0), cached.get("audio_tokens", 0), 0,
                        out["text_tokens"], out["audio_tokens"],
                    )
                )  # fmt: skip
        return counted


@dataclass
class Talk:
    """One call, vendor A first."""

    back: bool = False
    """Whether A can be had again after it was cut."""
    hangs: bool = False
    """Its socket opens again, and no session comes of it."""
    failover: tuple[m.VendorPlan, ...] = (PLAN_B,)
    b_is_down: bool = False
    options: dict[str, Any] = field(default_factory=dict)
    latency_ms: int = 200

    def __post_init__(self) -> None:
        self.a: list[Server] = []
        self.b: list[Server] = []
        self.cut_ms = 0
        self.lines: list[str] = []
        config = usual_config(
            session=m.SessionConfig(transcription="gpt-4o-mini-transcribe"),
            greeting=GREETING,
            prices=PRICES_A,
            failover=self.failover,
            **{"phrases": {}, **self.options},
        )
        recorder = Recorder(self.lines.append, Header(carrier="twilio", upstream="openai", config=config))
        self.phone = Phone(options=PhoneOptions())
        self.call = VirtualCall(config, self.phone, self._new_a, recorder=recorder, dial_ms=60)
        self.call.others = {"b": (self._new_b, OpenAI)}
        self.minds = [Mind([Speech(tone(3_000), GREETING)], [Speech(tone(4_000), ANSWER)])]

    def _new_a(self) -> Server | None:
        if self.a and self.hangs:
            return Server(Mind(), withhold=frozenset({"session.created"}))
        if self.a and not self.back:
            return None
        mind = self.minds[0] if not self.a else Mind()
        self.a.append(Server(mind, latency_ms=self.latency_ms))
        return self.a[-1]

    def _new_b(self, **options: Any) -> Server | None:
        if self.b_is_down:
            return None
        self.b.append(Server(Mind(), latency_ms=200, **options))
        return self.b[-1]

    def to(self, at_ms: int) -> Talk:
        self.call.until(at_ms)
        return self

    def says(self, ms: int = 800) -> None:
        self.call.from_phone(self.phone.say(tone(ms, 500), self.call.now_ms))

    def cut(self) -> None:
        self.cut_ms = self.call.now_ms
        self.call.lose_model()

    def bring_to(self, state: str, offset_ms: int) -> None:
        """The call in that state, and a little further; then A is cut."""
        if state == "tool":
            self.minds[0].replies[1] = [ToolCall("hours", {"day": "mon"})]
        self.call.start()
        if state == "greeting":
            self.to(900 + offset_ms).cut()
            return
        self.to(4_500)
        if state == "silent":
            self.to(4_600 + offset_ms).cut()
            return
        self.says()
        if state == "caller speaks":
            self.to(4_800 + offset_ms // 4).cut()
            return
        self.to(6_000 if state == "owed" else 6_400)
        if state == "speaking":
            self.to(7_000 + offset_ms)
        if state == "goodbye":
            self.call.feed(m.HangUp("done"))
        self.cut()

    def first_sound_ms(self, since_ms: int) -> int:
        """From then until the caller hears something new, by loudness: not what a cut had left in the air."""
        heard, from_ms = self.phone.heard, since_ms - (self.phone.started_ms or 0)
        for at in range(from_ms + 20, len(heard) // 8 - 20, 20):
            if is_audible_block(heard[at * 8 : at * 8 + 160]):
                return at - from_ms
        return 10**9

    @property
    def notes(self) -> list[str]:
        return [note.detail for note in self.call.log(m.Noted) if note.what == FAILED_OVER]


def whole(talk: Talk) -> None:
    """Goes on to the end; then what holds of each call holds."""
    talk.call.feed(m.HangUp("done"))
    assert talk.call.run(talk.call.now_ms + 40_000) is not None
    table = {**UPSTREAMS, "b": UPSTREAMS["openai"]}
    result = replay(talk.lines, strict=True, parts=Parts(upstreams=table))
    assert result.difference is None, describe(result.difference)
    assert result.outputs == talk.lines
    spent = sum(cost_micro_usd(one, PRICES_A) for server in talk.a for one in server.usd)
    spent += sum(cost_micro_usd(one, PRICES_B) for server in talk.b for one in server.usd)
    assert talk.call.call.stats.cost_micro_usd == pytest.approx(spent, abs=2)


@pytest.mark.parametrize(("state", "offset_ms", "hangs"), MATRIX)
def test_a_vendor_that_is_cut_and_cannot_be_had_again_is_replaced(
    state: str, offset_ms: int, hangs: bool
) -> None:
    """Twenty-four calls, in each state and in two ways of being away."""
    talk = Talk(hangs=hangs)
    talk.bring_to(state, offset_ms)
    since_ms = talk.cut_ms
    if state == "tool":
        (wanted,) = talk.call.log(m.ToolWanted)
        result = m.ToolFinished(wanted.call_id, '{"open":"9-17"}')
        talk.call.at(talk.cut_ms + 400, lambda: talk.call.feed(result))
    if state == "silent":
        talk.to(talk.cut_ms + 300)
        talk.says()
        since_ms = talk.call.now_ms + 800
    elif state == "caller speaks":
        since_ms = 4_500 + 800
    talk.to(talk.cut_ms + 8_000)
    assert len(talk.b) == len(talk.notes) == 1
    assert talk.first_sound_ms(since_ms) < LATE_MS
    assert talk.b[0].mind.asked  # there are no phrases here: what sounds is B
    assert len(talk.call.log(m.ToolWanted)) == (state == "tool")
    asked = [json.dumps(frame) for frame in talk.b[0].got if frame["type"] == "response.create"]
    heard_it = any(spoken.heard for spoken in talk.call.log(m.Spoken))
    assert any(GREETING in one for one in asked) is (state == "greeting" and not heard_it)
    told = [text for role, text in talk.b[0].history if role == "assistant"]
    assert told == [spoken.heard for spoken in talk.call.log(m.Spoken) if spoken.heard][: len(told)]
    whole(talk)


def test_the_next_is_told_what_the_caller_has_heard_by_the_sound_of_it() -> None:
    talk = Talk()
    talk.bring_to("speaking", 900)
    talk.to(talk.cut_ms + 4_000)
    heard = talk.phone.heard
    blocks = [is_audible_block(heard[at : at + 160]) for at in range(0, len(heard) - 160, 160)]
    answer_from = 4_500 // 20 + blocks[4_500 // 20 :].index(True)
    loud_ms = 20 * (blocks[answer_from:].index(False))
    told = [text for role, text in talk.b[0].history if role == "assistant"][-1]
    by_ear = len(ANSWER) * loud_ms / 4_000
    assert ANSWER.startswith(told)
    assert abs(len(told) - by_ear) <= max(len(word) for word in ANSWER.split()) + 1
    assert talk.b[0].history[0] == ("assistant", GREETING)
    whole(talk)


def test_one_that_is_back_after_a_cut_goes_on_and_the_other_is_not_billed() -> None:
    talk = Talk(back=True)
    talk.bring_to("speaking", 0)
    talk.to(talk.cut_ms + 6_000)
    assert (len(talk.a), len(talk.b), talk.notes) == (2, 0, [])
    assert talk.first_sound_ms(talk.cut_ms) < LATE_MS
    whole(talk)


def test_one_that_is_lost_twice_in_a_minute_is_replaced_at_once() -> None:
    talk = Talk(back=True)
    talk.bring_to("speaking", 0)
    talk.to(talk.cut_ms + 900).cut()
    talk.to(talk.cut_ms + 3_000)
    assert (len(talk.a), len(talk.b)) == (2, 1)
    assert talk.first_sound_ms(talk.cut_ms) < 1_000
    whole(talk)


def test_the_second_is_dialled_again_where_it_is_lost_once_and_a_third_is_named() -> None:
    """That the first was lost says nothing about it."""
    third = msgspec.structs.replace(PLAN_B, model="deployment-c")
    talk = Talk(failover=(PLAN_B, third))
    talk.bring_to("speaking", 0)
    talk.to(talk.cut_ms + 900).cut()
    talk.to(talk.cut_ms + 3_000)
    assert len(talk.notes) == 1
    assert len(talk.b) == 2
    assert talk.first_sound_ms(talk.cut_ms) < LATE_MS
    whole(talk)


@pytest.mark.parametrize("code", ["insufficient_quota", "model_not_found"])
def test_a_verdict_that_is_final_needs_no_redial(code: str) -> None:
    talk = Talk(back=True)
    talk.call.start()
    talk.to(4_500)
    fault = {"type": "error", "event_id": "e", "error": {"type": code, "code": code, "message": "no"}}
    talk.cut_ms = talk.call.now_ms
    talk.call.from_server([json.dumps(fault)])
    talk.says()
    talk.to(talk.cut_ms + 5_000)
    assert (len(talk.a), len(talk.b)) == (1, 1)
    assert talk.call.ended is None
    assert talk.first_sound_ms(talk.cut_ms + 800) < LATE_MS
    whole(talk)


def test_the_second_is_asked_as_the_plan_says() -> None:
    talk = Talk()
    talk.bring_to("speaking", 0)
    talk.to(talk.cut_ms + 3_000)
    updates = [frame["session"] for frame in talk.b[0].got if frame["type"] == "session.update"]
    assert updates[0]["audio"]["output"]["voice"] == "ash"
    assert any(dial.vendor == "b" for dial in talk.call.log(m.DialUpstream))
    whole(talk)


def test_cuts_that_the_second_cannot_be_told_of_are_marked() -> None:
    """Not those of the first, which could be."""
    mute = msgspec.structs.replace(PLAN_B, capabilities=m.Capabilities(truncates=False))
    talk = Talk(failover=(mute,))
    talk.call.start()
    talk.to(1_500).says(600)  # over the greeting
    talk.to(6_500).cut()
    talk.to(9_000).says()
    talk.to(10_500).says()  # over what the second says
    talk.to(13_000)
    whole(talk)
    assert talk.call.call.stats.cuts_untold == {"b": 1}
    assert [one.detail for one in talk.call.log(m.Noted) if one.what == UNTOLD] == [
        "b believes that all was heard"
    ]
    assert [frame["type"] for frame in talk.b[0].got].count("conversation.item.truncate") == 0
    told = logs.summary(m.Reason.WE_HUNG_UP, talk.call.call.stats)
    assert (told["cuts_not_told"], told["failovers"]) == (1, ["the first -> b"])
    seen = dict(facts(tell(line.replace('"b"', '"embedded"') for line in talk.lines)))
    assert (seen["cuts not told"], seen["gone on with"]) == ("1", "embedded")
    figure, what, _, bad = hero(tell(line.replace('"b"', '"embedded"') for line in talk.lines))
    assert (figure, what, bad) == ("1", "cut not told to the model, over 2 barge-ins", True)
    faults = outcome(line.encode() for line in talk.lines).faults
    assert any(fault.startswith("failed over: the first -> b") for fault in faults)
    assert UNTOLD in faults[-1]


@pytest.mark.parametrize("limps", [False, pytest.param(True, marks=pytest.mark.virtual)])
def test_a_voice_that_the_second_does_not_have_costs_the_voice_and_no_more(limps: bool) -> None:
    """It is refused with all that it was asked for with; the dial and the call go on."""
    talk = Talk()
    talk.call.others["b"] = (lambda: talk._new_b(voices=frozenset({"marin", "verse"})), OpenAI)
    if limps:
        limping(4, 8, talk=talk)
    else:
        talk.bring_to("speaking", 300)
        talk.to(talk.cut_ms + 4_000)
        assert talk.first_sound_ms(talk.cut_ms) < LATE_MS
    assert (len(talk.b), len(talk.notes)) == (1, 1)
    voices = [
        frame["session"]["audio"]["output"].get("voice")
        for frame in talk.b[0].got
        if frame["type"] == "session.update"
    ]
    assert voices[:2] == ["ash", None]
    talk.call.lose_model()  # the next session there is not asked for it again
    talk.to(talk.call.now_ms + 3_000)
    asked = [one.config.voice for one in talk.call.log(m.ConfigureSession)]
    assert asked[-1] == ""
    whole(talk)


def test_where_none_can_be_had_the_caller_is_told_within_eight_seconds() -> None:
    talk = Talk(hangs=True, b_is_down=True, options={"phrases": Phrases().sounds("en")})
    talk.bring_to("speaking", 0)
    talk.to(talk.cut_ms + 8_000)
    assert any(one.what == "the model is out" for one in talk.call.log(m.Noted))
    assert talk.call.run(60_000) is not None


@pytest.mark.virtual
def test_there_is_no_way_back_and_no_third() -> None:
    talk = Talk(failover=tuple(m.VendorPlan(name, prices=PRICES_B) for name in ("b", "c", "d")))
    talk.call.others["c"] = talk.call.others["d"] = talk.call.others["b"]
    talk.bring_to("speaking", 0)
    while talk.call.ended is None and talk.call.now_ms < 60_000:
        talk.to(talk.call.now_ms + 700)
        if talk.call.call.up.state is Leg.READY:
            talk.cut()
    assert [note.partition(":")[0] for note in talk.notes] == ["the first -> b", "b -> c"]
    assert len(talk.a) == 1
    assert talk.call.ended is not None


def test_nothing_is_sent_elsewhere_unless_it_is_named() -> None:
    talk = Talk(failover=())
    talk.bring_to("speaking", 0)
    assert talk.call.run(30_000) is not None
    assert (len(talk.b), talk.notes) == (0, [])
    assert load_settings(insecure=True, env_file=None).call_config().failover == ()


def test_a_goodbye_that_is_being_said_is_not_begun_again_elsewhere() -> None:
    talk = Talk(options={"phrases": Phrases().sounds("en")})
    talk.bring_to("goodbye", 0)
    assert talk.call.run(30_000) is not None
    assert (len(talk.b), talk.notes) == (0, [])
    assert talk.call.ended is not None
    assert talk.call.ended.reason is m.Reason.WE_HUNG_UP


@pytest.mark.virtual
def test_a_vendor_that_limps_is_left_in_a_quiet_moment() -> None:
    talk = Talk(latency_ms=700)
    talk.minds[0].replies = [[Speech(tone(600), "Hi.")]]
    talk.minds[0].replies += [[Speech(tone(600, 300), "Yes.")] for _ in range(20)]
    talk.call.start()
    talk.to(3_000)
    for turn in range(10):
        if turn == 5:
            slow = talk.a[0]
            slow.options = dataclasses.replace(slow.options, latency_ms=4_000)
        talk.says(500)
        talk.to(talk.call.now_ms + 7_500)
    assert (len(talk.a), len(talk.b)) == (1, 1)
    (note,) = talk.notes
    assert "its answers are late" in note
    swapped_ms = next(
        ms for ms, one in talk.call.said if isinstance(one, m.Noted) and one.what == FAILED_OVER
    )
    turns = [
        ms
        for ms, one in talk.call.said
        if isinstance(one, m.CallerSpoke) and one.speaking and ms < swapped_ms
    ]
    assert len(turns) == 8  # five that were quick, three that were not
    cuts = [one for one in talk.call.log(m.Spoken) if one.cut]
    assert cuts == []
    whole(talk)


@pytest.mark.virtual
@pytest.mark.parametrize(
    ("second", "fourth", "why"),
    [
        ([], [], "its responses come to nothing"),
        ([], [Speech(tone(600, 300), "Yes.")], ""),
        ([Speech(b"\xff" * 16_000, "Hello, how can I help you?")], [], "it could not be heard"),
    ],
    ids=["empty twice", "empty once", "not to be heard"],
)
def test_a_vendor_whose_answers_are_none_is_left_in_a_quiet_moment(
    second: list[Output], fourth: list[Output], why: str
) -> None:
    """Each of them is asked for again, and answered: the caller waits, and the call goes on."""
    talk = Talk()
    yes: list[Output] = [Speech(tone(600, 300), "Yes.")]
    talk.minds[0].replies = [[Speech(tone(600), "Hi.")], second, yes, fourth, *([yes] * 6)]
    talk.call.start()
    talk.to(3_000)
    for _ in range(3):
        talk.says(500)
        talk.to(talk.call.now_ms + 7_500)
    assert [note.partition(": ")[2] for note in talk.notes] == ([why] if why else [])
    assert len(talk.a) == 1
    assert len(talk.b) == bool(why)
    assert talk.call.ended is None
    whole(talk)


def limping(quick_turns: int, turns: int, *failover: m.VendorPlan, talk: Talk | None = None) -> Talk:
    """A call with so many turns that are answered quickly by the first vendor; all others are late there."""
    talk = talk or Talk(latency_ms=700, failover=failover or (PLAN_B,))
    talk.latency_ms = 700
    talk.call.others.setdefault("c", talk.call.others["b"])
    talk.minds[0].replies = [[Speech(tone(600), "Hi.")]]
    talk.minds[0].replies += [[Speech(tone(600, 300), "Yes.")] for _ in range(20)]
    talk.call.start()
    talk.to(3_000)
    for turn in range(turns):
        if turn == quick_turns:
            talk.a[0].options = dataclasses.replace(talk.a[0].options, latency_ms=4_000)
        talk.says(500)
        talk.to(talk.call.now_ms + 7_500)
    return talk


@pytest.mark.virtual
def test_one_that_limps_early_is_left_after_three_late_turns() -> None:
    """What is usual is what was usual before."""
    talk = limping(1, 5)
    assert len(talk.notes) == 1
    assert len([turn for turn in talk.call.call.stats.turn_times if turn.delta_ms]) == 5
    whole(talk)


@pytest.mark.virtual
def test_the_second_does_not_limp_for_what_was_late_with_the_first() -> None:
    plans = tuple(m.VendorPlan(name, prices=PRICES_B) for name in ("b", "c"))
    talk = limping(5, 8, *plans)
    assert len(talk.notes) == 1
    talk.to(talk.call.now_ms + 150_000)  # in which the caller says nothing
    assert len(talk.notes) == 1
    whole(talk)


@pytest.mark.virtual
def test_one_that_is_always_slow_does_not_limp() -> None:
    talk = Talk(latency_ms=3_500)
    talk.minds[0].replies = [[Speech(tone(600, 300), "Yes.")] for _ in range(20)]
    talk.call.start()
    talk.to(5_000)
    for _ in range(7):
        talk.says(500)
        talk.to(talk.call.now_ms + 7_500)
    assert (len(talk.a), len(talk.b)) == (1, 0)
    whole(talk)


OTHER = m.VendorPlan("c", prices=PRICES_B)


@pytest.mark.parametrize("named", [(PLAN_B,), (), (OTHER, PLAN_B)], ids=["the same", "none", "another"])
def test_another_process_goes_on_with_the_vendor_that_it_was(named: tuple[m.VendorPlan, ...]) -> None:
    """Whatever is named there; and never back to it from a further one."""
    talk = Talk()
    talk.bring_to("speaking", 0)
    talk.to(talk.cut_ms + 6_000)
    carried = talk.call.call.carried(talk.call.now_ms)
    assert [plan.name for plan in carried.vendors] == ["b"]
    carried = msgspec.json.decode(msgspec.json.encode(carried), type=m.CallSnapshot)
    config = msgspec.structs.replace(talk.call.call.config, carried=carried, failover=named)
    later = VirtualCall(config, Phone(options=PhoneOptions()), lambda: None)
    later.others = {"b": (talk._new_b, OpenAI)}
    later.start()
    later.until(2_000)
    later.from_phone(later.phone.say(tone(800, 500), later.now_ms))
    later.until(8_000)
    assert len(talk.b) == 2
    spent = sum(cost_micro_usd(one, PRICES_B) for one in talk.b[1].usd)
    assert later.call.stats.cost_micro_usd == spent > 0
    assert next(text for role, text in talk.b[1].history if role == "assistant") == GREETING
    further = later.call.dialling.next
    assert (None if further is None else further.name) == ("c" if OTHER in named else None)
    assert [plan.name for plan in later.call.carried(later.now_ms).vendors] == ["b"]


def test_a_call_that_was_carried_here_waits_no_longer_for_a_vendor_that_says_nothing() -> None:
    """The caller is on the line, no phone rings."""
    talk = Talk(hangs=True)
    talk.bring_to("speaking", 300)
    config = msgspec.structs.replace(
        talk.call.call.config, carried=talk.call.call.carried(talk.call.now_ms), phrases={}
    )
    later = VirtualCall(config, Phone(options=PhoneOptions()), talk._new_a)
    later.others = {"b": (talk._new_b, OpenAI)}
    later.start()
    later.until(2_000)
    assert len(talk.b) == 1
    assert talk.b[0].mind.asked
