"""The chart: lanes over time, as a Vega-Lite specification, compiled to Vega.

All lanes share one coordinate system, in pixels from the top, and one time axis, which can be dragged and
zoomed. Colours are names of CSS variables, so that the page's light and dark apply to it.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any, Final

from . import lanes as s
from .lanes import Bar, Point, Story

LABEL_PX: Final = 17
GAP_PX: Final = 9
LANES: Final[dict[str, int]] = {
    s.CALLER: 20,
    s.MODEL: 18,
    s.SENT: 14,
    s.HEARD: 26,
    s.DEPTH: 54,
    s.MARKS: 18,
    s.CUTS: 48,
    s.TOOLS: 36,
    s.SESSION: 12,
    s.TROUBLE: 16,
}
"""Each lane's height in pixels, from the top."""

SHAPES: Final = {
    "echo": "triangle-down",
    "flushed": "triangle-down",
    "mark": "triangle-up",
    "clear": "M-0.6,-0.6L0.6,0.6M0.6,-0.6L-0.6,0.6",
    "truncate": "triangle-left",
    "delete": "square",
    "cancel": "diamond",
    "interrupt": "diamond",
    "key": "circle",
    "error": "triangle-up",
    "note": "circle",
    "delta": "stroke",
    "unsent": "stroke",
}
KINDS: Final = (
    "caller", "voice", "key", "model", "delta", "unsent", "heard", "ours", "mark", "echo", "flushed", "clear",
    "cancel", "interrupt", "truncate", "delete", "lost", "tool", "failed", "dialling", "session", "error",
    "note",
)  # fmt: skip
"""Of each there is a CSS variable, `--kind-…`."""
_COLOURS: Final = {"domain": list(KINDS), "range": [f"var(--kind-{kind})" for kind in KINDS]}
_X: Final = "at"
ZOOM: Final = "zoom"


def specification(story: Story) -> dict[str, Any]:
    """The chart in Vega-Lite. Its width is that of its container; the data are inside."""
    tops = _tops(story)
    height = max(top + LANES[lane] for lane, top in tops.items()) + GAP_PX
    end_ms = max(story.end_ms, 1_000)
    return {
        "width": "container",
        "height": height,
        "autosize": {"type": "fit-x", "contains": "padding"},
        "padding": 0,
        "background": None,
        "config": _CONFIG,
        "encoding": {
            "x": {
                "field": _X,
                "type": "quantitative",
                "scale": {"domain": [0, end_ms], "nice": False},
                "axis": {
                    "orient": "top",
                    "title": None,
                    "labelExpr": _CLOCK,
                    "values": {"expr": _TICKS},
                    "grid": True,
                },
            }
        },
        "layer": [
            _lanes(tops),
            *_depth(story, tops),
            _cuts(story, tops, height),
            _lost(story, tops),
            _bars(story, tops),
            _words(story, tops),
            _beside(story, tops),
            _points(story, tops),
            _notes(story, tops),
        ],
    }


_CLOCK: Final = (
    "floor(datum.value / 60000) + ':' + "
    "format((datum.value % 60000) / 1000, datum.value % 1000 ? '04.1f' : '02d')"
)
_STEPS_MS: Final = (
    100, 200, 500, 1_000, 2_000, 5_000, 10_000, 15_000, 30_000, 60_000, 120_000, 300_000, 600_000,
)  # fmt: skip


def _ticks() -> str:
    """Where the time axis has its numbers: at round times, as many as there is room for."""
    least_ms = "(domain('x')[1] - domain('x')[0]) * 80 / width"
    step = "".join(f"{least_ms} <= {ms} ? {ms} : " for ms in _STEPS_MS) + str(6 * _STEPS_MS[-1])
    return f"sequence(ceil(domain('x')[0] / ({step})) * ({step}), domain('x')[1] + 1, {step})"


_TICKS: Final = _ticks()
_CONFIG: Final = {
    "view": {"stroke": None},
    "axis": {
        "labelColor": "var(--faint)",
        "tickColor": "var(--rule)",
        "gridColor": "var(--rule)",
        "domain": False,
        "labelFontSize": 11,
        "labelFont": "inherit",
    },
    "text": {
        "font": "system-ui, -apple-system, Segoe UI, Roboto, Noto Sans, sans-serif"
    },  # measured as drawn
}


def _tops(story: Story) -> dict[str, int]:
    """Where each lane that is not empty begins."""
    used = {bar.lane for bar in story.bars} | {point.lane for point in story.points}
    used |= {s.CALLER, s.MODEL, s.HEARD, s.DEPTH}
    tops, at = {}, 0
    for lane, height in LANES.items():
        if lane in used:
            tops[lane] = at + LABEL_PX
            at += LABEL_PX + height + GAP_PX
    return tops


def _y(field: str) -> dict[str, Any]:
    return {"field": field, "type": "quantitative", "scale": None, "axis": None}


def _place(tops: dict[str, int], lane: str, row: int, rows: int) -> tuple[float, float]:
    height = LANES[lane] / rows
    return tops[lane] + row * height, tops[lane] + (row + 1) * height


def _fill() -> dict[str, Any]:
    return {"field": "kind", "type": "nominal", "scale": _COLOURS, "legend": None}


def _lanes(tops: dict[str, int]) -> dict[str, Any]:
    """Names and base lines."""
    rows = [{"name": lane, "y": top - 6, "base": top + LANES[lane] + 4} for lane, top in tops.items()]
    return {
        "data": {"values": rows},
        "encoding": {"x": {"value": 0}},
        "layer": [
            {
                "mark": {"type": "rule", "color": "var(--rule)"},
                "encoding": {"x2": {"value": "width"}, "y": _y("base")},
            },
            {
                "mark": {"type": "text", "align": "left", "fontSize": 11, "fill": "var(--faint)"},
                "encoding": {"text": {"field": "name"}, "y": _y("y")},
            },
        ],
    }


_WHEEL: Final = "wheel![event.ctrlKey || event.metaKey || event.shiftKey]"
_DRAG: Final = "[pointerdown, window:pointerup] > window:pointermove!"


_AREA: Final = {
    "type": "area",
    "clip": True,
    "fill": "var(--buffer)",
    "line": {"color": "var(--buffer-line)", "strokeWidth": 1},
}
_LABEL: Final = {"type": "text", "align": "right", "dx": -2, "dy": -5, "fontSize": 10, "fill": "var(--faint)"}
_SCALE: Final = [
    {
        "mark": {"type": "rule", "color": "var(--rule)", "strokeDash": [2, 3]},
        "encoding": {"x2": {"value": "width"}},
    },
    {"mark": _LABEL, "encoding": {"text": {"field": "text"}, "x": {"value": "width"}}},
]
"""Lines to read the carrier's buffer by."""


def _depth(story: Story, tops: dict[str, int]) -> list[dict[str, Any]]:
    """The carrier's buffer, as an area with its own scale and two lines to read it by."""
    top, height = tops[s.DEPTH], LANES[s.DEPTH]
    most = max(ms for _, ms in story.depth)
    step = next((one for one in _DEPTHS_MS if most <= 2 * one), _DEPTHS_MS[-1])
    scale = height / max(most, step)
    corners = [*story.depth, (story.end_ms, max(0, story.depth[-1][1] - (story.end_ms - story.depth[-1][0])))]
    area = [
        {_X: round(at_ms), "top": round(top + height - ms * scale, 1), "base": top + height}
        for at_ms, ms in corners
    ]
    lines = [
        {"y": top + height - ms * scale, "text": f"{ms / 1000:g} s"}
        for ms in range(step, int(max(most, step)) + 1, step)
    ]
    tooltip = {"value": "what the carrier has of us to play"}
    sides = {"y": _y("top"), "y2": {"field": "base"}, "tooltip": tooltip}
    return [
        {"data": {"values": area}, "mark": _AREA, "encoding": sides},
        {"data": {"values": lines}, "encoding": {"y": _y("y"), "x": {"value": 0}}, "layer": _SCALE},
    ]


_DEPTHS_MS: Final = (500, 1_000, 2_000, 5_000, 10_000, 30_000, 60_000)


def _bars(story: Story, tops: dict[str, int]) -> dict[str, Any]:
    drawn = [bar for bar in story.bars if bar.kind != s.LOST]
    values = [_bar(bar, tops) for bar in sorted(drawn, key=lambda bar: bar.kind != "voice")]
    return {
        "params": [
            {
                "name": ZOOM,
                "bind": "scales",
                "select": {"type": "interval", "encodings": ["x"], "zoom": _WHEEL, "translate": _DRAG},
            }
        ],
        "data": {"values": values},
        "mark": {"type": "rect", "clip": True, "cornerRadius": 3, "strokeWidth": 1.5, "strokeJoin": "round"},
        "encoding": {
            "x2": {"field": "to"},
            "y": _y("y"),
            "y2": {"field": "y2"},
            "fill": _fill(),
            "stroke": _fill(),
            "tooltip": {"field": "tip"},
        },
    }


def _lost(story: Story, tops: dict[str, int]) -> dict[str, Any]:
    """What the caller would have heard."""
    return {
        "data": {"values": [_bar(bar, tops) for bar in story.bars if bar.kind == s.LOST]},
        "mark": {
            "type": "rect",
            "clip": True,
            "cornerRadius": 3,
            "fill": f"var(--kind-{s.LOST})",
            "fillOpacity": 0.07,
            "stroke": f"var(--kind-{s.LOST})",
            "strokeOpacity": 0.6,
            "strokeDash": [3, 3],
        },
        "encoding": {"x2": {"field": "to"}, "y": _y("y"), "y2": {"field": "y2"}, "tooltip": {"field": "tip"}},
    }


def _bar(bar: Bar, tops: dict[str, int]) -> dict[str, Any]:
    y, y2 = _place(tops, bar.lane, bar.row, bar.rows)
    inset = 1 if bar.rows == 1 else 2
    if bar.kind == "voice":  # behind the turns, of which it is the proof
        y, y2 = y2 - 4, y2 + 2
    return {
        _X: round(bar.start_ms),
        "to": round(bar.end_ms),
        "y": y + inset,
        "y2": y2 - inset,
        "kind": bar.kind,
        "tip": f"{bar.title}\n{_span(bar)}\n{bar.detail}",
    }


def _span(bar: Bar) -> str:
    return f"{clock(bar.start_ms)} to {clock(bar.end_ms)} ({round(bar.end_ms - bar.start_ms):,} ms)"


def _words(story: Story, tops: dict[str, int]) -> dict[str, Any]:
    """What is written on bars: as much of their words as there is room for."""
    spoken = [bar for bar in story.bars if bar.words]
    values = [
        {
            _X: bar.start_ms,
            "to": bar.end_ms,
            "y": sum(_place(tops, bar.lane, bar.row, bar.rows)) / 2,
            "text": bar.words,
        }
        for bar in spoken
    ]
    room = f"max(0, scale('x', datum.to) - max(0, scale('x', datum.{_X})) - 12)"
    return {
        "data": {"values": values},
        "transform": [{"filter": f"datum.to > datum.{_X}"}],
        "mark": {
            "type": "text",
            "align": "left",
            "baseline": "middle",
            "dx": 6,
            "clip": True,
            "fontSize": 11,
            "fill": "var(--on-bar)",
            "limit": {"expr": room},
            "opacity": {"expr": f"{room} < 26 ? 0 : 1"},
            "ellipsis": "…",
        },
        "encoding": {"y": _y("y"), "text": {"field": "text"}},
    }


def _beside(story: Story, tops: dict[str, int]) -> dict[str, Any]:
    """Names of tools that were too quick for a name on their bar: to the right of it."""
    tools = [bar for bar in story.bars if bar.lane == s.TOOLS]
    values = [
        {
            _X: bar.end_ms,
            "from": bar.start_ms,
            "y": sum(_place(tops, bar.lane, bar.row, bar.rows)) / 2,
            "text": bar.words,
            "kind": bar.kind,
        }
        for bar in tools
    ]
    room = f"scale('x', datum.{_X}) - max(0, scale('x', datum.from)) - 12"
    right = f"scale('x', datum.{_X}) > width - 120"
    return {
        "data": {"values": values},
        "mark": {
            "type": "text",
            "align": {"expr": f"{right} ? 'right' : 'left'"},
            "baseline": "middle",
            "dx": {"expr": f"{right} ? -8 : 4"},
            "clip": True,
            "fontSize": 11,
            "fill": {"expr": "datum.kind == 'failed' ? 'var(--bad)' : 'var(--faint)'"},
            "limit": 220,
            "opacity": {"expr": f"{room} < 26 ? 1 : 0"},
            "ellipsis": "…",
        },
        "encoding": {"y": _y("y"), "text": {"field": "text"}},
    }


def _points(story: Story, tops: dict[str, int]) -> dict[str, Any]:
    kinds = [kind for kind in KINDS if kind in SHAPES]
    shapes = {"domain": kinds, "range": [SHAPES[kind] for kind in kinds]}
    return {
        "data": {"values": [_point(point, tops) for point in story.points]},
        "mark": {"type": "point", "clip": True, "filled": True, "strokeWidth": 1.6, "opacity": 1},
        "encoding": {
            "y": _y("y"),
            "shape": {"field": "kind", "type": "nominal", "scale": shapes, "legend": None},
            "fill": _fill(),
            "stroke": _fill(),
            "size": {"field": "size", "type": "quantitative", "scale": None, "legend": None},
            "angle": {"field": "angle", "type": "quantitative", "scale": None, "legend": None},
            "tooltip": {"field": "tip"},
        },
    }


def _point(point: Point, tops: dict[str, int]) -> dict[str, Any]:
    y, y2 = _place(tops, point.lane, point.row, point.rows)
    tick = point.kind in ("delta", "unsent")
    title = f"{point.title}, and {point.times - 1} more" if point.times > 1 else point.title
    return {
        _X: point.at_ms,
        "y": (y + y2) / 2,
        "kind": point.kind,
        "size": (LANES[point.lane] - 6) ** 2 if tick else 70,
        "angle": 90 if tick else 0,
        "tip": f"{title}\n{clock(point.at_ms)}\n{point.detail}",
    }


def _notes(story: Story, tops: dict[str, int]) -> dict[str, Any]:
    """What is written next to points."""
    noted = [point for point in story.points if point.words]
    room_ms = [after.at_ms - point.at_ms for point, after in pairwise(noted)] + [story.end_ms]
    values = [
        {
            _X: point.at_ms,
            "y": sum(_place(tops, point.lane, point.row, point.rows)) / 2,
            "text": point.words,
            "next": point.at_ms + ms,
        }
        for point, ms in zip(noted, room_ms, strict=False)
    ]
    return {
        "data": {"values": values},
        "mark": {
            "type": "text",
            "align": "left",
            "baseline": "middle",
            "dx": 8,
            "clip": True,
            "fontSize": 10.5,
            "fill": "var(--faint)",
            "opacity": {"expr": f"scale('x', datum.next) - scale('x', datum.{_X}) < 90 ? 0 : 1"},
        },
        "encoding": {"y": _y("y"), "text": {"field": "text"}},
    }


def _cuts(story: Story, tops: dict[str, int], height: int) -> dict[str, Any]:
    """A line through all lanes at each barge-in."""
    values = [
        {_X: at_ms, "y": tops[s.CALLER] - LABEL_PX, "y2": height, "tip": f"barge-in at {clock(at_ms)}"}
        for at_ms in story.barge_ins
    ]
    return {
        "name": "barge-ins",
        "data": {"values": values},
        "mark": {
            "type": "rule",
            "clip": True,
            "color": "var(--kind-clear)",
            "strokeDash": [4, 3],
            "opacity": 0.5,
        },
        "encoding": {"y": _y("y"), "y2": {"field": "y2"}, "tooltip": {"field": "tip"}},
    }


def clock(ms: float) -> str:
    """A moment of the call, to the millisecond: `1:02.345`."""
    whole = round(ms)
    return f"{whole // 60_000}:{whole % 60_000 / 1000:06.3f}"
