"""A recorded caller on a call of today: the same words at the same anchors, and no code of the user's."""

from __future__ import annotations

import asyncio
import dataclasses
import functools
import itertools
import random
import struct
import threading
import time
from pathlib import Path

import msgspec
import pytest

from bridge import Agent, Session, hang_up, stop_calling, tool
from bridge.codecs.g711 import pcm_to_pcmu
from bridge.core import messages as m
from bridge.doubles.agents import Asked, Output, Speech, ToolCall
from bridge.doubles.options import ServerOptions
from bridge.doubles.phone import PhoneOptions
from bridge.doubles.tones import tone
from bridge.errors import ConfigError
from bridge.experiments.shadow_facts import Run, figures, silences, similarity, told_again, values
from bridge.experiments.shadow_run import Arm, Embedded, config_of, run_embedded
from bridge.experiments.stubs import stub_of
from bridge.recording import Recorder
from bridge.recording.caller_script import Anchor, CallerScript, Kind, ToolAnswer, canonical
from bridge.recording.recorded_tools import MISSING, RecordedTools
from bridge.recording.script_reader import caller_script, trimmed
from bridge.testing import begin
from bridge.testing.answered_from import answered_from, run_for_real, tools_of
from bridge.upstreams import UPSTREAMS
from tests import live_call
from tests.experiments.kit import AGENT, Restaurant, recorded_call


class Curt(Restaurant):
    """Says one word."""

    def _says(self, _text: str) -> Speech:
        return super()._says("No.")


class Mute(Restaurant):
    """Says nothing."""

    def _answer(self, _asked: Asked) -> list[Output]:
        return []


def played(script: CallerScript, agent: Agent | None = AGENT, **mind: object) -> Run:
    model = Embedded(lambda _seed: Restaurant(**mind))  # type: ignore[arg-type]
    return run_embedded("call", script, Arm("new", agent), model)


def onset_errors(script: CallerScript, run: Run) -> list[int]:
    """By how much the caller's turns begin elsewhere, on the recorded call's own clock."""
    says = [act for act in script.acts if act.kind is Kind.SAYS]
    return [begins - act.at_ms for (begins, _), act in zip(run.acts, says, strict=True)]


@functools.cache
def recorded_script(seed: int = 2) -> CallerScript:
    return caller_script(recorded_call(seed))


def test_an_unchanged_agent_has_the_same_call_again() -> None:
    script = recorded_script()
    for agent in (None, AGENT):
        run = played(script, agent)
        assert onset_errors(script, run) == [0] * 4
        found = values(run, script)
        assert (found["tools_equal"], found["similarity"], found["figures_told"]) == (1, 1, 1)
        assert run.cost_micro_usd == script.stats.cost_micro_usd
        assert len({one.at_ms for one in script.stats.barge_ins}) == run.barge_ins
        assert run.length_ms == pytest.approx(script.end_ms, abs=10)
        assert run == played(script, agent)


def test_anchors_hold_though_the_recorded_network_was_slow() -> None:
    phone = PhoneOptions(
        delay_out_ms=itertools.cycle((45, 80, 60, 70, 52)), delay_back_ms=itertools.cycle((70, 50, 61))
    )
    script = caller_script(recorded_call(3, phone=phone))
    run = played(script)
    # Both calls are as long: what the network took is in the caller's gaps, once.
    assert all(abs(error) <= 40 for error in onset_errors(script, run))
    assert run.barge_ins == len({one.at_ms for one in script.stats.barge_ins})


def test_a_script_says_who_spoke_when() -> None:
    script = recorded_script()
    assert [act.kind for act in script.acts] == [Kind.SAYS] * 4 + [Kind.HANGS_UP]
    assert {act.anchor for act in script.acts} == {Anchor.GAP, Anchor.BARGE}
    assert script.acts[0].words == "please book a table"
    assert all(act.noticed and 480 <= act.length_ms <= 1200 for act in script.acts[:-1])
    assert [answer.output for answer in script.tools] == ['{"booked": "Monday", "people": 2}'] * len(
        script.tools
    )
    assert {answer.ms for answer in script.tools} == {400}


def test_a_slow_model_moves_the_turns_behind_it() -> None:
    script = recorded_script()
    slow = played(script, think_ms=700)
    felt, usual = values(slow, script)["felt_p50_ms"], values(played(script), script)["felt_p50_ms"]
    assert felt == pytest.approx((usual or 0) + 700, abs=60)
    moved = onset_errors(script, slow)
    assert moved[0] == pytest.approx(700, abs=20)  # the greeting
    assert moved == sorted(moved)


def test_a_dropped_tool_is_missing_in_the_run() -> None:
    script = recorded_script()
    run = played(script, AGENT.replace(tools=[]))
    assert run.tools == ()
    assert values(run, script)["tools_equal"] == 0


def test_other_arguments_are_not_in_the_recording() -> None:
    script = recorded_script()
    run = played(script, day="Sunday")
    assert run.unanswered == len(run.tools) > 0
    assert values(run, script)["tools_equal"] == 0
    assert any("That failed." in text for text in run.generated)


def test_a_short_answer_makes_an_interruption_moot() -> None:
    script = recorded_script()
    assert any(act.anchor is Anchor.BARGE for act in script.acts)
    run = run_embedded("call", script, Arm("new", AGENT), Embedded(lambda _seed: Curt()))
    assert run.moot == sum(act.anchor is Anchor.BARGE for act in script.acts)
    assert len(run.acts) == 4
    assert run.completed


def test_without_an_answer_the_caller_goes_on() -> None:
    script = recorded_script()
    run = run_embedded("call", script, Arm("new", AGENT.replace(greeting="")), Embedded(lambda _seed: Mute()))
    assert run.no_answer > 0
    assert run.silences > 0


def test_keys_have_anchors_too() -> None:
    call = begin(recording={"sound": True, "keys": True})
    call.at(1000)
    call.model.speaks("Press one.", ms=1000)
    call.at(2600)
    call.caller.presses("1")
    call.at(4000)
    call.caller.hangs_up()
    script = caller_script(call.lines)
    assert [(act.kind, act.digits, act.anchor, act.ms) for act in script.acts] == [
        (Kind.PRESSES, "1", Anchor.GAP, 600),
        (Kind.HANGS_UP, "", Anchor.PAUSE, 1400),
    ]


def test_a_caller_who_hangs_up_while_we_speak_does_so_again() -> None:
    call = begin(recording={"sound": True})
    call.at(1000)
    call.model.speaks("We are open from nine to five.", ms=3000)
    call.at(2500)
    call.caller.hangs_up()
    [act] = caller_script(call.lines).acts
    assert (act.kind, act.anchor) == (Kind.HANGS_UP, Anchor.BARGE)
    assert act.ms == pytest.approx(1500, abs=5)


def test_a_key_that_the_recording_hides_is_not_pressed() -> None:
    call = begin(recording={"sound": True})
    call.at(1000)
    call.caller.presses("1")
    call.at(2000)
    call.caller.hangs_up()
    script = caller_script(call.lines)
    assert [act.digits for act in script.acts if act.digits] == [m.HIDDEN_KEY]
    assert played(script, AGENT).completed


def test_speech_that_was_not_noticed_is_kept() -> None:
    call = begin(recording={"sound": True}, model=ServerOptions(delta_bytes=(1600,), min_speech_ms=400))
    call.at(1000)
    call.model.speaks("We are open from nine to five.", ms=3000)
    call.at(2010)
    call.caller.says(tone(200))
    call.at(9000)
    call.caller.hangs_up()
    script = caller_script(call.lines)
    assert [(act.kind, act.noticed, act.anchor) for act in script.acts] == [
        (Kind.SAYS, False, Anchor.BARGE),
        (Kind.HANGS_UP, True, Anchor.GAP),
    ]


def test_tools_answer_in_turn_and_the_last_answer_stays() -> None:
    tools = RecordedTools(
        [ToolAnswer("look", canonical('{"b": 1, "a": 2}'), text) for text in ("first", "second")]
    )
    asked = [tools.answer("look", '{"a":2,"b":1}').output for _ in range(3)]
    assert asked == ["first", "second", "second"]
    assert tools.answer("look", '{"a":3}').output == MISSING
    assert tools.unanswered == 1


def test_an_agent_with_a_handler_is_refused() -> None:
    async def handler(_session: object) -> None: ...

    with pytest.raises(ConfigError, match="has a handler"):
        answered_from(AGENT.replace(handler=handler), RecordedTools(()).answer)


def test_what_runs_in_a_shadow_call() -> None:
    ran: list[object] = []

    @tool(needs_approval=True)
    def pay(amount: int) -> str:
        """Pay."""
        ran.append(amount)
        return "paid"

    async def approve(_session: object, asked: object) -> bool:
        ran.append(asked)
        return True

    agent = AGENT.replace(
        tools=[*AGENT.tools, pay],
        approve=approve,
        on_end=ran.append,
        resolver=ran.append,
    )
    run = played(recorded_script(), agent)
    assert run.tools
    assert ran == []


def test_figures_are_what_must_be_told_again() -> None:
    assert figures(["It is 12.50, from nine to five, for one."]) == {"12.50", "9", "5"}
    assert told_again(["12.50 from nine"], ["from 9: 13.50"]) == 0.5
    assert told_again(["no figure"], ["12"]) is None


def test_similarity_and_silences() -> None:
    assert similarity(["a b c d"], ["a b x d"]) == 0.75
    assert similarity([], []) is None
    loud, quiet = bytes([0x10]) * 8 * 1000, b"\xff" * 8 * 4000
    assert silences(loud + quiet + loud + quiet, []) == 2
    assert silences(loud + quiet + loud, [(2000, 3000)]) == 0


def line_noise(ms: int, amplitude: int) -> bytes:
    """Of a line, as samples of this standard deviation: 300 are -41 dBFS."""
    dice = random.Random(ms)
    return pcm_to_pcmu(struct.pack(f"<{ms * 8}h", *(round(dice.gauss(0, amplitude)) for _ in range(ms * 8))))


@pytest.mark.parametrize("amplitude", [100, 600])
def test_noise_is_taken_off_both_ends(amplitude: int) -> None:
    sound = line_noise(300, amplitude) + tone(800) + line_noise(500, amplitude)
    lead, kept = trimmed(sound)
    assert (lead, len(kept)) == (2_400, 6_400)


def test_the_noise_of_a_line_is_no_speech() -> None:
    deaf = ServerOptions(delta_bytes=(1600,), min_speech_ms=60_000)
    call = begin(recording={"sound": True}, model=deaf)
    noise = line_noise(6_000, 600)
    call.rehearsal.from_phone(call.phone.say(noise + tone(400) + noise, call.now_ms))
    call.at(12_000)
    call.caller.hangs_up()
    [act] = [act for act in caller_script(call.lines).acts if act.kind is Kind.SAYS]
    assert not act.noticed
    assert act.length_ms == pytest.approx(400, abs=40)


def test_silence_is_taken_off_both_ends() -> None:
    loud = bytes([0x10, 0x90]) * 800
    assert trimmed(b"\xff" * 400 + loud + b"\xff" * 4000) == (400, loud)
    assert trimmed(b"\xff" * 400)[1] == b""


class Clerk(Restaurant):
    """Hands the caller on, and hangs up in the third turn."""

    def _answer(self, asked: Asked) -> list[Output]:
        if asked.tool_output is not None:
            return [self._says(str(asked.session["instructions"])[:20])]
        turns = sum(item.role == "user" for item in asked.items)
        if turns == 1:
            return [ToolCall("hand_off_to_billing", {})]
        return [self._says("Goodbye."), ToolCall("hang_up", {})] if turns == 3 else super()._answer(asked)


@pytest.mark.parametrize("as_recorded", [True, False])
def test_hand_offs_and_hanging_up_are_done(as_recorded: bool) -> None:
    billing = Agent("You are billing.", name="billing", tools=[hang_up])
    front = Agent("You are the front.", name="front", greeting="Hi.", handoffs=[billing], tools=[hang_up])
    script = caller_script(recorded_call(1, agent=front, mind=Clerk(), turns=3))
    arm = Arm("arm", None if as_recorded else front)
    run = run_embedded("call", script, arm, Embedded(lambda _seed: Clerk()))
    assert run.ended == "we hung up"
    assert [name for name, _ in run.tools] == ["hand_off_to_billing", "hang_up"]
    assert run.generated == script.generated
    assert "You are billing." in run.generated
    assert (run.completed, run.length_ms) == (True, script.end_ms)


def test_a_module_answers_tools_in_the_place_of_the_recording(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "shadow_stubs.py").write_text("def book(day, people):\n    return f'{people} on {day}'\n")
    monkeypatch.syspath_prepend(tmp_path)
    stub = stub_of("stub:shadow_stubs")
    script = recorded_script()
    for agent in (None, AGENT):
        arm = Arm("arm", agent, stub=stub)
        run = run_embedded("call", script, arm, Embedded(lambda _seed: Restaurant(day="Sunday")))
        assert (run.unanswered, run.tool_errors) == (0, 0)
        assert run.tools
    assert (
        stub("book", '{"day": 1}')
        == '{"error": "The arguments do not fit: book() missing 1 required positional argument: \'people\'"}'
    )
    assert stub("another", "{}") is None
    with pytest.raises(ConfigError, match="stub:module"):
        stub_of("live")


def test_a_configuration_is_for_the_vendor_that_answers() -> None:
    script = recorded_script()
    xai = msgspec.structs.replace(
        script.header.config, capabilities=UPSTREAMS["xai"].capabilities, failover=(m.VendorPlan("xai"),)
    )
    header = msgspec.structs.replace(script.header, upstream="xai", config=xai)
    elsewhere = dataclasses.replace(script, header=header)
    assert played(elsewhere).tools == played(script).tools
    _, config = config_of(elsewhere, Arm("control"), "openai")
    assert (config.capabilities, config.failover) == (UPSTREAMS["openai"].capabilities, ())
    assert config.session.model == UPSTREAMS["openai"].model


async def asked_over_a_socket(answer: bytes) -> str:
    """What a server on this machine says."""

    async def serve(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(0.05)
        writer.write(answer)
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname()[:2])
        found = await reader.read()
        writer.close()
        return found.decode()


@pytest.mark.virtual
def test_live_tools_run_for_real_and_take_their_time() -> None:
    ran: list[object] = []

    @tool
    async def book(session: Session, day: str, people: int) -> str:
        """Book a table."""
        ran.append((session.fields.get("branch"), day, people))
        return await asked_over_a_socket(b"booked")

    @tool
    def in_a_thread(day: str, people: int) -> str:
        """Book a table."""
        ran.append(threading.current_thread() is threading.main_thread())
        time.sleep(0.05)
        return f"{day}: {people}"

    in_a_thread.name = "book"
    script = caller_script(recorded_call(2, turns=1, parameters={"branch": "north"}))
    usual = played(script)
    for one, expected in ((book, ("north", "Sunday", 2)), (in_a_thread, False)):
        arm = Arm("new", AGENT.replace(tools=[one]), live=True)
        run = run_embedded("call", script, arm, Embedded(lambda _seed: Restaurant(day="Sunday")))
        assert ran == [expected]
        assert (run.unanswered, run.tool_errors) == (0, 0)
        assert "It is booked, and costs 12.50 a head." in run.generated
        assert usual.felt_ms[0] - 400 + 40 < run.felt_ms[0] < usual.felt_ms[0] + 200
        ran.clear()


def test_live_tools_that_a_person_approves_of_answer_from_the_recording() -> None:
    @tool(needs_approval=True)
    def book(day: str, people: int) -> str:
        """Book a table."""
        raise AssertionError(f"it has run: {day}, {people}")

    agent = AGENT.replace(tools=[book, stop_calling, hang_up], approve=lambda _session, _asked: True)
    arm = Arm("new", agent, live=True)
    assert not any(map(run_for_real, tools_of(agent)))
    run = run_embedded("call", recorded_script(), arm, Embedded(lambda _seed: Restaurant()))
    assert run.tools
    assert (run.unanswered, run.tool_errors) == (0, 0)


def test_a_caller_of_a_model_that_sees_no_turns_has_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live_call, "Recorder", functools.partial(Recorder, sound=True))
    call = live_call.LiveCall(Speech(1_500, "Hello."), Speech(2_000, "We close at ten."), Speech(900, "Bye."))
    call.at(4_000).says("When do you close?")
    call.at(9_000).says("Thank you")
    call.at(13_000)
    call.call.from_phone(call.call.phone.hang_up(call.call.now_ms))
    script = caller_script(call.lines)
    assert [(act.words, act.noticed) for act in script.acts[:-1]] == [
        ("When do you close?", False),
        ("Thank you", False),
    ]
    run = played(script)
    assert run.completed
    assert "We are open from nine to five, every day of the week." in run.generated


def test_a_model_without_a_price_is_not_cheaper() -> None:
    script = recorded_script()
    assert values(played(script), script)["cost_usd"] == pytest.approx(script.stats.cost_micro_usd / 1e6)
    assert values(played(script, AGENT.replace(model="of-tomorrow")), script)["cost_usd"] is None
