"""The page: summary, chart, tables and conversation in one HTML file that loads nothing from a network."""

from __future__ import annotations

import json
import re
from base64 import b64encode
from functools import cache
from html import escape
from importlib.resources import files
from string import Template
from typing import Any, Final

from ..recording.printable import printable_json, printable_lines
from .beside import Beside, both
from .chart import chart, clock
from .facts import felt, headline, hero, took
from .lanes import Cut, Line, Story, ToolCall
from .waterfall import waterfall

_SCRIPTS: Final = ("shapes.js", "chart.js", "page.js")
_STYLES: Final = ("chart.css", "page.css")
_IMPORTS: Final = re.compile(r"^import .*;\n|^export (?=const|function|class)", re.MULTILINE)


def shown(text: str) -> str:
    """Text of a recording as HTML: no markup, and nothing that turns a line around."""
    return escape(printable_lines(text))


def as_data(found: Any) -> str:
    """As JSON that can stand in a script element: nothing in it ends one, or turns a line around."""
    return json.dumps(printable_json(found), separators=(",", ":")).replace("<", "\\u003c")


def page(
    story: Story,
    name: str,
    sound: bytes | None = None,
    *,
    nonce: str = "",
    beside: Beside | None = None,
) -> str:
    """One HTML file with everything in it; `name` is that of the file, `sound` a WAV file of the whole call.
    With a `nonce` its style and script run under a policy that names it, and nothing else does. `beside` is
    another call on the same axis.
    """
    more = (
        [] if beside is None else [(f"Conversation of 2, {shown(beside.name)}", _conversation(beside.story))]
    )
    fields = {
        "title": shown(name),
        "headline": shown(headline(story, name)),
        "source": f"'nonce-{nonce}'" if nonce else "'unsafe-inline'",
        "nonce": f' nonce="{nonce}"' if nonce else "",
        "hero": _hero(story),
        "player": "" if sound is None else _player(sound),
        "style": "".join(map(read_text, _STYLES)),
        "badge": _badge(story),
        "facts": "".join(map(_group, (felt(story), took(story)))),
        "sections": "".join(_section(title, body) for title, body in (*sections(story), *more)),
        "data": as_data(chart(story) if beside is None else both(story, beside)),
        "script": _script(),
    }
    return Template(read_text("page.html")).substitute(fields)


def sections(story: Story) -> list[tuple[str, str]]:
    """What stands below the chart: titles, and what is in them as HTML."""
    found = [("Barge-ins", _barge_ins(story))]
    if falls := waterfall(story):
        found.append(("Answer times", falls))
    if story.tools:
        found.append(("Tools", _tools(story)))
    return [*found, ("Conversation", _conversation(story))]


def _conversation(story: Story) -> str:
    talk = "".join(map(_line, story.talk))
    return f'<ol class="talk">{talk}</ol>' if talk else _none("No words were spoken.")


@cache
def read_text(name: str) -> str:
    """A file of this package."""
    return files(__package__).joinpath(name).read_text(encoding="utf-8")


@cache
def _script() -> str:
    """The modules as one."""
    return "".join(_IMPORTS.sub("", read_text(name)) for name in _SCRIPTS)


def _hero(story: Story) -> str:
    figure, meaning, remark, bad = hero(story)
    wrong = ' class="wrong"' if bad else ""
    more = f"<small>{remark}</small>" if remark else ""
    return f"<b{wrong}>{figure}</b><span>{meaning}</span>{more}"


def _player(sound: bytes) -> str:
    source = f"data:audio/wav;base64,{b64encode(sound).decode()}"
    label = "the call: left the caller, right what they heard"
    return f'<audio id="player" controls preload="auto" aria-label="{label}" src="{source}"></audio>'


def _group(facts: list[tuple[str, str]]) -> str:
    values = "".join(f"<div><dt>{shown(name)}</dt><dd>{shown(value)}</dd></div>" for name, value in facts)
    return f"<dl>{values}</dl>"


def _badge(story: Story) -> str:
    difference = story.difference
    if difference is None:
        return '<span class="badge same">replays the same</span>'
    where = f"line {difference.line}, at {clock(difference.t_ms)}"
    what = f"expected {difference.expected or 'nothing more'}\ngot {difference.got or 'nothing more'}"
    return (
        f'<details class="badge differs"><summary>this version decides otherwise from {where} on</summary>'
        f"<pre>{shown(what)}</pre></details>"
    )


def _section(title: str, body: str) -> str:
    return f"<section><h2>{title}</h2>{body}</section>"


def _none(why: str) -> str:
    return f'<p class="none">{why}</p>'


def cell_table(kind: str, heads: tuple[str, ...], rows: list[tuple[str, list[str]]]) -> str:
    """Rows of a class and cells, which are HTML. Each cell knows its head: a narrow page shows cards."""
    head = "".join(f'<th scope="col">{name}</th>' for name in heads)
    body = "".join(
        f"<tr{named}>" + "".join(_cell(name, cell) for name, cell in zip(heads, cells, strict=True)) + "</tr>"
        for named, cells in rows
    )
    return f'<table class="{kind}"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>'


def _cell(name: str, cell: str) -> str:
    return f'<td data-head="{name}">{cell or "<span></span>"}</td>'


def _at(at_ms: float, text: str) -> str:
    return f'<button data-at="{round(at_ms)}">{text}</button>'


_CUT_HEADS: Final = (
    "at", "item", "heard", "proven by marks", "told the model", "error", "generated", "cut off",
)  # fmt: skip


def _barge_ins(story: Story) -> str:
    if not story.barge_ins:
        return _none("No interruptions.")
    rows = [_cut(at_ms, cut, cuts[0] is cut) for at_ms, cuts in story.barge_ins.items() for cut in cuts]
    return cell_table("cuts", _CUT_HEADS, rows)


def _cut(at_ms: int, cut: Cut, first: bool) -> tuple[str, list[str]]:
    error = cut.error_ms
    told = "–" if cut.told_ms is None else "forget it" if not cut.told_ms else f"{cut.told_ms:,} ms"
    wrong = f'<b class="wrong">{error:,} ms</b>' if error else "–" if error is None else f"{error:,} ms"
    return ' class="barge-in"' if first else "", [
        _at(at_ms, clock(at_ms)) if first else "",
        shown(cut.item_id),
        f"{cut.heard_ms:,} ms",
        f"≥ {cut.proven_ms:,} ms",
        told,
        wrong,
        f"{cut.generated_ms:,} ms",
        f"{cut.generated_ms - cut.heard_ms:,} ms",
    ]


def _tools(story: Story) -> str:
    return cell_table("tools", ("at", "tool", "took", "asked", "answered"), list(map(_tool, story.tools)))


def _tool(tool: ToolCall) -> tuple[str, list[str]]:
    name = f"<b>✕ {shown(tool.name)}</b>" if tool.failed else shown(tool.name)
    answer = "(no answer)" if tool.answer is None else shown(tool.answer)
    return ' class="failed"' if tool.failed else "", [
        _at(tool.at_ms, clock(tool.at_ms)),
        name,
        "–" if tool.took_ms is None else f"{tool.took_ms:,} ms",
        f"<code>{shown(tool.arguments)}</code>",
        f"<code>{answer}</code>",
    ]


def _line(line: Line) -> str:
    said, heard = shown(line.said), shown(line.heard or "")
    notes = []
    if line.who == "tool":
        said += f" <q>{heard}</q>" if line.heard is not None else " <q>(no answer)</q>"
    elif line.cut_ms is not None:
        if line.heard is not None:
            lost = shown(line.said[len(line.heard) :]) if line.said.startswith(line.heard) else said
            said = f'{heard}<s><span class="aside">not heard: </span>{lost}</s>'
        notes.append(f"cut after {line.cut_ms:,} ms" if line.cut_ms else "not heard")
    if line.latency_ms is not None:
        notes.append(f"after {line.latency_ms:,} ms")
    note = f"<small>{' · '.join(notes)}</small>" if notes else ""
    kind = f"{line.who} failed" if line.failed else line.who
    who = f"✕ {line.who}" if line.failed else line.who
    at = _at(line.at_ms, clock(line.at_ms)[:-4])
    return f'<li class="{kind}">{at}<b>{who}</b><p>{said}{note}</p></li>'
