"""Tools: what the model is told of a function, what of its arguments is let through, and what it reads."""

from __future__ import annotations

import asyncio
import dataclasses
import datetime as dt
import enum
import json
import logging
import threading
from typing import Annotated, Any, Literal

import pytest
from pydantic import BaseModel, Field

from bridge.agents.agent import Agent
from bridge.agents.calls import UserSide
from bridge.agents.config import AgentConfigs
from bridge.agents.loop import UserLoop
from bridge.agents.session import Session
from bridge.agents.tool_schema import WrongArguments
from bridge.agents.tools import MOST_RESULT_BYTES, Tool, ToolError, hang_up, result_text, tool, transfer
from bridge.core import messages as m
from bridge.errors import ConfigError, HandlerError
from tests.agents.door import Door, settled
from tests.agents.virtual_time import run

# --- what the model is told ---------------------------------------------------------------------------------


class Size(enum.Enum):
    SMALL = "small"
    LARGE = "large"


class Topping(BaseModel):
    title: str
    grams: int = Field(ge=1)


@tool
def order(
    name: str,
    size: Size,
    toppings: list[Topping],
    when: dt.date | None = None,
    kind: Literal["eat in", "take away"] = "eat in",
    count: Annotated[int, Field(ge=1, le=9, description="how many of them")] = 1,
) -> str:
    """Order a pizza.

    Asks nothing back.

    Args:
        name: who orders,
            as the caller spells it
        size (Size): how large
        count: not this one, the hint's own goes before
    """
    return f"{count} {size.value} for {name}, {kind}, {when}, {[t.title for t in toppings]}"


def test_a_schema_is_made_of_hints_defaults_and_docstring() -> None:
    told = order.wire()
    assert told["type"] == "function"
    assert told["name"] == "order"
    assert told["description"] == "Order a pizza.\n\nAsks nothing back."
    parameters = told["parameters"]
    assert parameters["required"] == ["name", "size", "toppings"]
    assert parameters["additionalProperties"] is False
    properties = parameters["properties"]
    assert properties["name"] == {"type": "string", "description": "who orders, as the caller spells it"}
    assert properties["kind"] == {"type": "string", "enum": ["eat in", "take away"], "default": "eat in"}
    assert properties["when"]["anyOf"] == [{"format": "date", "type": "string"}, {"type": "null"}]
    assert properties["count"]["maximum"] == 9
    assert properties["size"]["description"] == "how large"
    json.dumps(told)


def test_titles_cost_tokens_and_go_but_an_argument_may_be_called_title() -> None:
    @tool
    def find(title: str) -> str:
        """Find a book."""
        return title

    assert find.wire()["parameters"]["properties"] == {"title": {"type": "string"}}
    defined = order.wire()["parameters"]["$defs"]["Topping"]
    assert set(defined["properties"]) == {"title", "grams"}
    assert "title" not in defined


def test_names_that_pydantic_has_itself_are_arguments_like_others() -> None:
    @tool
    def save(json: str, copy: bool, model_config: int = 3, schema: str = "") -> str:
        """Save."""
        return f"{json} {copy} {model_config} {schema}"

    assert list(save.wire()["parameters"]["properties"]) == ["json", "copy", "model_config", "schema"]
    assert save.signature.arguments('{"json": "a", "copy": true}') == {
        "json": "a", "copy": True, "model_config": 3, "schema": "",
    }  # fmt: skip


def test_a_docstring_of_params_is_read_as_well() -> None:
    @tool
    def find(title: str, shelf: int = 1) -> str:
        """Find a book.

        :param title: as it stands
            on the spine
        :param int shelf: where to look
        :returns: where it is
        """
        return f"{title} {shelf}"

    told = find.wire()
    assert told["description"] == "Find a book."
    described = {name: one["description"] for name, one in told["parameters"]["properties"].items()}
    assert described == {"title": "as it stands on the spine", "shelf": "where to look"}


def test_a_function_without_arguments_has_an_empty_object() -> None:
    @tool
    def now() -> str:
        """Tell the time."""
        return "late"

    assert now.wire()["parameters"] == {"type": "object", "properties": {}, "additionalProperties": False}
    assert now.signature.arguments("") == {}


def test_a_session_is_ours_to_fill() -> None:
    @tool
    async def note(text: str, session: Session) -> str:
        """Note it down."""
        return text + session.call_sid

    assert list(note.wire()["parameters"]["properties"]) == ["text"]
    assert note.signature.session_parameter == "session"


def test_a_decorated_function_is_still_that_function() -> None:
    @tool
    def double(number: int) -> int:
        """Double it."""
        return 2 * number

    assert isinstance(double, Tool)
    assert double(4) == 8
    assert double.__doc__ == "Double it."


def test_options_are_told_to_the_core_not_to_the_model() -> None:
    @tool(name="slow-one", deadline_ms=3_000, filler="one_moment", filler_after_ms=500, respond=False)
    def slow() -> None:
        """Slow."""

    assert slow.config() == m.ToolConfig("slow-one", "one_moment", 500, 3_000)
    assert set(slow.wire()) == {"type", "name", "description", "parameters"}


def test_a_tool_that_needs_approval_is_due_later_by_as_long_as_a_human_may_take() -> None:
    @tool(needs_approval=True)
    def refund() -> None:
        """Refund."""

    assert refund.config(approval_ms=60_000).deadline_ms == 70_000


# --- what cannot be a tool ----------------------------------------------------------------------------------


def undocumented(number: int) -> int:
    return number


def unhinted(number) -> int:  # type: ignore[no-untyped-def]
    """Count."""
    return int(number)


def starred(*numbers: int) -> int:
    """Add."""
    return sum(numbers)


def by_position(number: int, /) -> int:
    """Count."""
    return number


def socketed(line: threading.Thread) -> str:
    """Speak into a line."""
    return str(line)


def forgotten(thing: Unheardof) -> str:  # type: ignore[name-defined]  # noqa: F821
    """Forget."""
    return str(thing)


@pytest.mark.parametrize(
    ("function", "complaint"),
    [
        (undocumented, "tool undocumented: without a docstring the model cannot know what it is for"),
        (unhinted, "tool unhinted: its argument number needs a type hint"),
        (starred, r"tool starred: numbers is no argument that a model can name"),
        (by_position, "is no argument that a model can name"),
        (socketed, "tool socketed: an argument's type has no JSON schema"),
        (forgotten, "tool forgotten: a type hint cannot be read: name 'Unheardof' is not defined; import it"),
        (lambda: None, r"tool '<lambda>': a name has 1 to 64 of A-Z"),
    ],
)
def test_what_a_model_could_not_call_is_refused_where_it_is_declared(function: Any, complaint: str) -> None:
    with pytest.raises(ConfigError, match=complaint):
        tool(function)


def test_a_deadline_is_a_time() -> None:
    with pytest.raises(ConfigError, match="deadline_ms is above 0"):
        Tool(order.function, deadline_ms=0)


# --- arguments ----------------------------------------------------------------------------------------------


def test_arguments_become_what_the_hints_say() -> None:
    given = order.signature.arguments(
        '{"name": "Ann", "size": "small", "toppings": [{"title": "olives", "grams": 20}], '
        '"when": "2026-11-20"}'
    )
    assert given["size"] is Size.SMALL
    assert given["when"] == dt.date(2026, 11, 20)
    assert given["toppings"] == [Topping(title="olives", grams=20)]
    assert order.function(**given) == "1 small for Ann, eat in, 2026-11-20, ['olives']"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"size": "small", "toppings": []}', "`name` is missing"),
        (
            '{"name": "A", "size": "huge", "toppings": []}',
            "`size`: input should be 'small' or 'large', got 'huge'",
        ),
        ('{"name": "A", "size": "small", "toppings": [], "cheese": 1}', "there is no argument `cheese`"),
        (
            '{"name": "A", "size": "small", "toppings": [{"title": "x", "grams": 0}]}',
            "`toppings.0.grams`: input",
        ),
        ('{"name": "A", "size": "small", "toppings": [], "when": "tomorrow"}', "`when"),
        ('{"name": "A", "si', "They: invalid JSON"),
        ("[]", "They: input should be an object, got []"),
    ],
)
def test_wrong_arguments_come_back_in_words_a_model_can_act_on(text: str, said: str) -> None:
    with pytest.raises(WrongArguments) as raised:
        order.signature.arguments(text)
    assert said in str(raised.value)
    assert str(raised.value).startswith("The arguments do not fit.")
    assert str(raised.value).endswith("Call again with what fits.")
    assert "pydantic" not in str(raised.value)


def test_a_long_wrong_argument_is_not_repeated_in_full() -> None:
    with pytest.raises(WrongArguments) as raised:
        order.signature.arguments(json.dumps({"name": ["x" * 9_000], "size": "small", "toppings": []}))
    assert len(str(raised.value)) < 300


# --- results ------------------------------------------------------------------------------------------------


@dataclasses.dataclass
class Booking:
    table: int
    at: dt.datetime


@pytest.mark.parametrize(
    ("result", "text"),
    [
        ("as it is", "as it is"),
        (None, "done"),
        (True, "true"),
        ({"a": [1, 2]}, '{"a":[1,2]}'),
        (
            Booking(3, dt.datetime(2026, 11, 20, 18, 30, tzinfo=dt.UTC)),
            '{"table":3,"at":"2026-11-20T18:30:00Z"}',
        ),
        (Topping(title="olives", grams=2), '{"title":"olives","grams":2}'),
        ({Size.SMALL}, '["small"]'),
        (object, "\"<class 'object'>\""),
    ],
)
def test_results_are_text_for_the_model(result: object, text: str) -> None:
    assert result_text(result) == text


@pytest.mark.parametrize("letter", ["x", "ö", "€", "😀"])
def test_a_long_result_is_cut_at_16_kib_of_whole_letters_and_says_so(letter: str) -> None:
    text = result_text(letter * 20_000)
    size = len(text.encode())
    assert MOST_RESULT_BYTES - 4 < size <= MOST_RESULT_BYTES == 16_384
    kept, note = text.split(" … ")
    assert note == f"(cut: the result had {20_000 * len(letter.encode()):,} bytes)"
    assert set(kept) == {letter}


def test_a_result_of_exactly_16_kib_is_whole() -> None:
    assert result_text("x" * 16_384) == "x" * 16_384
    assert len(result_text("x" * 16_385).encode()) <= 16_384


def test_half_a_letter_in_a_result_costs_no_call() -> None:
    assert result_text("\ud83d") == "\ud83d"
    json.dumps(result_text("\ud83d" * 20_000))


# --- running them -------------------------------------------------------------------------------------------


def door(*tools: Tool[Any, Any], **options: Any) -> Door:
    transfers = options.pop("transfers", ())
    return Door(Agent(tools=tools, **options), transfers=transfers)


def finished(
    *tools: Tool[Any, Any], name: str | None = None, arguments: str = "{}", **options: Any
) -> m.ToolFinished:
    async def call() -> m.ToolFinished:
        live = await door(*tools, **options).begin()
        return await live.call_tool(name or tools[0].name, arguments)

    return run(call())


@tool
async def greet(name: str) -> str:
    """Greet somebody."""
    return f"Hello {name}."


def test_what_the_model_calls_is_run_and_answered_under_its_call_id() -> None:
    assert finished(greet, arguments='{"name": "Ann"}') == m.ToolFinished("call_1", "Hello Ann.", True)


def test_wrong_arguments_are_a_result() -> None:
    output = json.loads(finished(greet, arguments="{}").output)
    assert output == {"error": "The arguments do not fit. `name` is missing. Call again with what fits."}


def test_a_tool_that_there_is_not_is_a_result_too() -> None:
    output = json.loads(finished(greet, name="great").output)
    assert output == {"error": "There is no tool 'great'. There is: greet."}


def test_a_tool_that_raises_tells_the_model_little_and_the_log_all(caplog: pytest.LogCaptureFixture) -> None:
    @tool
    async def look_up() -> str:
        """Look it up."""
        raise LookupError("the password is swordfish")

    with caplog.at_level(logging.ERROR, "bridge.user"):
        answer = finished(look_up)
    assert json.loads(answer.output) == {"error": "It failed. Tell the caller that it did not work."}
    assert answer.respond
    (record,) = caplog.records
    assert record.getMessage() == "tool look_up raised LookupError"
    assert record.exc_info is not None
    failure = record.exc_info[1]
    assert isinstance(failure, HandlerError)
    assert isinstance(failure.__cause__, LookupError)
    assert "in look_up" in caplog.text
    assert 'raise LookupError("the password is swordfish")' in caplog.text


def test_a_tool_may_say_in_its_own_words_why_there_is_no_result(caplog: pytest.LogCaptureFixture) -> None:
    @tool
    def book() -> str:
        """Book a table."""
        raise ToolError("There is no free table tonight.")

    assert json.loads(finished(book).output) == {"error": "There is no free table tonight."}
    assert caplog.records == []


def test_a_tool_past_its_deadline_is_given_up_and_the_log_shows_where_it_was(
    caplog: pytest.LogCaptureFixture,
) -> None:
    cancelled: list[bool] = []

    @tool
    async def sleepy() -> str:
        """Sleep."""
        try:
            await asyncio.sleep(30)
        except asyncio.CancelledError:
            cancelled.append(True)
            raise
        return "awake"

    async def call() -> tuple[m.ToolFinished, float]:
        live = await door(sleepy).begin()
        began_s = asyncio.get_running_loop().time()
        answer = await live.call_tool("sleepy")
        took_s = asyncio.get_running_loop().time() - began_s
        await settled()
        return answer, took_s

    answer, took_s = run(call())
    assert "It took too long" in answer.output
    assert 10 <= took_s < 10.01
    assert cancelled == [True]
    assert "tool sleepy: no result within 10000 ms; it is at:" in caplog.text
    assert "in sleepy" in caplog.text


def test_a_sync_tool_that_sleeps_is_given_up_and_its_thread_sleeps_on(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """With the real loop and threads: the audio loop gets the error result, and was never held up."""
    release = threading.Event()

    @tool(deadline_ms=50)
    def stuck() -> str:
        """Get stuck."""
        release.wait(30)
        return "late"

    async def call() -> m.ToolFinished:
        live = Door(Agent(tools=[stuck]))
        live.side = UserSide(
            live.side.agent, AgentConfigs(m.CallConfig()), upstream="embedded", loops=[UserLoop()]
        )
        live.side.start()
        await live.begin()
        answer = await live.call_tool("stuck")
        await asyncio.sleep(0.1)
        assert live.wished(m.ToolFinished) == []
        release.set()
        await asyncio.to_thread(live.side.close)
        return answer

    answer = asyncio.run(call())
    assert "It took too long" in answer.output
    assert "in stuck" in caplog.text


def test_a_call_id_runs_once() -> None:
    ran: list[str] = []

    @tool
    def count() -> str:
        """Count."""
        ran.append("once")
        return "counted"

    async def call() -> int:
        live = await door(count).begin()
        for _ in range(3):
            live.tell(m.ToolWanted("call_1", "count", "{}"))
        live.tell(m.ToolWanted("call_2", "count", "{}"))
        await settled()
        return len(live.wished(m.ToolFinished))

    assert run(call()) == 2
    assert ran == ["once", "once"]


def test_tools_run_side_by_side() -> None:
    @tool
    async def wait(ms: int) -> str:
        """Wait."""
        await asyncio.sleep(ms / 1000)
        return f"{ms}"

    async def call() -> list[str]:
        live = await door(wait).begin()
        live.tell(m.ToolWanted("a", "wait", '{"ms": 300}'), m.ToolWanted("b", "wait", '{"ms": 100}'))
        first = await live.next(m.ToolFinished)
        second = await live.next(m.ToolFinished)
        return [first.call_id, second.call_id]

    assert run(call()) == ["b", "a"]


def test_a_tool_that_runs_when_the_caller_hangs_up_runs_on() -> None:
    """A booking half made is worse than one nobody hears of."""
    done: list[str] = []

    @tool
    async def book() -> str:
        """Book a table."""
        await asyncio.sleep(2)
        done.append("booked")
        return "booked"

    async def call() -> None:
        live = await door(book).begin()
        live.tell(m.ToolWanted("call_1", "book", "{}"))
        await settled()
        live.end()
        await asyncio.sleep(3)

    run(call())
    assert done == ["booked"]


def test_a_tool_that_uses_the_session_of_a_call_that_is_over_ends_quietly(
    caplog: pytest.LogCaptureFixture,
) -> None:
    @tool
    async def tell(session: Session) -> str:
        """Tell them."""
        await asyncio.sleep(1)
        await session.say("Done.")
        return "told"

    async def call() -> m.ToolFinished:
        live = await door(tell).begin()
        live.tell(m.ToolWanted("call_1", "tell", "{}"))
        await settled()
        live.end()
        return await live.next(m.ToolFinished)

    assert run(call()) == m.ToolFinished("call_1", '{"error": "The call is over."}', False)
    assert caplog.records == []


def test_a_silent_tool_asks_for_no_response() -> None:
    @tool(respond=False)
    def log_it() -> None:
        """Log it."""

    assert finished(log_it) == m.ToolFinished("call_1", "done", False)


# --- approval -----------------------------------------------------------------------------------------------


@tool(needs_approval=True)
def refund(cents: int) -> str:
    """Refund money."""
    return f"refunded {cents}"


@pytest.mark.parametrize("sync", [True, False])
@pytest.mark.parametrize("verdict", [True, False])
def test_a_human_is_asked_first(sync: bool, verdict: bool) -> None:
    asked: list[tuple[str, dict[str, Any], str]] = []

    def approve(session: Session, approval: Any) -> Any:
        asked.append((approval.name, dict(approval.arguments), session.call_sid))

        async def later() -> bool:
            await asyncio.sleep(20)
            return verdict

        return verdict if sync else later()

    answer = finished(refund, arguments='{"cents": 500}', approve=approve)
    assert asked == [("refund", {"cents": 500}, "CA1")]
    denied = '{"error": "A human was asked and did not approve this."}'
    assert answer.output == ("refunded 500" if verdict else denied)


def test_a_human_who_is_silent_for_a_minute_has_not_approved(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def approve(_session: Session, _approval: Any) -> bool:
        await asyncio.sleep(3_600)
        return True

    assert "did not approve" in finished(refund, arguments='{"cents": 1}', approve=approve).output
    assert "refund was not approved" in caplog.text


def test_an_approval_that_raises_has_not_approved(caplog: pytest.LogCaptureFixture) -> None:
    def approve(_session: Session, _approval: Any) -> bool:
        raise ConnectionError("no chat")

    assert "did not approve" in finished(refund, arguments='{"cents": 1}', approve=approve).output
    assert "approve, asked for refund, raised ConnectionError" in caplog.text


def test_only_true_approves() -> None:
    answer = finished(refund, arguments='{"cents": 1}', approve=lambda _session, _approval: "perhaps")  # type: ignore[arg-type, return-value]
    assert "did not approve" in answer.output


# --- built in -----------------------------------------------------------------------------------------------


def test_hang_up_ends_the_call_and_asks_for_no_answer() -> None:
    async def call() -> list[m.Message]:
        live = await door(hang_up).begin()
        live.tell(m.ToolWanted("call_1", "hang_up", ""))
        await settled()
        return live.wishes

    goodbye, answer = run(call())
    assert goodbye == m.HangUp("the model said goodbye")
    assert isinstance(answer, m.ToolFinished)
    assert not answer.respond


def test_transfer_knows_the_configured_names_and_no_other() -> None:
    async def call() -> tuple[Any, list[m.Message], str]:
        live = await door(transfer, transfers=("billing", "front desk")).begin()
        (told,) = live.config.session.tools
        live.tell(m.ToolWanted("call_1", "transfer", '{"target": "billing"}'))
        await settled()
        wishes = list(live.wishes)
        live.wishes.clear()
        wrong = await live.call_tool("transfer", '{"target": "+15550001111"}', "call_2")
        return told, wishes, wrong.output

    told, (put_through, answer), wrong = run(call())
    assert told["parameters"]["properties"]["target"] == {"type": "string", "enum": ["billing", "front desk"]}
    assert put_through == m.Transfer("billing")
    assert isinstance(answer, m.ToolFinished)
    assert not answer.respond
    assert "`target`: input should be 'billing' or 'front desk'" in wrong


def test_transfer_without_any_target_is_refused_at_the_start() -> None:
    async def start() -> None:
        with pytest.raises(ConfigError, match="can transfer, but BRIDGE_TRANSFERS names no target"):
            door(transfer)

    run(start())


def test_a_filler_that_there_is_not_is_refused_at_the_start() -> None:
    @tool(filler="hum")
    def slow() -> str:
        """Slow."""
        return ""

    async def start() -> None:
        base = m.CallConfig(phrases={"filler": m.Sound("", 0), "apology": m.Sound("", 0)})
        with pytest.raises(ConfigError, match="there is no phrase 'hum'; there is apology, filler"):
            Door(Agent(tools=[slow]), base=base)

    run(start())
