"""One call as the console shows it, with a little of everything: cut words, a failed tool, marks."""

from __future__ import annotations

from typing import Any

from .console_board import line, row, whole


def lane(
    name: str, kind: str, from_ms: int, to_ms: int | None, state: str = "", text: str = ""
) -> dict[str, Any]:
    return {"id": name, "lane": kind, "from_ms": from_ms, "to_ms": to_ms, "state": state, "text": text}


def tool(
    number: int, name: str, at_ms: int, ms: int | None, state: str, given: str, output: str
) -> dict[str, Any]:
    return {
        "id": f"c{number}",
        "name": name,
        "at_ms": at_ms,
        "ms": ms,
        "state": state,
        "input": given,
        "output": output,
        "hidden": [],
    }


def event(number: int, of: str, name: str, text: str) -> dict[str, Any]:
    raw = f'{{"is": "{name}"}}'
    return {"id": number, "at_ms": number * 900, "of": of, "name": name, "text": text, "raw": raw}


WORDS = [
    line(1, "agent", 1_200, "Good day, the Olive Tree. How may I help you?", heard_ms=2_600, made_ms=2_600),
    line(2, "caller", 6_200, "are you open on sunday"),
    line(
        3,
        "agent",
        7_100,
        "On sunday we are open from nine o'clock to five thirty.",
        heard=21,
        state="cut",
        heard_ms=1_310,
        made_ms=3_900,
    ),
    line(4, "caller", 10_400, "book a table for two on friday at seven thirty"),
    line(5, "operator", 12_000, "The caller is a regular guest; be brief."),
    line(6, "bridge", 13_400, "One moment, please.", heard_ms=900, made_ms=900),
    line(
        7,
        "agent",
        16_000,
        "Friday, half past seven, two people. Your booking is A7.",
        heard_ms=3_600,
        made_ms=3_600,
    ),
    line(8, "caller", 23_000, "and can i bring my dog along"),
    line(
        9,
        "agent",
        24_200,
        "Of course. Dogs are welcome on the terrace, and we keep the table for a while.",
        heard=11,
        state="playing",
        heard_ms=700,
        made_ms=5_200,
    ),
]
PARTS = [("endpointing", 0, 60), ("model", 60, 181), ("carrier", 181, 221)]
SLOW = [("endpointing", 0, 70), ("tools", 70, 1_100), ("model", 1_100, 1_200), ("carrier", 1_200, 1_240)]
TURNS = [
    {"id": "t1", "at_ms": 7_100, "felt_ms": 221, "parts": PARTS},
    {"id": "t2", "at_ms": 16_000, "felt_ms": 1_240, "parts": SLOW},
    {"id": "t3", "at_ms": 24_200, "felt_ms": 318, "parts": []},
]
TOOLS = [
    tool(1, "opening_hours", 6_500, 42, "done", '{"day": "sunday"}', "9:00 to 17:30"),
    tool(
        2, "book", 11_300, 850, "done", '{"day": "friday", "time": "19:30", "people": 2}', '{"booking": "A7"}'
    ),
    tool(
        3,
        "guest_notes",
        23_400,
        512,
        "failed",
        '{"pin": "•••"}',
        "ConnectionError: the guest book does not answer",
    ),
]
LANES = [
    lane("hw1", "heard", 1_200, 3_800, "model"),
    lane("caller1", "caller", 4_600, 6_100),
    lane("tool1", "tool", 6_500, 6_542, "done", "opening_hours"),
    lane("hw3", "heard", 7_100, 8_410, "cut"),
    lane("m1", "mark", 8_410, 8_410, "barge_in", "heard 1310 ms"),
    lane("caller2", "caller", 8_300, 10_300),
    lane("tool2", "tool", 11_300, 12_150, "done", "book"),
    lane("m2", "mark", 12_000, 12_000, "operator", "whisper"),
    lane("hw6", "heard", 13_400, 14_300, "phrase"),
    lane("hw7", "heard", 16_000, 19_600, "model"),
    lane("m3", "mark", 20_400, 20_400, "key", "•"),
    lane("caller3", "caller", 21_400, 22_900),
    lane("tool3", "tool", 23_400, 23_912, "failed", "guest_notes"),
    lane("hw9", "heard", 24_200, None, "model"),
]
EVENTS = [
    event(1, "call", "CallBegan", ""),
    event(2, "caller", "CallerSpoke", "begins to speak"),
    event(3, "tool", "ToolWanted", 'calls the tool opening_hours({"day": "sunday"})'),
    event(4, "agent", "Spoken", "heard On sunday we are open, and lost the rest"),
    event(5, "trouble", "Noted", "a tool failed: guest_notes"),
]
COST = {
    "micro_usd": 41_200,
    "tokens": {"audio_in": 1_820, "audio_out": 2_210, "text_in": 3_400, "cached_in": 2_100},
    "transcribed_s": 0.0,
    "limit_micro_usd": 500_000,
}


def scene(**fields: Any) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """The rows of a list, and the whole of its first call, whose row has these fields."""
    first = row("CA1", trouble=["a tool failed: guest_notes"], tools=3, tools_failed=1, **fields)
    rows = [
        first,
        row(
            "CA2",
            caller="+44 … 07",
            agent="desk:agent",
            state="recovering",
            barge_ins=0,
            last_who="caller",
            trouble=["the model is lost, dialled again"],
            last_words="I would like to speak to a person, please",
        ),
        row(
            "CA3",
            direction="out",
            called="+49 … 12",
            state="ringing",
            last_words="",
            turns=0,
            barge_ins=0,
            answered_p50_ms=None,
            cost_micro_usd=0,
            tools=0,
        ),
        row("CA4", caller="+1 … 78", state="away", last_words="One moment, I put you through."),
        row(
            "CA5",
            caller="+1 … 55",
            state="ended",
            ended_at=first["began_at"] + 61_000,
            end="the caller hung up",
        ),
    ]
    shown = whole(
        first,
        parameters={"campaign": "autumn", "tier": "gold"},
        instructions="You are the host of the Olive Tree.",
        at_ms=25_000,
        words=WORDS,
        turns=TURNS,
        tools=TOOLS,
        lanes=LANES,
        events=EVENTS,
        cost=COST,
    )
    return rows, shown
