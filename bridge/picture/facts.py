"""What is read of a call before its picture: headline, hero and facts, in words; the same as JSON."""

from __future__ import annotations

from contextlib import suppress
from datetime import datetime
from typing import Any

from ..core.playout import UNTOLD
from .chart import clock
from .lanes import Cut, Story


def headline(story: Story, name: str) -> str:
    """When the call was, who called whom, with which model, how long; the file's name where none is known."""
    header = story.header
    when = ""
    with suppress(ValueError):
        when = f"{datetime.fromisoformat(header.at):%a %d %b %Y, %H:%M}"
    people = " → ".join(part for part in (header.caller, header.config.agent.name) if part)
    known = [part for part in (when, people, header.config.session.model) if part]
    return " · ".join([*known, _duration(story)]) if when or people else name


def _duration(story: Story) -> str:
    return clock(story.end_ms).rpartition(".")[0]


def cuts(story: Story) -> list[Cut]:
    """What was cut, and the model told of."""
    return [cut for cuts in story.barge_ins.values() for cut in cuts if cut.error_ms is not None]


def hero(story: Story) -> tuple[str, str, str, bool]:
    """What the reader is to know first: cuts that the model was not told of, else how far off its idea of
    what was heard has been; without a barge-in, how soon answers came. Returns the figure, what it is, a
    remark, and whether it is bad.
    """
    told, untold = cuts(story), sum(story.stats.cuts_untold.values())
    if not told and not untold:
        latencies = sorted(story.stats.turn_latencies_ms)
        return _spread(latencies), "from the caller's last sound to the answer", "", False
    times = "one barge-in" if len(story.barge_ins) == 1 else f"{len(story.barge_ins)} barge-ins"
    if untold:
        what = f"{'cut' if untold == 1 else 'cuts'} not told to the model, over {times}"
        return str(untold), what, "it believes that all was heard", True
    worst = max(told, key=lambda cut: abs(cut.error_ms or 0))
    heard = f"the caller heard {worst.heard_ms:,} ms, the model was told {worst.told_ms:,}"
    return f"{worst.error_ms:,} ms", f"largest truncation error, over {times}", heard, bool(worst.error_ms)


def felt(story: Story) -> list[tuple[str, str]]:
    """What the caller felt: names and values."""
    stats = story.stats
    found = [
        ("answered after", _spread(sorted(stats.turn_latencies_ms))),
        ("largest error", _largest_error(story)),
        ("barge-ins", str(len(story.barge_ins))),
        ("turns", str(stats.turns)),
    ]
    if stats.cuts_untold:
        found.append((UNTOLD, str(sum(stats.cuts_untold.values()))))
    if stats.recoveries:
        gaps = ", ".join(f"{ms:,} ms" for ms in stats.gaps_ms)
        times = "once" if stats.recoveries == 1 else f"{stats.recoveries} times"
        found.append(("model lost", f"{times}, and had back after {gaps}" if gaps else times))
    if story.vendors:
        found.append(("gone on with", ", ".join(story.vendors)))
    return found


def took(story: Story) -> list[tuple[str, str]]:
    """What the call took: names and values."""
    stats = story.stats
    found = [("duration", _duration(story)), ("ended", story.ended), ("cost", _cost(story))]
    if stats.tools:
        failed = sum(tool.failed for tool in story.tools)
        found.append(("tools called", f"{stats.tools}, {failed} failed" if failed else str(stats.tools)))
    refused = sum(stats.frames_refused.values()) + stats.frames_dropped
    if refused:
        found.append(("frames refused or dropped", str(refused)))
    return found


def facts(story: Story) -> list[tuple[str, str]]:
    """What stands on top: names and values, in words."""
    return [*felt(story), *took(story)]


def _spread(latencies: list[int]) -> str:
    if not latencies:
        return "–"
    middle = latencies[(len(latencies) - 1) // 2]
    worst = f", at worst {latencies[-1]:,} ms" if latencies[-1] != middle else ""
    return f"{middle:,} ms{worst}"


def _largest_error(story: Story) -> str:
    errors = [cut.error_ms for cut in cuts(story) if cut.error_ms is not None]
    return f"{max(errors, key=abs):,} ms" if errors else "–"


def _cost(story: Story) -> str:
    usage = story.stats.usage
    tokens = usage.text_in + usage.audio_in + usage.image_in + usage.text_out + usage.audio_out
    parts = [f"{tokens:,} tokens"] if tokens else []
    if story.stats.cost_micro_usd:
        usd = f"{story.stats.cost_micro_usd / 1_000_000:.4f} USD"
        parts = [usd, *(["incomplete"] if story.stats.unconfirmed else []), *parts]
    return ", ".join(parts) or "–"


def summary(story: Story) -> dict[str, Any]:
    """What stands on top, for `--json`."""
    return {
        "duration_ms": story.end_ms,
        "ended": story.ended,
        "turns": story.stats.turns,
        "turn_latencies_ms": story.stats.turn_latencies_ms,
        "barge_ins": [
            {
                "at_ms": at_ms,
                "items": [
                    {
                        "item": cut.item_id,
                        "heard_ms": cut.heard_ms,
                        "told_ms": cut.told_ms,
                        "error_ms": cut.error_ms,
                        "generated_ms": cut.generated_ms,
                        "proven_ms": cut.proven_ms,
                    }
                    for cut in cuts
                ],
            }
            for at_ms, cuts in story.barge_ins.items()
        ],
        "cuts_not_told": sum(story.stats.cuts_untold.values()),
        "recoveries": story.stats.recoveries,
        "failovers": story.stats.failovers,
        "tools": story.stats.tools,
        "tools_failed": sum(tool.failed for tool in story.tools),
        "cost_usd": story.stats.cost_micro_usd / 1_000_000,
        "cost_incomplete": story.stats.unconfirmed > 0,
        "replays": story.difference is None,
    }
