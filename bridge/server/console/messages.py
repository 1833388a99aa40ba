"""What the console's page and the server say to each other.

Signing in. Every request but for pages is JSON; every POST has the header ``X-Bridge-Console: 1``. An answer
that is an error has ``{"error": sentence}``.

================================  ======================================================================
``GET /console``                  the page, to everybody where there is a console
``GET /console/session``          401 ``{"error", "signed_in": false}``, or 200 with a `Session`
``POST /console/session``         ``{"token": …}`` or ``{"code": …}`` (behind ``#code=`` in a demo's
                                  address): 200 with a `Session` and the cookie, 403, 429
                                  (``retry-after``)
``POST /console/session/end``     ``{}``: signs out
``WS /console/socket``            what follows here
``WS /console/calls/ID/audio``    listening; see `listening.py`
``POST /console/calls/ID/ACTION`` ``{"key": new for each wish, …}``; see `actions.py`
``GET /console/finished…``        finished calls, where calls are recorded; see `finished.py`
``GET /console/NAME``             scripts, styles
================================  ======================================================================

The websocket. The server sends text, one JSON object a message, `kind` first. It closes with 1008 when the
session is over, 1013 when the page reads too slowly or ten look on already, 1001 when the server stops.

First `hello`, then the list as a *snapshot*: `calls` messages of at most 25 rows, `begins` on the first and
`ends` on the last. What is not in it is gone. After that:

- ``rows``: four times a second, if anything has changed. Each of ``rows`` is a whole `Row` or a delta:
  ``call``, ``from`` and ``to`` (revisions) and only the fields that changed. A delta whose ``from`` is not
  the revision that the page has means that it missed something: send ``{"kind": "snapshot"}``.
- ``gone``: ``calls`` that leave the list, a minute after they ended.
- ``call``: the whole of the call that is looked at; a new one replaces everything known of it.
- ``call_delta``: ten times a second, if anything has changed: ``call``, ``from``, ``to``, ``at_ms``, and only
  those lists that have something new. Entries of `words`, `turns`, `tools`, `lanes` replace those with the
  same ``id``, or are added at the end; `events` are added. ``row`` may be there, as in ``rows``. ``playing``
  is what the caller hears now, or null.
- ``lost``: ``call`` is not here (any more): `404` of this socket.
- ``system``: once a second, if anything has changed; a `System`.

A page that reads too slowly gets no deltas; when it has read what waits, a snapshot follows, of the call in
view too.

The page sends text: ``{"kind": "look", "call": ID or null}`` (one call in view at a time),
``{"kind": "snapshot"}``, ``{"kind": "ping"}`` (answered with ``pong``). Anything else closes with 1008.

Times: ``…_at`` are milliseconds of the Unix epoch; ``…_ms`` are milliseconds of the call's own clock, which
begins with the ring, or durations. What is unknown is null, never 0.
"""

from __future__ import annotations

import json
from typing import Any, ClassVar

import msgspec


class Part(msgspec.Struct, frozen=True, gc=False):
    """A JSON object within a message."""


class Session(Part, frozen=True, gc=False):
    """What a page that has signed in may do. `softphone`: `/phone` is served, too. `recordings`: finished
    calls are kept.
    """

    signed_in: bool
    may_listen: bool
    softphone: bool
    recordings: bool
    machine: str


class Row(Part, frozen=True, gc=False):
    """One call in the list. `revision` grows with each change.

    `state`: `ringing`, `live`, `recovering` (the model is away), `away` (with a target, or on hold),
    `ending`, `ended`. `direction`: `in` or `out`. `caller` and `called` are masked. `last_who`: `caller` or
    `agent`; `last_words` as heard, the last 160 characters. `trouble`: short sentences, the worst first; rows
    with any belong on top. `end`: how it ended, in words, null while it lasts.
    """

    call: str
    machine: str
    direction: str
    caller: str
    called: str
    began_at: int
    revision: int
    # From here on what may change.
    state: str
    agent: str
    model: str
    ended_at: int | None
    end: str | None
    end_detail: str
    last_who: str
    last_words: str
    turns: int
    answered_p50_ms: int | None
    barge_ins: int
    unheard_ms: int
    tools: int
    tools_failed: int
    tools_running: int
    cost_micro_usd: int | None
    muted: bool
    listeners: int
    trouble: list[str]

    MOST_WORDS: ClassVar[int] = 160


class Line(Part, frozen=True, gc=False):
    """Words of one side, in the order they were said.

    `who`: `caller`, `agent` (the model), `bridge` (a phrase, no model), `operator` (a person at a console),
    `system` (what the model was told). `state`: `said` (all of it; the caller's own, too), `waiting` (nothing
    of it was heard yet), `playing`, `cut` (the rest was never heard), `unheard` (none of it was, and none
    will be). The caller heard the first `heard` characters of `text`: it is the ledger's word. `heard_ms` and
    `made_ms` are how much of its sound was heard, and how much there is.
    """

    id: str
    who: str
    at_ms: int | None
    text: str
    heard: int
    state: str
    heard_ms: int
    made_ms: int


class Turn(Part, frozen=True, gc=False):
    """One answer's waterfall: how long the caller waited, `felt_ms`, from the last of their voice, `at_ms`,
    to the first sound of the answer that they hear. `parts` are `[name, from_ms, to_ms]` in order, from 0 to
    `felt_ms`, by the names of `bridge.core.turn_times.PARTS`; what took no time is left out.
    """

    id: str
    at_ms: int | None
    felt_ms: int
    parts: list[tuple[str, int, int]]


class Tool(Part, frozen=True, gc=False):
    """A tool's call. `state`: `running`, `done`, `failed`. `input` and `output` are JSON text or plain text,
    clipped at 4,000 characters; values of fields named like secrets are `"•••"`, and `hidden` names them by
    path (`input.pin`), for `reveal`.
    """

    id: str
    name: str
    at_ms: int | None
    ms: int | None
    state: str
    input: str
    output: str
    hidden: list[str]


class Lane(Part, frozen=True, gc=False):
    """A stretch of the timeline; `to_ms` is null while it lasts. `lane`: `caller` (they speak), `heard` (they
    hear us: `state` `model`, `phrase`; `cut` at the end of a barge-in), `tool`, `away`, `mark` (a moment:
    `state` says which, `barge_in`, `cut`, `answered`, `key`, `note`, `operator`).
    """

    id: str
    lane: str
    from_ms: int
    to_ms: int | None
    state: str
    text: str


class Happening(Part, frozen=True, gc=False):
    """A line of the log of events, with what it is filtered by: `of` is `caller`, `agent`, `tool`,
    `operator`, `trouble` or `call`. `raw` is the event itself as JSON, masked, "" where
    there is nothing to show.
    """

    id: int
    at_ms: int
    of: str
    name: str
    text: str
    raw: str


class Cost(Part, frozen=True, gc=False):
    """What the call has cost: tokens by kind, and millionths of a US dollar; null without prices."""

    micro_usd: int | None
    tokens: dict[str, int]
    transcribed_s: float
    limit_micro_usd: int | None


class Playing(Part, frozen=True, gc=False):
    """What the caller hears now: of which line, and how much of it they have heard."""

    id: str
    heard_ms: int
    left_ms: int


class System(Part, frozen=True, gc=False):
    """The process: why no call may come in, and how it does."""

    calls: int
    viewers: int
    reasons: list[str]
    draining: bool
    max_calls: int
    day_micro_usd: int | None
    lag_p95_ms: float | None


class Message(msgspec.Struct, frozen=True, gc=False, tag_field="kind"):
    """Base of what the server sends."""


class Hello(Message, frozen=True, gc=False, tag="hello"):
    """`now_at`: the server's clock, for durations that the page counts."""

    now_at: int
    session: Session
    viewer: str


class CallInView(Message, frozen=True, gc=False, tag="call"):
    """The whole of the call that is looked at. `instructions` are the session's, clipped at 4,000 characters;
    `parameters` those of the call, without secrets. `targets` are the names for `transfer`; `phone`, one of
    them, is where `take_over` leads, null where it leads nowhere.
    """

    call: str
    to: int
    at_ms: int
    began_at: int
    row: Row
    words: list[Line]
    turns: list[Turn]
    tools: list[Tool]
    lanes: list[Lane]
    events: list[Happening]
    cost: Cost
    playing: Playing | None
    parameters: dict[str, str]
    instructions: str
    targets: list[str]
    phone: str | None


class CallDelta(Message, frozen=True, gc=False, tag="call_delta", omit_defaults=True):
    """What has changed since `from_`, written `from`; lists without news are left out."""

    call: str
    from_: int = msgspec.field(name="from")
    to: int
    at_ms: int
    row: Row | None = None
    words: list[Line] = []
    turns: list[Turn] = []
    tools: list[Tool] = []
    lanes: list[Lane] = []
    events: list[Happening] = []
    cost: Cost | None = None
    playing: Playing | msgspec.UnsetType | None = msgspec.UNSET


class Gone(Message, frozen=True, gc=False, tag="gone"):
    """These calls leave the list."""

    calls: list[str]


class Lost(Message, frozen=True, gc=False, tag="lost"):
    """The call that was to be looked at is not here."""

    call: str


class SystemNow(Message, frozen=True, gc=False, tag="system"):
    """How the process does."""

    system: System


class Pong(Message, frozen=True, gc=False, tag="pong"):
    """The answer to a ping, with the server's clock."""

    now_at: int


_encoder = msgspec.json.Encoder()


def encode(message: Message | Part | dict[str, Any]) -> str:
    """As it goes over the wire. Half of a surrogate pair, which JSON of others may hold, stays one, escaped:
    the page shows it as what it is.
    """
    try:
        return _encoder.encode(message).decode()
    except UnicodeEncodeError:
        return json.dumps(msgspec.to_builtins(message))


def rows(texts: list[str]) -> str:
    """The message of rows that are encoded already: one encoding serves every viewer."""
    return f'{{"kind":"rows","rows":[{",".join(texts)}]}}'


def calls(texts: list[str], *, begins: bool, ends: bool) -> str:
    """A piece of a snapshot, of rows that are encoded already."""
    flags = f'"begins":{"true" if begins else "false"},"ends":{"true" if ends else "false"}'
    return f'{{"kind":"calls",{flags},"calls":[{",".join(texts)}]}}'


def delta(before: Row, after: Row) -> str:
    """Only what differs, with both revisions."""
    changed: dict[str, Any] = {"call": after.call, "from": before.revision, "to": after.revision}
    for name in Row.__struct_fields__:
        value = getattr(after, name)
        if name != "revision" and getattr(before, name) != value:
            changed[name] = value
    return encode(changed)
