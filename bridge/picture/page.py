"""The page: summary, conversation and chart in one HTML file that loads nothing from a network."""

from __future__ import annotations

import json
from base64 import b64encode
from contextlib import suppress
from datetime import datetime
from functools import cache
from html import escape
from importlib.resources import files
from string import Template
from typing import Any, Final

from ..errors import ConfigError
from ..recording.printable import printable_json, printable_lines
from .chart import ZOOM, clock, specification
from .lanes import Cut, Line, Story

MISSING: Final = "drawing a call needs vl-convert-python: pip install vl-convert-python"


def shown(text: str) -> str:
    """Text of a recording as HTML: no markup, and nothing that turns a line around."""
    return escape(printable_lines(text))


def page(story: Story, name: str, sound: bytes | None = None) -> str:
    """One HTML file with everything in it; `name` is that of the file, `sound` a WAV file of the whole call.
    Raises ConfigError where the library that draws is not installed.
    """
    try:
        import vl_convert  # noqa: PLC0415  an extra, and large
    except ImportError as error:
        raise ConfigError(MISSING) from error
    texts, drawn = files(__package__), printable_json(specification(story))
    fields = {
        "title": shown(name),
        "headline": shown(headline(story, name)),
        "hero": _hero(story),
        "player": "" if sound is None else _player(sound),
        "style": texts.joinpath("page.css").read_text(encoding="utf-8"),
        "badge": _badge(story),
        "facts": "".join(_fact(name, value) for name, value in facts(story)),
        "barge_ins": _barge_ins(story),
        "talk": "".join(_line(line) for line in story.talk) or '<p class="none">No words were spoken.</p>',
        "chart": json.dumps(drawn, separators=(",", ":")).replace("<", "\\u003c"),
        "zoom": ZOOM,
        "end_ms": str(max(story.end_ms, 1_000)),
        "vega": _vega(vl_convert),
        "script": texts.joinpath("page.js").read_text(encoding="utf-8"),
    }
    return Template(texts.joinpath("page.html").read_text(encoding="utf-8")).substitute(fields)


@cache
def _vega(vl_convert: Any) -> str:
    """The JavaScript that draws, all of it; made once, for that takes a second."""
    bundle: str = vl_convert.javascript_bundle("window.vegaEmbed=vegaEmbed;")
    return bundle.replace("</script", "<\\/script")


def headline(story: Story, name: str) -> str:
    """When the call was, who answered, with which model, how long; the file's name where none is known."""
    header = story.header
    when = ""
    with suppress(ValueError):
        when = f"{datetime.fromisoformat(header.at):%a %d %b %Y, %H:%M}"
    agent = header.config.agent.name
    known = [part for part in (when, agent, header.config.session.model) if part]
    return " · ".join([*known, clock(story.end_ms).rpartition(".")[0]]) if when or agent else name


def _hero(story: Story) -> str:
    """What the reader is to know first: how far off the model's idea of what was heard has been."""
    cuts = [cut for cuts in story.barge_ins.values() for cut in cuts if cut.error_ms is not None]
    if not cuts:
        latencies = sorted(story.stats.turn_latencies_ms)
        return f"<b>{shown(_spread(latencies))}</b><span>from the caller's last sound to the answer</span>"
    worst = max(cuts, key=lambda cut: abs(cut.error_ms or 0))
    wrong = ' class="wrong"' if worst.error_ms else ""
    times = "one barge-in" if len(story.barge_ins) == 1 else f"{len(story.barge_ins)} barge-ins"
    heard = f"the caller heard {worst.heard_ms:,} ms, the model was told {worst.told_ms:,}"
    return (
        f"<b{wrong}>{worst.error_ms:,} ms</b><span>largest truncation error, over {times}</span>"
        f"<small>{heard}</small>"
    )


def _player(sound: bytes) -> str:
    source = f"data:audio/wav;base64,{b64encode(sound).decode()}"
    label = "the call: left the caller, right what they heard"
    return f'<audio id="player" controls preload="auto" aria-label="{label}" src="{source}"></audio>'


def facts(story: Story) -> list[tuple[str, str]]:
    """What stands on top: names and values, in words."""
    stats = story.stats
    latencies = sorted(stats.turn_latencies_ms)
    found = [
        ("duration", clock(story.end_ms).rpartition(".")[0]),
        ("ended", story.ended),
        ("turns", str(stats.turns)),
        ("answered after", _spread(latencies)),
        ("barge-ins", str(len(story.barge_ins))),
        ("largest error", _largest_error(story)),
        ("cost", _cost(story)),
    ]
    if stats.tools:
        failed = sum(line.failed for line in story.talk)
        found.append(("tools called", f"{stats.tools}, {failed} failed" if failed else str(stats.tools)))
    if stats.recoveries:
        gaps = ", ".join(f"{ms:,} ms" for ms in stats.gaps_ms)
        times = "once" if stats.recoveries == 1 else f"{stats.recoveries} times"
        found.append(("model lost", f"{times}, and had back after {gaps}" if gaps else times))
    refused = sum(stats.frames_refused.values()) + stats.frames_dropped
    if refused:
        found.append(("frames refused or dropped", str(refused)))
    return found


def _spread(latencies: list[int]) -> str:
    if not latencies:
        return "–"
    middle = latencies[(len(latencies) - 1) // 2]
    worst = f", at worst {latencies[-1]:,} ms" if latencies[-1] != middle else ""
    return f"{middle:,} ms{worst}"


def _largest_error(story: Story) -> str:
    errors = [cut.error_ms for cuts in story.barge_ins.values() for cut in cuts if cut.error_ms is not None]
    return f"{max(errors, key=abs):,} ms" if errors else "–"


def _cost(story: Story) -> str:
    usage = story.stats.usage
    tokens = usage.text_in + usage.audio_in + usage.image_in + usage.text_out + usage.audio_out
    if story.stats.cost_micro_usd:
        return f"{story.stats.cost_micro_usd / 1_000_000:.4f} USD, {tokens:,} tokens"
    return f"{tokens:,} tokens" if tokens else "–"


def _fact(name: str, value: str) -> str:
    return f"<div><dt>{shown(name)}</dt><dd>{shown(value)}</dd></div>"


def _badge(story: Story) -> str:
    difference = story.difference
    if difference is None:
        return '<span class="badge same">replays the same</span>'
    title = shown(f"expected {difference.expected or 'nothing more'}\ngot {difference.got or 'nothing more'}")
    where = f"line {difference.line}, at {clock(difference.t_ms)}"
    return (
        f'<span class="badge differs" title="{title}">this version decides otherwise from {where} on</span>'
    )


def _barge_ins(story: Story) -> str:
    if not story.barge_ins:
        return '<p class="none">No interruptions.</p>'
    rows = "".join(
        _cut(at_ms, cut, cuts[0] is cut) for at_ms, cuts in story.barge_ins.items() for cut in cuts
    )
    return (
        '<div class="wide"><table><thead><tr><th>at<th>item<th>heard<th>proven by marks<th>told the model'
        f"<th>error<th>generated<th>cut off</tr></thead><tbody>{rows}</tbody></table></div>"
    )


def _cut(at_ms: int, cut: Cut, first: bool) -> str:
    at = f'<button data-at="{at_ms}">{clock(at_ms)}</button>' if first else ""
    mark = ' class="barge-in"' if first else ""
    error = cut.error_ms
    told = "–" if cut.told_ms is None else "forget it" if not cut.told_ms else f"{cut.told_ms:,} ms"
    wrong = ' class="wrong"' if error else ""
    return (
        f"<tr{mark}><td>{at}<td>{shown(cut.item_id)}<td>{cut.heard_ms:,} ms<td>≥ {cut.proven_ms:,} ms"
        f"<td>{told}<td{wrong}>{'–' if error is None else f'{error:,} ms'}<td>{cut.generated_ms:,} ms"
        f"<td>{cut.generated_ms - cut.heard_ms:,} ms"
    )


def _line(line: Line) -> str:
    said, heard = shown(line.said), shown(line.heard or "")
    notes = []
    if line.who == "tool":
        said += f" <q>{heard}</q>" if line.heard is not None else " <q>(no answer)</q>"
    elif line.cut_ms is not None:
        if line.heard is not None:
            lost = shown(line.said[len(line.heard) :]) if line.said.startswith(line.heard) else said
            said = f"{heard}<s>{lost}</s>"
        notes.append(f"cut after {line.cut_ms:,} ms" if line.cut_ms else "not heard")
    if line.latency_ms is not None:
        notes.append(f"after {line.latency_ms:,} ms")
    note = f"<small>{' · '.join(notes)}</small>" if notes else ""
    at = f'<button data-at="{round(line.at_ms)}">{clock(line.at_ms)[:-4]}</button>'
    kind = f"{line.who} failed" if line.failed else line.who
    return f'<li class="{kind}">{at}<b>{line.who}</b><p>{said}{note}</p></li>'


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
        "recoveries": story.stats.recoveries,
        "tools": story.stats.tools,
        "tools_failed": sum(line.failed for line in story.talk),
        "cost_usd": story.stats.cost_micro_usd / 1_000_000,
        "replays": story.difference is None,
    }
