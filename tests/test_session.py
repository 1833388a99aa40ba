"""A session: every method, what it wishes of the core, when it returns, and what it raises."""

from __future__ import annotations

import asyncio
import functools
import json
import logging
import struct
from base64 import b64decode
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from bridge.agents.agent import Agent
from bridge.agents.clips import sound_of
from bridge.agents.inputs import Digit, Said, Silence, Turn
from bridge.agents.loop import CALL_SID  # type: ignore[attr-defined]
from bridge.agents.queues import Feed
from bridge.agents.session import Session
from bridge.codecs.g711 import pcm_to_pcma, pcm_to_pcmu, pcmu_to_pcm
from bridge.core import messages as m
from bridge.doubles.tones import tone
from bridge.errors import CallEnded
from tests.agents.door import Door, heard, settled
from tests.agents.virtual_time import run

Work = Coroutine[Any, Any, Any]


def on_a_call(work: Callable[[Door, Session], Work], agent: Agent | None = None, **door: Any) -> Any:
    """Run it with a live session, in virtual time."""

    async def call() -> Any:
        live = await Door(agent or Agent(), **door).begin()
        return await work(live, live.session)

    return run(call())


def soon(work: Work) -> asyncio.Task[Any]:
    return asyncio.get_running_loop().create_task(work)


# --- speaking -----------------------------------------------------------------------------------------------


def test_say_returns_when_it_was_heard() -> None:
    async def work(door: Door, session: Session) -> None:
        saying = soon(session.say("Hello."))
        wish = await door.next(m.Say)
        assert wish == m.Say("say:1", "Hello.", True)
        await asyncio.sleep(10)
        assert not saying.done()
        door.tell(heard(wish, "Hello.", 600))
        assert await saying == Said(600, cut=False, text="Hello.")

    on_a_call(work)


def test_each_say_hears_of_its_own() -> None:
    async def work(door: Door, session: Session) -> None:
        one, two = soon(session.say("One.")), soon(session.say("Two."))
        first, second = await door.next(m.Say), await door.next(m.Say)
        door.tell(heard(second, "Two."), heard(first, "On", 100, cut=True))
        assert await one == Said(100, cut=True, text="On")
        assert await two == Said(1_000, cut=False, text="Two.")

    on_a_call(work)


@pytest.mark.parametrize("text", ["", "  \n"])
def test_say_needs_words(text: str) -> None:
    async def work(door: Door, session: Session) -> None:
        with pytest.raises(ValueError, match="needs words"):
            await session.say(text)
        assert door.wishes == []

    on_a_call(work)


def test_a_say_that_nobody_waits_for_any_more_harms_nobody() -> None:
    async def work(door: Door, session: Session) -> None:
        saying = soon(session.say("Hello."))
        wish = await door.next(m.Say)
        saying.cancel()
        await settled()
        door.tell(heard(wish))
        await settled()
        assert session.outbox[0].said == Said(1_000, cut=False)

    on_a_call(work)


def test_respond_adds_instructions_for_this_answer() -> None:
    async def work(door: Door, session: Session) -> None:
        answering = soon(session.respond("Be brief."))
        wish = await door.next(m.Respond)
        assert wish == m.Respond("respond:1", "Be brief.")
        door.tell(heard(wish, "Yes."))
        assert (await answering).text == "Yes."

    on_a_call(work)


def test_interrupt_and_add_text() -> None:
    async def work(door: Door, session: Session) -> None:
        session.interrupt()
        session.add_text("The caller is a regular.", "system")
        session.add_text("I am Ann.")
        await settled()
        assert door.wishes == [
            m.Interrupt(), m.AddText("The caller is a regular.", "system"), m.AddText("I am Ann.", "user"),
        ]  # fmt: skip
        with pytest.raises(ValueError, match="user or system, not 'assistant'"):
            session.add_text("I said so.", "assistant")

    on_a_call(work)


def test_play_in_a_live_call_is_heard_and_stands_in_the_conversation(calls: Any) -> None:
    sound = tone(700)
    said: list[Said] = []

    async def handler(session: Session) -> None:
        said.append(await session.play(sound, "A gong sounds."))
        await asyncio.sleep(1)

    live = calls(Agent(handler=handler))
    live.until_over()
    played, conversation = live.phone.heard, live.model.conversation
    assert sound in played
    assert said == [Said(700, cut=False, text="A gong sounds.")]
    assert conversation == [("assistant", "A gong sounds.")]


def test_play_may_be_protected() -> None:
    async def work(door: Door, session: Session) -> None:
        playing = soon(session.play(b"\x55" * 8, interruptible=False))
        wish = await door.next(m.Play)
        assert wish == m.Play("play:1", m.Sound("VVVVVVVVVVU=", 8), True)
        door.tell(heard(wish, ms=1))
        await playing

    on_a_call(work)


# --- sounds -------------------------------------------------------------------------------------------------


def wav(samples: bytes, hz: int = 8_000, *, kind: int = 1, bits: int = 16, channels: int = 1) -> bytes:
    block = channels * bits // 8
    head = struct.pack("<HHIIHH", kind, channels, hz, hz * block, block, bits)
    parts = b"fmt " + struct.pack("<I", len(head)) + head + b"LIST\x03\0\0\0abc\0"
    parts += b"data" + struct.pack("<I", len(samples)) + samples
    return b"RIFF" + struct.pack("<I", 4 + len(parts)) + b"WAVE" + parts


SOUND = tone(100)
PCM = pcmu_to_pcm(SOUND)


def raw(sound: m.Sound) -> bytes:
    decoded = b64decode(sound.audio)
    assert len(decoded) == sound.size_bytes
    return decoded


@pytest.mark.parametrize(
    "given",
    [
        pytest.param(SOUND, id="raw µ-law"),
        pytest.param(wav(PCM), id="16-bit PCM"),
        pytest.param(wav(SOUND, kind=7, bits=8), id="µ-law in a WAV file"),
        pytest.param(
            wav(b"".join(PCM[i : i + 2] + b"\0\0" for i in range(0, len(PCM), 2)), channels=2), id="stereo"
        ),
    ],
)
def test_a_sound_is_taken_as_it_is(given: bytes) -> None:
    assert raw(sound_of(given)) == SOUND


def test_other_formats_and_rates_are_converted() -> None:
    alaw = raw(sound_of(wav(pcm_to_pcma(PCM), kind=6, bits=8)))
    assert len(alaw) == len(SOUND)
    for hz in (16_000, 24_000):
        samples = b"".join(PCM[i : i + 2] * (hz // 8_000) for i in range(0, len(PCM), 2))
        assert len(raw(sound_of(wav(samples, hz)))) == len(SOUND)


def test_a_file_by_its_path(tmp_path: Path) -> None:
    (tmp_path / "hello.wav").write_bytes(wav(PCM))
    (tmp_path / "hello.ulaw").write_bytes(SOUND)
    assert raw(sound_of(tmp_path / "hello.wav")) == raw(sound_of(str(tmp_path / "hello.ulaw"))) == SOUND
    with pytest.raises(FileNotFoundError):
        sound_of(tmp_path / "none.wav")


@pytest.mark.parametrize(
    ("given", "complaint"),
    [
        (b"", "there is no sound in it"),
        (wav(b""), "there is no sound in it"),
        (b"RIFF\0\0\0\0WAVE", "without format or sound"),
        (b"RIFF\0\0\0\0AVI " + wav(PCM)[12:], "without format or sound"),
        (wav(PCM, kind=85, bits=16), "its sound is compressed \\(MP3\\): convert it first"),
        (wav(PCM, kind=4_711, bits=16), "its sound is compressed \\(format 4711\\)"),
        (wav(PCM, 10), "10 Hz is no sample rate of sound"),
        (wav(PCM, bits=40), "1 channels of 40 bits cannot be read"),
    ],
)
def test_what_cannot_be_played_says_what_is_wanted(given: bytes, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        sound_of(given)


def test_a_wav_file_that_was_cut_off_is_played_as_far_as_it_goes() -> None:
    assert raw(sound_of(wav(PCM)[:-801])) == pcm_to_pcmu(PCM[:-802])


def test_play_of_what_is_no_sound_wishes_nothing() -> None:
    async def work(door: Door, session: Session) -> None:
        with pytest.raises(ValueError, match="no sound"):
            await session.play(b"")
        assert door.wishes == []

    on_a_call(work)


# --- listening ----------------------------------------------------------------------------------------------


def test_silence_comes_as_a_happening() -> None:
    async def work(door: Door, session: Session) -> None:
        door.tell(m.CallerSilent(5_000))
        assert await anext(session.input()) == Silence(5_000)

    agent = Agent(silence_ms=5_000)
    on_a_call(work, agent)


def test_silence_is_told_in_a_live_call_again_and_again(calls: Any) -> None:
    silences: list[int] = []

    async def handler(session: Session) -> None:
        await session.say("Yes?")
        async for happening in session.input():
            if isinstance(happening, Silence):
                silences.append(happening.ms)
            if len(silences) == 3:
                return

    live = calls(Agent(handler=handler, silence_ms=4_000))
    live.until_over()
    assert silences == [4_000, 8_000, 12_000]


def test_awaiting_a_turn_leaves_the_keys_for_whoever_asks() -> None:
    async def work(door: Door, session: Session) -> None:
        door.tell(m.DigitHeard("1"), m.Turn("item_1", "hello"), m.DigitHeard("2"))
        assert (await session.input()).text == "hello"
        assert await session.digits(2) == "12"

    on_a_call(work)


class TestDigits:
    @pytest.mark.parametrize(
        ("pressed", "asked", "got"),
        [
            ("5", {}, "5"),
            ("1234", {"max": 4}, "1234"),
            ("12#", {"max": 4}, "12"),
            ("#", {"max": 4}, ""),
            ("12*", {"max": 4, "end": "*#"}, "12"),
            ("1#2", {"max": 3, "end": ""}, "1#2"),
        ],
    )
    def test_they_end_with_the_last_one_or_with_the_end_key(
        self, pressed: str, asked: dict[str, Any], got: str
    ) -> None:
        async def work(door: Door, session: Session) -> str:
            waiting = soon(session.digits(**asked))
            for key in pressed:
                await asyncio.sleep(1)
                door.tell(m.DigitHeard(key))
            digits: str = await waiting
            return digits

        assert on_a_call(work) == got

    def test_keys_pressed_before_the_question_count(self) -> None:
        async def work(door: Door, session: Session) -> None:
            door.tell(m.DigitHeard("3"))
            await settled()
            assert await session.digits() == "3"

        on_a_call(work)

    def test_the_time_runs_anew_with_each_key(self) -> None:
        async def work(door: Door, session: Session) -> tuple[str, float]:
            waiting = soon(session.digits(10, timeout_ms=2_000))
            for key in "12":
                await asyncio.sleep(1.5)
                door.tell(m.DigitHeard(key))
            digits = await waiting
            return digits, asyncio.get_running_loop().time()

        digits, at_s = on_a_call(work)
        assert digits == "12"
        assert round(at_s, 3) == 5

    def test_nobody_pressed_anything(self) -> None:
        async def work(_door: Door, session: Session) -> str:
            return await session.digits(4, timeout_ms=3_000)

        assert on_a_call(work) == ""

    def test_turns_meanwhile_wait_for_input(self) -> None:
        async def work(door: Door, session: Session) -> None:
            waiting = soon(session.digits())
            await settled()
            door.tell(m.Turn("item_1", "what?"), m.DigitHeard("9"))
            assert await waiting == "9"
            assert (await session.input()).text == "what?"

        on_a_call(work)

    def test_the_call_may_end_meanwhile(self) -> None:
        async def work(door: Door, session: Session) -> None:
            waiting = soon(session.digits())
            await settled()
            door.end()
            with pytest.raises(CallEnded):
                await waiting

        on_a_call(work)

    @pytest.mark.parametrize("asked", [{"max": 0}, {"timeout_ms": -1}])
    def test_what_makes_no_sense_is_refused(self, asked: dict[str, int]) -> None:
        async def work(_door: Door, session: Session) -> None:
            with pytest.raises(ValueError, match="waits for one key or more"):
                await session.digits(**asked)  # type: ignore[arg-type]

        on_a_call(work)


def test_events_are_everything_from_now_on_and_end_with_the_call() -> None:
    async def work(door: Door, session: Session) -> list[m.SessionEvent]:
        door.tell(m.DigitHeard("1"))
        await settled()
        events = session.events()
        door.tell(m.DigitHeard("2"), m.Cut("item_1", 400))
        door.end()
        return [event async for event in events]

    assert on_a_call(work) == [
        m.DigitHeard("2"), m.Cut("item_1", 400), m.Ended(m.Reason.CALLER_HUNG_UP),
    ]  # fmt: skip


def test_events_after_the_end_are_none() -> None:
    async def work(door: Door, session: Session) -> list[m.SessionEvent]:
        door.end()
        await settled()
        return [event async for event in session.events()]

    assert on_a_call(work) == []


def test_audio_is_tapped_only_when_somebody_asks() -> None:
    async def work(door: Door, session: Session) -> list[bytes]:
        await settled()
        assert door.tap is None
        audio = session.audio()
        await settled()
        assert door.tap is not None
        for number in range(600):
            door.tap(m.CallerAudio(["AAAA", "BBBB"][number >= 300], 3))
        await settled()
        assert audio.dropped == 100
        door.end()
        return [frame async for frame in audio]

    frames = on_a_call(work)
    assert frames == [b"\0\0\0"] * 200 + [b"\x04\x10\x41"] * 300


def test_a_feed_keeps_its_order_and_drops_its_oldest() -> None:
    async def work() -> None:
        feed: Feed[int] = Feed(3)
        for number in range(5):
            feed.put(number)
        assert feed.dropped == 2
        assert [await anext(feed) for _ in range(2)] == [2, 3]
        feed.close()
        feed.put(9)
        assert [number async for number in feed] == [4]

    run(work())


def test_two_who_wait_for_the_same_feed_share_it() -> None:
    async def work() -> list[int]:
        feed: Feed[int] = Feed()
        waiting = [soon(anext(feed)) for _ in range(2)]
        await settled()
        feed.put(1)
        await settled()
        feed.put(2)
        return sorted(await asyncio.gather(*waiting))

    assert run(work()) == [1, 2]


# --- the call itself ----------------------------------------------------------------------------------------


def test_hang_up_returns_when_the_call_is_over() -> None:
    async def work(door: Door, session: Session) -> bool:
        leaving = soon(session.hang_up("done here"))
        assert await door.next(m.HangUp) == m.HangUp("done here")
        await asyncio.sleep(5)
        assert not leaving.done()
        door.end(m.Reason.WE_HUNG_UP)
        over: bool = await leaving
        return over

    assert on_a_call(work) is True


def test_hang_up_returns_when_the_caller_brings_the_call_back() -> None:
    async def work(door: Door, session: Session) -> bool:
        leaving = soon(session.hang_up())
        await door.next(m.HangUp)
        door.tell(m.HangUpCancelled())
        over: bool = await leaving
        assert session.ended is None
        return over

    assert on_a_call(work) is False


def test_a_caller_who_speaks_during_a_goodbye_is_answered(calls: Any) -> None:
    """The whole of it: the goodbye is cut, hang_up() says so, and the handler goes on."""
    went: list[object] = []

    async def handler(session: Session) -> None:
        soon(session.say("Goodbye, and thank you so much for calling us today."))
        await asyncio.sleep(0.5)
        went.append(await session.hang_up())
        turn = await session.input()
        went.append(turn.text)
        await session.say("Bye then.")
        went.append(await session.hang_up())

    live = calls(Agent(handler=handler))
    live.wait(1_000)
    live.caller.says("wait a moment")
    ended = live.until_over().rehearsal.ended
    assert went == [False, "wait a moment", True]
    assert ended.reason is m.Reason.WE_HUNG_UP


def test_hang_up_without_waiting() -> None:
    async def work(door: Door, session: Session) -> None:
        assert await session.hang_up(wait=False) is True
        await settled()
        assert door.wishes == [m.HangUp()]

    on_a_call(work)


def test_transfer_goes_to_a_configured_name() -> None:
    async def work(door: Door, session: Session) -> None:
        leaving = soon(session.transfer("billing"))
        assert await door.next(m.Transfer) == m.Transfer("billing")
        door.end(m.Reason.TRANSFERRED)
        result = await leaving
        assert result
        assert (result.outcome, result.target) == ("connected", "billing")

    on_a_call(work, transfers=("billing",))


@pytest.mark.parametrize(
    ("transfers", "known"), [(("billing",), "billing"), ((), "none; set BRIDGE_TRANSFERS")]
)
def test_transfer_to_a_name_that_nobody_configured(transfers: tuple[str, ...], known: str) -> None:
    async def work(door: Door, session: Session) -> None:
        with pytest.raises(ValueError, match=f"there is no transfer target '.1555.*'; configured: {known}"):
            await session.transfer("+15550003333")
        assert door.wishes == []

    on_a_call(work, transfers=transfers)


def test_mute_update_and_the_vendors_own_words() -> None:
    async def work(door: Door, session: Session) -> None:
        session.mute()
        session.mute(False)
        session.update(instructions="Speak slowly.")
        session.send_vendor_event({"type": "response.cancel"})
        await settled()
        on, off, changed, passed = door.wishes
        assert (on, off) == (m.Mute(True), m.Mute(False))
        assert isinstance(changed, m.Reconfigure)
        assert changed.config.instructions == "Speak slowly."
        assert changed.config.voice == "marin"
        assert isinstance(passed, m.SendRaw)
        assert json.loads(passed.body) == {"type": "response.cancel"}
        assert session.agent.instructions == "Speak slowly."

    on_a_call(work)


def test_update_knows_the_fields_of_an_agent() -> None:
    async def work(door: Door, session: Session) -> None:
        with pytest.raises(TypeError, match="instruction"):
            session.update(instruction="typo")
        assert door.wishes == []

    on_a_call(work)


def test_updated_instructions_are_in_force_for_the_next_answer(calls: Any) -> None:
    async def handler(session: Session) -> None:
        session.update(instructions="Speak French.")
        await session.respond()

    live = calls(Agent("Speak English.", handler=handler))
    live.until_over()
    kinds = [event["type"] for event in live.model.server.log]
    assert live.model.server.errors == []
    assert live.model.server.session.tree["instructions"] == "Speak French."
    asked = [kind for kind in kinds if kind in ("session.update", "response.create")]
    assert asked == ["session.update", "session.update", "response.create"]


def test_mute_sends_silence_upstream(calls: Any) -> None:
    """We may do better than the sources here, which refuse: the model hears silence, the call goes on."""

    async def handler(session: Session) -> None:
        session.mute()
        async for _ in session.input():
            pass

    live = calls(Agent(handler=handler))
    live.wait(500)
    live.caller.says("this is a secret")
    live.wait(4_000)
    live.caller.hangs_up()
    live.until_over()
    assert live.model.server.sent["input_audio_buffer.speech_started"] == 0


# --- after the end ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "use",
    [
        lambda session: session.say("Hello?"),
        lambda session: session.respond(),
        lambda session: session.play(b"\x55" * 160),
        lambda session: session.hang_up(),
        lambda session: session.transfer("billing"),
        lambda session: session.digits(),
        lambda session: session.call("lookup"),
        lambda session: session.input()._turn(),
        lambda session: as_coroutine(session.interrupt),
        lambda session: as_coroutine(session.mute),
        lambda session: as_coroutine(session.update),
        lambda session: as_coroutine(session.add_text, "x"),
        lambda session: as_coroutine(session.send_vendor_event, {}),
    ],
)
def test_every_method_says_how_the_call_ended(use: Callable[[Session], Work]) -> None:
    async def work(door: Door, session: Session) -> None:
        door.end(m.Reason.UPSTREAM_LOST)
        await settled()
        with pytest.raises(CallEnded) as raised:
            await use(session)
        assert raised.value.reason is m.Reason.UPSTREAM_LOST
        assert raised.value.ended_by == "model"
        assert session.ended is m.Reason.UPSTREAM_LOST
        assert door.wishes == []

    on_a_call(work, transfers=("billing",))


async def as_coroutine(function: Callable[..., Any], *given: Any) -> None:
    function(*given)


def test_whoever_waits_is_told_when_the_call_ends() -> None:
    async def work(door: Door, session: Session) -> None:
        waiting = [soon(session.say("Hello.")), soon(session.respond()), soon(session.play(b"\x55" * 80))]
        await settled()
        door.end()
        outcomes = await asyncio.gather(*waiting, return_exceptions=True)
        assert [type(outcome) for outcome in outcomes] == [CallEnded] * 3

    on_a_call(work)


def test_what_waited_at_the_end_can_still_be_taken() -> None:
    async def work(door: Door, session: Session) -> None:
        door.tell(m.Turn("item_1", "last words"), m.DigitHeard("1"))
        door.end()
        assert [happening async for happening in session.input()] == [
            Turn("last words", "item_1"),
            Digit("1"),
        ]

    on_a_call(work)


def test_every_reason_has_somebody_who_ended_it() -> None:
    async def work(door: Door, session: Session, reason: m.Reason) -> str:
        door.end(reason)
        await settled()
        with pytest.raises(CallEnded) as raised:
            session.check()
        return raised.value.ended_by

    ended_by = {}
    for reason in m.Reason:
        ended_by[reason] = on_a_call(functools.partial(work, reason=reason))
    assert set(ended_by.values()) == {"caller", "carrier", "model", "us", "bridge"}
    assert ended_by[m.Reason.CALLER_HUNG_UP] == "caller"
    assert ended_by[m.Reason.SHUTDOWN] == "bridge"


# --- handlers that fail -------------------------------------------------------------------------------------


def test_a_handler_that_raises_is_an_event_not_a_lost_call(caplog: pytest.LogCaptureFixture) -> None:
    async def handler(_session: Session) -> None:
        raise LookupError("a caller's secret")

    async def call() -> list[m.Message]:
        door = await Door(Agent(handler=handler)).begin()
        await settled()
        return door.wishes

    with caplog.at_level(logging.ERROR, "bridge.user"):
        assert run(call()) == [m.HandlerFailed("LookupError")]
    (record,) = caplog.records
    assert record.getMessage() == "the handler raised LookupError"
    assert "in handler" in caplog.text


def test_the_caller_of_a_handler_that_raises_hears_the_apology(calls: Any) -> None:
    apology = tone(800, 300)

    async def handler(session: Session) -> None:
        await session.say("One moment.")
        raise LookupError

    base = m.CallConfig(phrases={"apology": sound_of(apology, "We are sorry.")})
    live = calls(Agent(handler=handler), config=base)
    ended = live.until_over().rehearsal.ended
    sound = live.phone.heard
    assert apology in sound
    assert ended == m.Ended(m.Reason.HANDLER_FAILED, "LookupError")


def test_a_handler_that_lingers_after_the_end_is_cancelled() -> None:
    ended: list[str] = []

    async def handler(_session: Session) -> None:
        try:
            await asyncio.sleep(3_600)
        except asyncio.CancelledError:
            ended.append("cancelled")
            raise

    async def call() -> None:
        door = await Door(Agent(handler=handler)).begin()
        await settled()
        door.end()
        await asyncio.sleep(4.9)
        assert ended == []
        await asyncio.sleep(0.2)

    run(call())
    assert ended == ["cancelled"]


def test_a_handler_may_clean_up_after_the_end_and_fails_nobody(caplog: pytest.LogCaptureFixture) -> None:
    cleaned: list[m.Reason | None] = []

    async def handler(session: Session) -> None:
        try:
            await session.say("Hello.")
        finally:
            await asyncio.sleep(1)
            cleaned.append(session.ended)

    async def call() -> list[m.Message]:
        door = await Door(Agent(handler=handler)).begin()
        await door.next(m.Say)
        door.end()
        await asyncio.sleep(2)
        return door.wishes

    assert run(call()) == []
    assert cleaned == [m.Reason.CALLER_HUNG_UP]
    assert caplog.records == []


def test_a_handler_begins_with_the_call_and_once() -> None:
    begun: list[str] = []

    async def handler(session: Session) -> None:
        begun.append(session.call_sid)
        await session.input()

    async def call() -> None:
        door = Door(Agent(handler=handler))
        await door.begin()
        door.tell(m.CallBegan())
        await settled()

    run(call())
    assert begun == ["CA1"]


def test_what_user_code_wishes_after_the_audio_loop_is_gone_comes_to_nothing() -> None:
    async def call() -> Door:
        return await Door(Agent()).begin()

    door = run(call())
    door.session.interrupt()
    assert door.wishes == []


def test_a_log_line_of_user_code_can_name_its_call() -> None:
    named: list[str] = []

    async def handler(_session: Session) -> None:
        named.append(CALL_SID.get())

    async def call() -> None:
        await Door(Agent(handler=handler)).begin()
        await settled()

    run(call())
    assert named == ["CA1"]
    assert CALL_SID.get() == ""
