"""The chart of a story as plain data, for `chart.js` to draw: lanes, bars, points, the carrier's buffer.

Times are ms since the call was accepted. Colours are those of the kinds: CSS variables, so that light and
dark apply to them.
"""

from __future__ import annotations

from typing import Any, Final

from . import lanes as s
from .lanes import Bar, Point, Story

LANES: Final[dict[str, int]] = {
    s.CALLER: 28,
    s.MODEL: 18,
    s.SENT: 14,
    s.HEARD: 26,
    s.DEPTH: 48,
    s.MARKS: 22,
    s.CUTS: 48,
    s.TOOLS: 40,
    s.SESSION: 14,
    s.TROUBLE: 16,
}
"""Each lane's height in pixels, from the top."""
_ALWAYS: Final = {s.CALLER, s.MODEL, s.HEARD, s.DEPTH}

KINDS: Final = (
    "caller", "voice", "key", "model", "delta", "unsent", "heard", "ours", "mark", "echo", "flushed", "clear",
    "cancel", "interrupt", "truncate", "delete", "lost", "tool", "failed", "dialling", "session", "error",
    "note",
)  # fmt: skip
"""Of each there is a CSS variable, `--kind-…`."""


def chart(story: Story) -> dict[str, Any]:
    """What `chart.js` draws. A bar is [lane, kind, from, to, row, rows, words, title, detail]; a point is
    [lane, kind, at, row, rows, words, title, detail]: lanes by their number. Points that come many times a
    second are together: [lane, kind, row, rows, ticks], a tick is [at, title, detail, delay]; `delay` of an
    echo is in ms behind the moment at which its sound should have been played, null where that is unknown.
    """
    used = _ALWAYS | {bar.lane for bar in story.bars} | {point.lane for point in story.points}
    lanes = [lane for lane in LANES if lane in used]
    number = {lane: index for index, lane in enumerate(lanes)}
    return {
        "end": max(story.end_ms, 1_000),
        "lanes": [[lane, LANES[lane]] for lane in lanes],
        "roles": {"tools": number.get(s.TOOLS), "marks": number.get(s.MARKS), "depth": number[s.DEPTH]},
        "bars": [[number[bar.lane], *_bar(bar)] for bar in story.bars],
        "points": [[number[one.lane], *_point(one)] for one in story.points if one.kind not in s.TICKS],
        "ticks": _ticks(story.points, number),
        "depth": [[round(at_ms), round(ms)] for at_ms, ms in (*story.depth, _last(story))],
        "cuts": list(story.barge_ins),
    }


def _bar(bar: Bar) -> list[Any]:
    when = [bar.kind, round(bar.start_ms), round(bar.end_ms)]
    return [*when, bar.row, bar.rows, bar.words, bar.title, bar.detail]


def _point(point: Point) -> list[Any]:
    where = [point.kind, round(point.at_ms), point.row, point.rows]
    return [*where, point.words, point.title, point.detail]


def _ticks(points: list[Point], number: dict[str, int]) -> list[list[Any]]:
    groups: dict[tuple[str, str], list[Any]] = {}
    for point in points:
        if point.kind in s.TICKS:
            where = [number[point.lane], point.kind, point.row, point.rows, []]
            group = groups.setdefault((point.lane, point.kind), where)
            title = f"{point.title}, and {point.times - 1} more" if point.times > 1 else point.title
            group[-1].append([round(point.at_ms), title, point.detail, point.delay_ms])
    return list(groups.values())


def _last(story: Story) -> tuple[float, float]:
    """Where the carrier's buffer stands when the call is over: it has run down since its last corner."""
    at_ms, ms = story.depth[-1]
    return max(at_ms, story.end_ms), max(0, ms - max(0, story.end_ms - at_ms))


def clock(ms: float) -> str:
    """A moment of the call, to the millisecond: `1:02.345`."""
    whole = round(ms)
    return f"{whole // 60_000}:{whole % 60_000 / 1000:06.3f}"
