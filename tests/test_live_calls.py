"""Whole calls with GPT-Live: greeting, turn, tools, a model that yields, a session that is lost, an end."""

from __future__ import annotations

from typing import Any

import pytest

from bridge.core import messages as m
from bridge.doubles.agents import Speech, ToolCall
from bridge.doubles.live_options import Refused, Stall
from bridge.recording.replaying import replay

from .live_call import HELLO, HOURS, LiveCall
from .upstreams.published_live import client_events

GREETING = Speech(1_500, HELLO)
ANSWER = Speech(6_000, "We are open from nine to five every day but Sunday and you can come without a date.")
BY_BACKEND = m.SessionConfig(model="gpt-live-1", instructions="Be brief.", tools=(HOURS,))
BY_US = m.SessionConfig(model="gpt-live-1", instructions="Be brief.", tools=(HOURS,), delegate="hours")


def spoken(call: LiveCall) -> list[tuple[str, bool]]:
    return [(one.heard, one.cut) for one in call.log(m.Spoken)]


def settled(call: LiveCall) -> None:
    """What holds of every call: nothing was sent that the vendor refuses, and the recording plays again."""
    assert [error for server in call.servers for error in server.errors] == []
    for server in call.servers:
        assert server.log[0]["type"] == "session.start"
        client_events(server.log)
    call.call.from_phone(call.call.phone.hang_up(call.call.now_ms))
    assert call.call.run() is not None
    assert replay(call.lines).difference is None


def test_a_call_from_the_greeting_to_the_end() -> None:
    call = LiveCall(GREETING, ANSWER, prices={"session_minute": 0.05})
    call.at(4_500).says("Opening hours?")
    call.at(14_000)
    assert spoken(call) == [(HELLO, False), (ANSWER.text, False)]
    assert [turn.text for turn in call.log(m.Turn)] == ["Opening hours?"]
    assert [call.played_ms(one) for one in call.said] == [1_500, 6_000]
    # The first word of the answer is heard 0.3 s of silence and the double's 0.2 s after the caller's last.
    assert call.said[1].start_ms + 530 <= 4_500 + 800 + 700
    call.call.feed(m.HangUp())
    call.at(20_000)
    assert call.call.ended is not None
    assert call.told("session.close")
    assert call.call.call.stats.usage_missing == 0  # its responses cost nothing, so nothing is missing
    settled(call)


def closes(call: LiveCall) -> int:
    """When the call ended."""
    return next(at_ms for at_ms, action in call.call.said if isinstance(action, m.Ended))


def ends(call: LiveCall, how: str) -> None:
    match how:
        case "we do":
            call.call.feed(m.HangUp())
        case "the process ends":
            call.call.feed(m.ShutDown())
        case "another process takes it":
            call.call.feed(m.HandOver(0))
        case "the caller is away":
            call.call.call.phase = m.Phase.AWAY
            call.call.lose_model()
        case _:
            call.call.from_phone(call.call.phone.hang_up(call.call.now_ms))


@pytest.mark.parametrize(
    "how", ["the caller hangs up", "we do", "the process ends", "another process takes it"]
)
def test_the_end_of_the_session_is_waited_for_and_billed(how: str) -> None:
    """The double counts whole seconds, so its bill is unlike ours."""
    call = LiveCall(GREETING, ANSWER, prices={"session_minute": 0.05}).at(6_980)
    ends(call, how)
    ended = call.call.run()
    assert ended is not None
    at_ms = closes(call)
    assert at_ms <= 7_000  # the end itself waits for nothing
    assert ended.unbilled is True
    assert call.log(m.BillClosed) == [m.BillClosed(0)]
    assert call.call.said[-1][0] == at_ms + 300
    (server,) = call.servers
    assert call.call.call.stats.cost_micro_usd == round(50_000 / 60 * server.seconds(at_ms + 300))
    assert call.call.call.stats.unconfirmed == 0
    again = replay(call.lines)
    assert (again.difference, again.ended, again.call.stats.cost_micro_usd) == (
        None, True, call.call.call.stats.cost_micro_usd,
    )  # fmt: skip


@pytest.mark.parametrize(("how", "within_ms"), [("the caller hangs up", 1_000), ("the process ends", 500)])
def test_an_end_that_is_not_confirmed_makes_the_bill_incomplete(how: str, within_ms: int) -> None:
    options = {"withhold": frozenset({"session.closed"})}
    call = LiveCall(GREETING, prices={"session_minute": 0.05}, options=options).at(6_980)
    call.servers[0]._finish = lambda *_what, **_more: None  # type: ignore[method-assign]  # its socket stays open
    ends(call, how)
    assert call.call.run() is not None
    assert call.log(m.BillClosed) == [m.BillClosed(1)]
    assert call.call.said[-1][0] == closes(call) + within_ms
    open_s = (closes(call) - call.call.call.up.ready_ms) / 1000
    assert call.call.call.stats.cost_micro_usd == pytest.approx(50_000 / 60 * open_s, rel=0.01)
    assert replay(call.lines).call.stats.unconfirmed == 1


def test_a_lost_session_is_not_confirmed_and_one_that_was_renewed_is() -> None:
    prices, expiring = {"session_minute": 0.05}, {"expires_after_ms": 60_000, "created_at_s": 1_000}
    call = LiveCall(GREETING, prices=prices, accepted_at_s=1_000, options=expiring).at(58_000)
    assert len(call.servers) == 2
    assert call.call.call.stats.unconfirmed == 1  # the one that is open
    call.call.lose_model()
    call.at(61_000)
    ends(call, "the caller hangs up")
    assert call.call.run() is not None
    assert [server.sent["session.closed"] for server in call.servers] == [1, 0, 1]
    assert call.log(m.BillClosed) == [m.BillClosed(1)]


@pytest.mark.parametrize(("early_ms", "labels_ms", "voice_ms"), [(600, 200, 7_700), (0, 0, 8_430)])
def test_a_model_that_yields_was_heard_to_the_fragment(early_ms: int, labels_ms: int, voice_ms: int) -> None:
    options = {
        "words_early_ms": early_ms, "labels_early_ms": labels_ms, "yields_after_ms": 300,
        "stalls": (Stall(6_000, 700),), "jitter_ms": (0, 30, 10),
    }  # fmt: skip
    call = LiveCall(GREETING, ANSWER, options=options)
    call.at(4_500).says("Opening hours?")
    call.at(voice_ms).says("Stop.", 1_000)
    call.at(14_000)
    answer = call.said[1]
    assert answer.cut_ms is not None
    assert call.played_ms(answer) < 6_000
    heard, _ = spoken(call)[1]
    assert heard in call.heard_words(answer)
    settled(call)


def test_a_tool_of_the_backends() -> None:
    mind: list[Any] = [
        GREETING, [Speech(700, "One moment."), ToolCall("hours", {"day": "mon"}, "call_1")],
        Speech(2_000, "From nine to five."),
    ]  # fmt: skip
    call = LiveCall(*mind, session=BY_BACKEND)
    call.at(4_500).says("Opening hours?")
    call.at(8_500)
    (wanted,) = call.log(m.ToolWanted)
    assert (wanted.call_id, wanted.name, wanted.arguments) == ("call_1", "hours", '{"day": "mon"}')
    call.call.feed(m.ToolFinished("call_1", '{"open":"9-17"}'))
    call.at(15_000)
    (item,) = call.told("response.item.create")
    assert item["item"] == {"type": "function_call_output", "call_id": "call_1", "output": '{"open":"9-17"}'}
    assert len(call.told("response.create")) == 1
    assert [words for words, _ in spoken(call)] == [HELLO, "One moment.", "From nine to five."]
    assert call.call.call.stats.tools == 1
    settled(call)


@pytest.mark.parametrize("farewell", ["Have a nice day.", ""])
def test_a_farewell_that_the_voice_begins_after_its_backend_hung_up_is_heard(farewell: str) -> None:
    """It is told of its backend's work 1.7 s later. One that has said its goodbye before says no more."""
    later = [Speech(1_000, farewell)] if farewell else []
    call = LiveCall(
        GREETING, [Speech(700, "Goodbye."), ToolCall("hours", {}, "call_1")], *later, session=BY_BACKEND
    )
    call.at(4_500).says("That is all.")
    while not call.log(m.ToolWanted):
        call.at(call.call.now_ms + 20)
    asked_ms = call.call.now_ms
    call.call.feed(m.HangUp("done"))
    call.call.feed(m.ToolFinished("call_1", "The call ends.", False))
    call.at(asked_ms + 8_000)
    (ended_ms,) = [at_ms for at_ms, action in call.call.said if isinstance(action, m.Ended)]
    assert 0 <= ended_ms - asked_ms <= (5_000 if farewell else 2_600)
    assert [words for words, _ in spoken(call)] == [HELLO, "Goodbye.", *filter(None, [farewell])]
    assert all(one.cut_ms is None and call.played_ms(one) >= 700 for one in call.said)
    assert not call.log(m.Heard), "no phrase of ours says goodbye again"


def test_a_tool_of_ours_gets_the_callers_words() -> None:
    mind: list[Any] = [GREETING, [ToolCall("hours")], Speech(2_000, "From nine to five.")]
    call = LiveCall(*mind, session=BY_US, options={"delegation_ms": 0, "repeats_delegations": True})
    call.at(4_500).says("Opening hours?")
    call.at(8_500)
    (wanted,) = call.log(m.ToolWanted)
    assert wanted.arguments == '{"request":"Opening hours?"}'
    call.call.feed(m.ToolFinished(wanted.call_id, "Nine to five."))
    call.at(14_000)
    (answer,) = [one for one in call.told("session.commentary.append") if one["delegation_id"]]
    assert (answer["delegation_id"], answer["content"]) == (wanted.call_id, "Nine to five.")
    assert [words for words, _ in spoken(call)] == [HELLO, "From nine to five."]
    settled(call)


def test_a_promise_that_nothing_follows_is_kept_by_us() -> None:
    mind: list[Any] = [GREETING, [Speech(700, "I will book it."), ToolCall("hours")]]
    call = LiveCall(*mind, session=BY_BACKEND, options={"promises_only": True})
    call.at(4_500).says("Book a table.")
    call.at(20_000)
    (item,) = call.told("response.item.create")
    assert item["item"]["content"][0]["text"] == "Book a table."
    assert len(call.told("response.create")) == 1
    settled(call)


@pytest.mark.parametrize("lost_ms", [5_900, 8_090])
def test_a_lost_session_goes_on_with_what_was_heard(lost_ms: int) -> None:
    call = LiveCall(GREETING, ANSWER, Speech(2_000, "As I said."), options={"words_early_ms": 600})
    call.at(4_500).says("Opening hours?")
    call.at(lost_ms)
    call.call.lose_model()
    call.at(lost_ms + 8_000)
    assert len(call.servers) == 2
    given = call.servers[1].log[0]["session"]["input"]
    roles = [(one["role"], one["content"][0]["text"]) for one in given]
    assert roles[0] == ("assistant", HELLO)
    assert roles[-1][0] == "developer"
    # What the line had of the answer still plays, and counts: the words that were heard are known by its end.
    answer = call.said[1]
    assert spoken(call)[1][0] in call.heard_words(answer)
    told = [text for role, text in roles[1:] if role == "assistant"]
    assert all(text in answer.text for text in told)
    greetings = [one for one in call.told("session.commentary.append") if "Hello" in one["content"]]
    assert len(greetings) == 1
    settled(call)


def test_a_result_that_a_lost_session_asked_for_is_answered_by_the_next() -> None:
    mind: list[Any] = [GREETING, [ToolCall("hours", {}, "call_1")], Speech(2_000, "From nine to five.")]
    call = LiveCall(*mind, session=BY_BACKEND)
    call.at(4_500).says("Opening hours?")
    call.at(8_500)
    call.call.lose_model()
    call.at(12_000)
    call.call.feed(m.ToolFinished("call_1", "Nine to five."))
    call.at(18_000)
    assert call.told("session.thinking.append")[-1]["content"].endswith("returned Nine to five.")
    assert spoken(call)[-1] == ("From nine to five.", False)
    settled(call)


def test_what_is_said_while_another_session_stands_ready_is_told_to_it() -> None:
    call = LiveCall(GREETING, ANSWER, session=BY_BACKEND)
    call.at(4_500).says("Opening hours?")
    call.at(5_600)
    changed = m.SessionConfig(model="gpt-live-1", instructions="Speak of the weather.", tools=(HOURS,))
    call.call.feed(m.Reconfigure(changed))  # which another session is to begin with
    call.at(14_000)
    assert len(call.servers) == 2
    given = [one["content"][0]["text"] for one in call.servers[1].log[0]["session"]["input"]]
    assert given[:-1] == [HELLO]
    told = [one["content"] for one in call.servers[1].log if one["type"] == "session.thinking.append"]
    heard = spoken(call)[1][0]
    assert told == ['Meanwhile the caller said: "Opening hours?".', f'Meanwhile you said: "{heard}".']
    settled(call)


def test_words_that_have_come_when_the_session_is_lost_are_a_turn() -> None:
    call = LiveCall(GREETING, ANSWER, Speech(2_000, "As I said."))
    call.at(4_500).says("Opening hours?")
    call.at(6_900)
    assert not call.log(m.Turn)
    call.call.lose_model()
    call.at(9_000)
    assert [turn.text for turn in call.log(m.Turn)] == ["Opening hours?"]
    given = [one["content"][0]["text"] for one in call.servers[1].log[0]["session"]["input"]]
    assert given[:2] == [HELLO, "Opening hours?"]
    settled(call)


@pytest.mark.parametrize(
    "how", ["the caller hangs up", "the process ends", "another process takes it", "the caller is away"]
)
def test_words_that_have_come_when_the_call_ends_are_a_turn(how: str) -> None:
    call = LiveCall(GREETING, ANSWER)
    call.at(4_500).says("Opening hours?")
    call.at(6_900)
    assert not call.log(m.Turn)
    ends(call, how)
    call.at(7_000)
    assert [turn.text for turn in call.log(m.Turn)] == ["Opening hours?"]
    for handed in call.log(m.HandedOver):
        assert "Opening hours?" in [item.text for item in handed.carried.items]


def test_late_events_of_a_session_that_is_gone_count_for_nothing() -> None:
    call = LiveCall(GREETING, ANSWER, Speech(2_000, "As I said."))
    call.at(4_500).says("Opening hours?")
    call.at(7_000)
    call.call.feed(m.UpstreamClosed(1006, "", 1))
    before = call.call.call.playout.line.ledger.sent
    call.call.feed(m.StreamAudio("EJA=" * 200, 400, loud=True, epoch=1))
    call.call.feed(m.Fragment("assistant", " nonsense", 9_000, 9_200, 1))
    assert call.call.call.playout.line.ledger.sent == before
    call.at(14_000)
    assert not [one for one in call.log(m.Spoken) if "nonsense" in one.generated]


def test_new_instructions_are_told_at_once_and_begin_the_next_session() -> None:
    call = LiveCall(GREETING, session=BY_BACKEND)
    call.at(4_500)
    changed = m.SessionConfig(model="gpt-live-1", instructions="Speak of the weather.", tools=(HOURS,))
    call.call.feed(m.Reconfigure(changed))
    call.at(9_000)
    (rule,) = call.told("session.instructions.append")
    assert rule["content"].endswith("Speak of the weather.")
    (update,) = call.told("session.update")
    assert update["session"]["delegation"]["responses"]["instructions"] == "Speak of the weather."
    assert len(call.servers) == 2
    assert call.servers[1].log[0]["session"]["instructions"] == "Speak of the weather."
    assert call.told("session.close")
    assert not [one for one in call.log(m.Noted) if "lost" in one.what]
    settled(call)


def test_whom_we_call_is_heard_by_the_model_once_a_person_has_answered() -> None:
    call = LiveCall(GREETING, Speech(1_500, "Gladly."), outbound=m.AnswerRules())
    call.at(1_500).says("Hello?", 600)
    call.words.clear()  # the model hears nothing of it
    call.at(7_000)
    assert [words for words, _ in spoken(call)] == [HELLO]
    assert call.servers[0].turns == []
    call.says("Tell me more.")
    call.at(12_000)
    assert [words for words, _ in spoken(call)] == [HELLO, "Gladly."]
    assert [turn.text for turn in call.log(m.Turn)][-1] == "Tell me more."


# --- errors and ends


def test_an_account_without_money_is_dialled_once() -> None:
    refused = Refused("credit_balance_exhausted", "insufficient_quota")
    call = LiveCall(GREETING, options={"refuse_start": refused})
    call.at(10_000)
    assert len(call.servers) == 1
    assert [one.say_id for one in call.log(m.Heard)] == ["apology"]
    assert call.call.ended is not None
    assert call.call.ended.reason is m.Reason.UPSTREAM_REFUSED


def test_a_server_error_before_the_session_is_dialled_again_at_once() -> None:
    call = LiveCall(GREETING, options={"refuse_start": Refused(None, "server_error")})
    call.at(1_500)
    assert len(call.servers) >= 2


def test_a_session_that_expires_is_followed_by_another_without_a_word() -> None:
    call = LiveCall(GREETING, ANSWER, options={"expires_after_ms": 12_000})
    call.at(11_000)
    call.at(16_000).says("Opening hours?")
    call.at(25_000)
    assert len(call.servers) >= 2
    assert [say.say_id for say in call.log(m.Heard) if say.say_id in ("apology", "restored")] == []
    assert spoken(call)[-1][0] == ANSWER.text


@pytest.mark.parametrize(
    "options",
    [{"impose": {"audio": {"format": {"type": "audio/pcm", "rate": 24_000}}}}, {"alpha": True}],
)
def test_a_host_that_cannot_carry_a_phone_call_is_refused(options: dict[str, Any]) -> None:
    call = LiveCall(GREETING, options=options)
    call.at(10_000)
    assert len(call.servers) == 1
    assert call.call.ended is not None
    assert call.call.ended.reason is m.Reason.UPSTREAM_REFUSED


def test_a_filter_that_ends_the_session_ends_the_call_with_a_phrase() -> None:
    call = LiveCall(GREETING)
    call.at(4_000)
    call.call.from_server(call.servers[-1].finish("content", call.call.now_ms))
    call.at(12_000)
    assert len(call.servers) == 1
    assert call.call.ended is not None
    assert "apology" in [one.say_id for one in call.log(m.Heard)]


def test_strange_events_and_a_missing_scope_change_nothing() -> None:
    call = LiveCall(GREETING, ANSWER, options={"strange": True, "missing_scope": True, "tick": True})
    call.at(4_500).says("Opening hours?")
    call.at(14_000)
    assert [words for words, _ in spoken(call)] == [HELLO, ANSWER.text]
