"""Where the time of each answer went, as bars of parts: from the caller's last word to what they hear."""

from __future__ import annotations

from typing import Final

from ..core.turn_times import PARTS, TurnTimes
from .chart import clock
from .lanes import Story

_WIDE: Final = 1_000
"""Of the longest bar, in units of the drawing: it is as wide as there is room."""
_TALL: Final = 14
_MEANING: Final = {
    "endpointing": "until the turn is called over",
    "asking": "until the model begins",
    "model": "until its first sound",
    "tools": "tools run",
    "queue": "earlier sound is played",
    "carrier": "the way to the caller",
}


def waterfall(story: Story) -> str:
    """The bars as HTML, "" where no answer was timed. Each names its parts in words, too."""
    timed = [turn for turn in story.stats.turn_times if turn.felt_ms is not None]
    if not timed:
        return ""
    longest_ms = max(1, *(turn.felt_ms or 0 for turn in timed))
    used = {name for turn in timed for name, ms in turn.parts().items() if ms}
    key = "".join(
        f'<li><svg width="14" height="14" aria-hidden="true">'
        f'<rect class="part-{name}" width="14" height="14" rx="3"/></svg>{name}: {_MEANING[name]}</li>'
        for name in PARTS
        if name in used
    )
    rows = "".join(_row(turn, longest_ms) for turn in timed)
    return f'<ul class="parts">{key}</ul><ol class="falls">{rows}</ol>'


def _row(turn: TurnTimes, longest_ms: int) -> str:
    x, bars, words = 0.0, "", []
    for name, ms in turn.parts().items():
        if ms:
            wide = ms * _WIDE / longest_ms
            bars += f'<rect class="part-{name}" x="{x:.1f}" width="{wide:.1f}" height="{_TALL}"/>'
            x += wide
            words.append(f"{name} {ms:,} ms")
    told = ", ".join(words)
    about = "" if turn.way_known else " and the carrier's way, which is unknown"
    at = f'<button data-at="{turn.last_word_ms}">{clock(turn.last_word_ms or 0)[:-4]}</button>'
    return (
        f'<li>{at}<b>{turn.felt_ms:,} ms</b><svg viewBox="0 0 {_WIDE} {_TALL}" preserveAspectRatio="none" '
        f'role="img" aria-label="{told or "at once"}">{bars}</svg><small>{told}{about}</small></li>'
    )
