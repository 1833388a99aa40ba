"""A call as a trace: what a collector gets, by its own reading of the wire."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from bridge.core import messages as m
from bridge.doctor import collector as doctors_collector
from bridge.doubles.options import ServerOptions
from bridge.ops import otel_names as names
from bridge.ops.otel import LONG_CALL_MS, MOST_WAITING, Batch, Exporter, Tracing
from bridge.ops.redaction import Mask
from bridge.settings.settings import load_settings
from bridge.testing.call import begin
from tests.otlp_collector import Collector, collector

from .kit import ROOT, Bridge, Model, Phone, Session, bridge, call_sid

pytestmark = pytest.mark.hostile

SID = "CA" + "0" * 31 + "1"
TRACE = "f1d4275ab1c13055b77d4e69c7eba8ce"
FIRST_TURN = "f47cd26b295034d0"
SERVER, CLIENT = 2, 3


@pytest.fixture(scope="module")
def collected() -> Iterator[Collector]:
    with collector() as seen:
        yield seen


@pytest.fixture
def exporter(collected: Collector) -> Iterator[Exporter]:
    collected.spans.clear()
    made = Exporter(f"{collected.url}/v1/traces", {"x-key": "secret"}, instance="m1", version="1.2")
    made.start()
    yield made
    made.close()


def played(tracing: Tracing, sid: str = SID, end: m.Reason = m.Reason.CALLER_HUNG_UP, **more: Any) -> Any:
    """A call with a tool, an answer, and an interruption, seen by its observer."""
    call = begin(model=ServerOptions(delta_bytes=(1_600,)), **more)
    core = call.rehearsal.call
    tracing.find = lambda _sid: core
    tracing.call_began(sid)
    call.at(1_000)
    call.caller.says("A table for Monday please.", ms=800)
    call.at(1_300)
    call.model.calls("book", day="Monday")
    call.at(3_500)
    call.rehearsal.feed(m.ToolFinished(core.stats.turn.tools[0].call_id, '{"error": "full"}'))
    call.model.answers("We are full on Monday, I am sorry to say.")
    told = 0
    for now_ms in range(3_600, 10_100, 100):
        if now_ms == 6_500:
            call.caller.says("What about Tuesday", ms=600)
            call.model.answers("Tuesday is fine.")
        call.at(now_ms)
        for at_ms, action in call.rehearsal.said[told:]:
            tracing.call_did(sid, action, at_ms)
        told = len(call.rehearsal.said)
    core.stats.ended_ms = 10_000
    tracing.call_ended(sid, m.Ended(end), core.stats)
    return call


def traced(exporter: Exporter, **how: Any) -> Tracing:
    return Tracing(exporter, provider="openai", budget_ms=60_000, **how)


def test_a_call_is_a_valid_trace(exporter: Exporter, collected: Collector) -> None:
    call = played(traced(exporter))
    turns = call.rehearsal.call.stats.turn_times
    spans = collected.until("invoke_agent")
    ids = {span.id for span in spans}
    assert {span.trace for span in spans} == {TRACE}
    assert len(ids) == len(spans)
    (root,) = [span for span in spans if not span.parent]
    assert (root.name.split()[0], root.kind, root.ms) == ("invoke_agent", SERVER, 10_000)
    assert root.attributes[names.CONVERSATION] == SID
    assert root.attributes[names.TURNS] == len(turns)
    assert (root.resource[names.SEMCONV_VERSION], root.resource["service.name"]) == ("1", "phonebridge")
    assert all(span.parent in ids for span in spans if span is not root)
    told = [span for span in spans if span.name.startswith("turn ")]
    assert told[0].id == FIRST_TURN
    for turn, span in zip(turns, told, strict=True):
        assert span.parent == root.id
        assert (span.ms, span.attributes[names.FELT_MS]) == (turn.felt_ms, turn.felt_ms)
        parts = {part: span.attributes[names.PART_MS.format(part=part)] for part in turn.parts()}
        assert sum(parts.values()) == span.ms
        assert span.start_ns - root.start_ns == (turn.last_word_ms or 0) * 1_000_000
        inside = {one.name: one for one in spans if one.parent == span.id}
        assert inside["endpointing"].ms == parts["endpointing"]
        assert inside["carrier"].attributes == {names.ESTIMATED: True}
        assert inside["carrier"].end_ns == span.end_ns
    (tool,) = collected.named("execute_tool book")
    assert (tool.parent, tool.ms) == (FIRST_TURN, turns[0].tools[0].finished_ms - turns[0].tools[0].wanted_ms)
    assert tool.error == "it failed"
    assert collected.named("barge_in")[0].attributes[names.TOLD_MS] > 0
    chats = collected.named("chat ")
    assert {chat.kind for chat in chats} == {CLIENT}
    assert sum(chat.attributes.get("gen_ai.usage.output_tokens", 0) for chat in chats) > 0
    assert collected.headers[-1]["x-key"] == "secret"


def test_nothing_that_was_said_goes_along(exporter: Exporter, collected: Collector) -> None:
    played(traced(exporter), sid="CA" + "2" * 32)
    text = str(collected.until("invoke_agent"))
    assert "Monday" not in text
    assert "Tuesday" not in text


def test_content_is_asked_for_and_masked(exporter: Exporter, collected: Collector) -> None:
    tracing = traced(exporter, content=True, mask=Mask(["Monday"]))
    played(tracing, session=m.SessionConfig(transcription="gpt-transcribe"))
    collected.until("invoke_agent")
    (first, *_) = collected.named("turn ")
    assert first.attributes[names.HEARD_TEXT].startswith("We are full on [hidden]")
    assert collected.named("execute_tool")[0].attributes[names.TOOL_ARGUMENTS] == '{"day": "[hidden]"}'
    assert "Monday" not in str(collected.spans)


def test_the_process_that_goes_on_with_a_call_closes_it(exporter: Exporter, collected: Collector) -> None:
    """The first process ends by handing over, or is killed: the call's own span is its successor's."""
    tracing = traced(exporter)
    call = played(tracing, end=m.Reason.HANDED_OVER)
    carried = call.rehearsal.call.carried(10_000)
    spans = collected.until("turn 2")
    assert collected.named("invoke_agent") == []
    began_at_s = int(time.time()) - 60
    carried = m.CallSnapshot(
        **{f: getattr(carried, f) for f in carried.__struct_fields__} | {"began_at_s": began_at_s}
    )
    played(tracing, carried=carried)
    both = collected.until("invoke_agent")
    assert len(both) > len(spans)
    (root,) = collected.named("invoke_agent")
    ids = {span.id for span in both}
    assert len(ids) == len(both)
    assert {span.trace for span in both} == {TRACE}
    assert all(span.parent in ids for span in both if span is not root)
    assert root.start_ns // 1_000_000_000 == began_at_s
    assert root.attributes[names.RESUMED] is True
    assert [span.name for span in both if span.name.startswith("turn")] == [
        "turn 1",
        "turn 2",
        "turn 3",
        "turn 4",
    ]


# --- sampling -----------------------------------------------------------------------------------------------


def test_the_sdks_sampler_decides_but_losses_are_kept(
    collected: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", "always_off")
    collected.spans.clear()
    exporter = Exporter(f"{collected.url}/v1/traces")
    exporter.start()
    played(traced(exporter))
    played(traced(exporter), end=m.Reason.UPSTREAM_LOST)
    exporter.close()
    (root,) = collected.named("invoke_agent")
    assert (root.error, root.attributes[names.KEPT]) == ("the model's socket was lost", "loss")


# --- long calls ---------------------------------------------------------------------------------------------


def test_closed_turns_of_a_long_call_are_told_while_it_lasts(
    exporter: Exporter, collected: Collector
) -> None:
    now_ns = [1_000_000_000_000_000_000]
    tracing = traced(exporter, now_ns=lambda: now_ns[0])
    call = begin()
    core = call.rehearsal.call
    tracing.find = lambda _sid: core
    tracing.call_began(SID)
    for number in range(4):
        core.stats.turn_ended(1_000 * number + 500, 1_000 * number + 900)
    tracing.flush()
    now_ns[0] += LONG_CALL_MS * 1_000_000
    tracing.flush()
    tracing.flush()
    assert [span.name for span in collected.until("turn 2") if "turn" in span.name] == ["turn 1", "turn 2"]
    tracing.call_ended(SID, m.Ended(m.Reason.CALLER_HUNG_UP), core.stats)
    spans = collected.until("invoke_agent")
    assert sorted(span.name for span in spans if "turn" in span.name) == [f"turn {n}" for n in (1, 2, 3, 4)]
    assert len({span.id for span in spans}) == len(spans)


# --- the webhook --------------------------------------------------------------------------------------------

REMOTE = ("ab" * 16, "cd" * 8)


def test_a_webhook_of_a_traced_request_is_linked(exporter: Exporter, collected: Collector) -> None:
    tracing = traced(exporter)
    tracing.webhook(SID, f"00-{REMOTE[0]}-{REMOTE[1]}-01")(200, False)
    played(tracing)
    collected.until("invoke_agent")
    (webhook,) = collected.named("POST")
    assert (webhook.trace, webhook.parent) == REMOTE
    assert webhook.attributes[names.HTTP_STATUS] == 200
    assert collected.named("invoke_agent")[0].links == ((REMOTE[0], webhook.id),)


@pytest.mark.parametrize(
    "traceparent",
    ["", "nonsense", f"00-{'0' * 32}-{'cd' * 8}-01", f"00-{'ab' * 16}-{'0' * 16}-01", "ff-" + "a" * 52],
)
def test_a_webhook_alone_belongs_to_the_call(
    exporter: Exporter, collected: Collector, traceparent: str
) -> None:
    traced(exporter).webhook(SID, traceparent)(200, False)
    (webhook,) = collected.until("POST")
    assert (webhook.trace, webhook.parent) == (TRACE, f"{names.root_id(SID):016x}")


# --- user code ----------------------------------------------------------------------------------------------


def test_spans_of_user_code_hang_below_the_tool(exporter: Exporter) -> None:
    import contextvars

    from opentelemetry import trace

    found = []

    def tool() -> None:
        found.append(trace.get_current_span().get_span_context())

    context = contextvars.copy_context()
    context.run(traced(exporter).enter, SID, "call_1")
    context.run(tool)
    thread = threading.Thread(target=context.copy().run, args=(tool,))
    thread.start()
    thread.join()
    for span in found:
        assert f"{span.trace_id:032x}" == TRACE
        assert span.span_id == names.tool_id(SID, "call_1")
        assert span.trace_flags.sampled
    assert trace.get_current_span().get_span_context().span_id == 0


# --- collectors that fail -----------------------------------------------------------------------------------


@pytest.mark.alone
def test_a_collector_that_stalls_costs_a_call_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    counted: Counter[str] = Counter()
    monkeypatch.setattr("bridge.ops.otel.CLOSE_S", 0.05)
    with collector() as seen:
        seen.released.clear()
        exporter = Exporter(
            f"{seen.url}/v1/traces", outcome=lambda kind, count: counted.update({kind: count})
        )
        exporter.start()
        tracing = traced(exporter)
        call = played(tracing)
        slowest_s = 0.0
        for number in range(MOST_WAITING + 100):
            tracing.call_began(f"CA{number:032x}")
            began_s = time.perf_counter()
            tracing.call_ended(
                f"CA{number:032x}", m.Ended(m.Reason.CALLER_HUNG_UP), call.rehearsal.call.stats
            )
            slowest_s = max(slowest_s, time.perf_counter() - began_s)
        began_s = time.perf_counter()
        exporter.close()
        assert time.perf_counter() - began_s < 2
    assert slowest_s < 0.05
    assert counted["dropped"] >= 99


@pytest.mark.parametrize("how", ["refuses", "garbage", "gone"])
def test_a_collector_that_fails_is_counted_and_forgotten(how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "1")
    counted: Counter[str] = Counter()
    with collector() as seen:
        seen.status, seen.garbage = 400, how == "garbage"
        url = "http://127.0.0.1:9/v1/traces" if how == "gone" else f"{seen.url}/v1/traces"
        exporter = Exporter(url, outcome=lambda kind, count: counted.update({kind: count}))
        exporter.start()
        played(traced(exporter))
        due_s = time.monotonic() + 10
        while not counted and time.monotonic() < due_s:
            time.sleep(0.01)
        exporter.close()
    assert set(counted) == {"failed"}


def test_a_span_that_cannot_be_made_loses_no_other(exporter: Exporter, collected: Collector) -> None:
    def broken() -> list[Any]:
        raise ValueError("no")

    exporter.put(Batch(1, 1, broken))
    played(traced(exporter))
    assert len(collected.until("invoke_agent")) > 10


# --- a whole server -----------------------------------------------------------------------------------------

AGENT = (ROOT / "examples" / "traced_tool.py").read_text()


async def calls_the_tool(session: Session) -> None:
    await session.turn_ends()
    response_id = await session.begin()
    item = {"id": "item_tool", "type": "function_call", "status": "completed", "call_id": "call_1"}
    item |= {"name": "opening_hours", "arguments": json.dumps({"day": "Monday"})}
    await session.tell("response.output_item.done", response_id=response_id, output_index=0, item=item)
    await session.done(response_id)


async def one_call(url: str, sid: str) -> tuple[Bridge, float]:
    """A caller who asks for the tool and hears its answer; and the longest time without sound of theirs at
    the model.
    """
    model = Model(calls_the_tool)
    serving = bridge(
        model,
        files={"mine.py": AGENT},
        BRIDGE_AGENT="mine:agent",
        OTEL_EXPORTER_OTLP_ENDPOINT=url,
        OTEL_EXPORTER_OTLP_TIMEOUT="1",
    )
    async with model, serving as served:
        phone = await Phone(served, sid).dial()
        await asyncio.sleep(1.0)
        since_s = time.monotonic()
        await phone.talk(0.6)
        await asyncio.sleep(2.5)
        heard_s, wait_s = phone.heard_s(), model.longest_wait_s(since_s)
        await phone.hang_up()
        await asyncio.sleep(0.5)
    assert heard_s > 0.9
    return served, wait_s


def test_a_served_call_is_a_trace_with_the_spans_of_its_tools() -> None:
    sid = call_sid()
    with collector() as seen:
        served, _ = asyncio.run(one_call(seen.url, sid))
        seen.until("invoke_agent")
    trace = f"{names.trace_id(sid):032x}"
    spans = [span for span in seen.spans if span.trace == trace]
    (root,) = [span for span in spans if span.name.startswith("invoke_agent")]
    (tool,) = [span for span in spans if span.name == "execute_tool opening_hours"]
    (database,) = [span for span in spans if span.name == "database"]
    (webhook,) = [span for span in spans if span.name == names.WEBHOOK]
    assert database.parent == tool.id
    assert tool.start_ns - 50_000_000 <= database.start_ns <= database.end_ns <= tool.end_ns + 50_000_000
    assert webhook.parent == root.id
    assert [span.parent for span in spans if span.name == "turn 1"] == [root.id]
    assert root.error is None
    assert abs(root.end_ns - time.time_ns()) < 30_000_000_000
    assert [line["trace_id"] for line in served.events("call.summary")] == [trace]


@pytest.mark.alone
def test_a_served_call_does_not_notice_a_collector_that_stalls() -> None:
    with collector() as seen:
        seen.released.clear()
        served, wait_s = asyncio.run(one_call(seen.url, call_sid()))
    assert seen.requests
    assert wait_s < 0.25
    assert served.events("call.summary")[0]["reason"] == "caller_hung_up"


@pytest.mark.parametrize(("status", "cure"), [(200, False), (401, True)])
def test_the_doctor_asks_the_collector(status: int, cure: bool) -> None:
    with collector() as seen:
        seen.status = status
        settings = load_settings(env_file=None, insecure=True, otel_endpoint=seen.url)
        what, found = asyncio.run(doctors_collector.collector(settings))
    assert "does not take" in what if cure else "takes traces" in what
    assert bool(found) is cure
    assert seen.requests == 1
