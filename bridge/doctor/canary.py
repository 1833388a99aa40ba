"""The live API against our double of it: the same short conversation with both, and how their events differ.

It is for a night's job with a key: one spoken word, so it costs about a cent. What tells something is that
a field or an event is new, or is gone. Values are not compared, and what is null may be anything.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from typing import Any, Final

from bridge.core import messages as m
from bridge.core.config import VendorPlan
from bridge.doubles.agents import Scripted, Speech
from bridge.doubles.azure import SCRIBE, azure_options
from bridge.doubles.client_events import EVENTS
from bridge.doubles.gpt_live import LiveServer
from bridge.doubles.live_commands import FIELDS
from bridge.doubles.options import ServerOptions
from bridge.doubles.realtime import RealtimeServer
from bridge.doubles.xai import xai_options
from bridge.errors import UpstreamError
from bridge.server.model_dial import proof_for
from bridge.settings.settings import Settings
from bridge.sockets.dial import DialError, Socket, dial
from bridge.upstreams import UPSTREAMS, Upstream, frames_of

DOUBLES: Final[Mapping[str, Callable[..., ServerOptions]]] = {
    "openai": ServerOptions, "azure": azure_options, "xai": xai_options,
}  # fmt: skip
"""By the names of `UPSTREAMS`: those that speak a dialect of Realtime."""
LIVE: Final = ("gpt-live", "azure-live")
"""Those that speak GPT-Live. A word of theirs takes sound, which is billed: they are asked for none."""
WHOLE_S: Final = 20.0
UNKNOWN: Final = "phonebridge.canary"
"""A client event that there is not: its refusal may list those that there are."""
TAG: Final = "canary"
MISSING_SCOPE: Final = "missing_scope"
"""An error before `session.started` that changes nothing."""
OF_REALTIME: Final = frozenset({
    "session.update", "input_audio_buffer.append", "response.create", "conversation.item.create",
})  # fmt: skip
UNUSED: Final = frozenset({
    "session.output_audio.fixture.play", "decision.create", "decision.item.create", "decision.item.delete",
})  # fmt: skip
"""Documented client events of GPT-Live that we never send, and its double does not take."""
OF_LIVE: Final = frozenset({
    "session.start", "session.update", "session.close", "session.input_audio.append",
    "session.instructions.append", "session.thinking.append", "session.commentary.append",
    "response.item.create", "response.create",
})  # fmt: skip
"""What we send."""
_WORD: Final = Speech(400, "Yes.")
_LISTED: Final = re.compile(r"'([a-z_]+(?:\.[a-z_]+)+)'")
_SAYS_NOTHING: Final = ("obfuscation", "object")
"""Random text in a delta, so that its length tells nothing; and what an object is called, documented and not
always sent.
"""
_FREE: Final = ("metadata", "parameters", "tracing")
"""Objects whose fields are the client's own."""
_OFTEN: Final = frozenset({"ping", "rate_limits.updated", "conversation.created"})
"""Events that may come or not within so short a time, or that are documented and rarely seen."""
SEE: Final = "see whether bridge/upstreams needs it, then let the double have it (bridge/doubles)"


class Conversation:
    """Greeting-long, and the same with any server: configure, something unknown, one word."""

    def __init__(self, adapter: Upstream, config: m.SessionConfig) -> None:
        self.events: list[dict[str, Any]] = []
        self.over = False
        self.failed = ""
        """Why it cannot go on."""
        self._configured = False
        self._adapter = adapter
        self._config = config

    def opened(self) -> list[str | bytes]:
        """What is sent when the socket is up."""
        return []

    def heard(self, frame: str | bytes) -> list[str | bytes]:
        """What is sent after this frame of the server's."""
        event = _event(frame)
        if event is None:
            self.failed = self.failed or "sends what is no event"
            return []
        self.events.append(event)
        match event["type"]:
            case "error" if not self._configured:
                self.failed = f"refuses us: {_words(event)}"
            case "session.created":
                return self._written(m.ConfigureSession(self._config))
            case "session.updated":
                self._configured = True
                unknown = json.dumps({"type": UNKNOWN, "event_id": TAG})
                return [unknown, *self._written(m.CreateResponse(TAG, 'Say exactly this: "Yes."'))]
            case "response.done":
                self.over = True
        return []

    def _written(self, command: m.UpstreamCommand) -> list[str | bytes]:
        return list(frames_of(self._adapter.write(command)))


class Handshake(Conversation):
    """With GPT-Live: the session is started, and something unknown is refused."""

    def opened(self) -> list[str | bytes]:
        return self._written(m.ConfigureSession(self._config))

    def heard(self, frame: str | bytes) -> list[str | bytes]:
        event = _event(frame)
        if event is None:
            self.failed = self.failed or "sends what is no event"
            return []
        match event["type"]:
            case "session.started":
                self._configured = True
                self.events.append(event)
                return [json.dumps({"type": UNKNOWN, "event_id": TAG})]
            case "error" if self._configured:
                self.events.append(event)
                self.over = True
                return self._written(m.CloseSession())
            case "error" if not _words(event).startswith(MISSING_SCOPE):
                self.failed = f"refuses us: {_words(event)}"
        return []


async def examine(settings: Settings, plan: VendorPlan, session: m.SessionConfig) -> list[tuple[str, str]]:
    """What differs at that vendor, each with what to do; one entry without a cure where nothing does."""
    name, config = plan.name, plan.dress(session)
    if name not in DOUBLES and name not in LIVE:
        return [(f"{name} is no vendor", f"BRIDGE_UPSTREAM={'|'.join((*DOUBLES, *LIVE))}")]
    adapter = UPSTREAMS[name](1, plan.url or settings.vendor_url(name))
    dialled = adapter.dial(config)
    try:
        socket = await dial(dialled.url, {**dialled.headers, **await proof_for(settings, dialled)})
    except DialError as error:
        return [(f"{name} cannot be asked: {error}", "run `phonebridge doctor`")]
    talk = (Handshake if name in LIVE else Conversation)(adapter, config)
    held = await _held(talk, socket)
    if talk.failed:
        return [(f"{name} {talk.failed}", "run `phonebridge doctor`")]
    if not held:
        kinds = ", ".join(dict.fromkeys(str(event["type"]) for event in talk.events)) or "nothing"
        wanted = "a handshake" if name in LIVE else "a word"
        what = f"{name} did not finish {wanted} within {WHOLE_S:g} s: {kinds}"
        return [(what, "run it again, then `phonebridge doctor`")]
    ours = rehearsed(name, config)
    known, needed = (FIELDS.keys() | UNUSED, OF_LIVE) if name in LIVE else (EVENTS, OF_REALTIME)
    found = [*_events(talk.events, ours), *_listed(talk.events, known, needed)]
    told = f"{name} speaks as its double does: {len(talk.events)} events, {len(shapes(talk.events))} kinds"
    return [(f"{name} {what}", SEE) for what in found] or [(told, "")]


async def _held(talk: Conversation, socket: Socket) -> bool:
    """Whether it came to its end."""
    done: asyncio.Future[bool] = asyncio.get_running_loop().create_future()

    def heard(frame: str | bytes) -> None:
        for answer in talk.heard(frame):
            socket.send(answer)
        if (talk.over or talk.failed) and not done.done():
            done.set_result(talk.over)

    def closed(code: int, reason: str) -> None:
        if not done.done():
            talk.failed = talk.failed or f"closed with {code} {reason}".rstrip()
            done.set_result(False)

    socket.start(heard, closed)
    for first in talk.opened():
        socket.send(first)
    try:
        async with asyncio.timeout(WHOLE_S):
            return await done
    except TimeoutError:
        return False
    finally:
        socket.close()


def rehearsed(name: str, config: m.SessionConfig) -> list[dict[str, Any]]:
    """The events of the double in that conversation."""
    if name in LIVE:
        return _rehearsed(LiveServer(Scripted([])), Handshake(UPSTREAMS["gpt-live"](1), config), name)
    made = DOUBLES[name]
    scribes = {SCRIBE, config.transcription or ""}
    options = made(transcribers=frozenset(scribes)) if name == "azure" else made()
    server = RealtimeServer(Scripted([_WORD]), options)
    return _rehearsed(server, Conversation(UPSTREAMS[name](1, "ws://127.0.0.1/v1/realtime"), config), name)


def _rehearsed(server: RealtimeServer | LiveServer, talk: Conversation, name: str) -> list[dict[str, Any]]:
    now_ms = 0
    waiting = server.open(now_ms)
    waiting += [frame for first in talk.opened() for frame in server.receive(first, now_ms)]
    while not talk.over and (waiting or server.deadline_ms is not None):
        if not waiting:
            now_ms = server.deadline_ms or now_ms
            waiting = server.wake(now_ms)
        answers = [answer for frame in waiting for answer in talk.heard(frame)]
        waiting = [frame for answer in answers for frame in server.receive(answer, now_ms)]
    if not talk.over:
        raise UpstreamError(f"the double of {name} does not take our configuration")
    return talk.events


def _event(frame: str | bytes) -> dict[str, Any] | None:
    """The server's event; None for a frame that is none."""
    try:
        event = json.loads(frame)
    except (ValueError, RecursionError):
        return None
    return event if isinstance(event, dict) and isinstance(event.get("type"), str) else None


def _words(event: Mapping[str, Any]) -> str:
    error = event.get("error")
    told = [error.get("code") or error.get("type"), error.get("message")] if isinstance(error, dict) else []
    return ": ".join(str(one) for one in told if one) or "without a reason"


def shapes(events: Iterable[Mapping[str, Any]]) -> dict[str, dict[str, set[str]]]:
    """Of each kind of event, its fields by path, and the JSON types that each was seen with."""
    found: dict[str, dict[str, set[str]]] = {}
    for event in events:
        fields = found.setdefault(str(event["type"]), {})
        for path, kind in _fields(event):
            fields.setdefault(path, set()).add(kind)
    return found


def _fields(value: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, str]]:
    for name, one in value.items():
        if name in _SAYS_NOTHING:
            continue
        here = f"{path}.{name}" if path else str(name)
        for part in one if isinstance(one, list) else [one]:
            yield here, _kind(part)
            if isinstance(part, dict) and name not in _FREE:
                yield from _fields(part, here)


def _kind(value: object) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return "yes or no"
        case int() | float():
            return "number"
        case str():
            return "text"
        case _:
            return "object"


def _events(live: list[dict[str, Any]], ours: list[dict[str, Any]]) -> Iterator[str]:
    """Differences, in sentences."""
    theirs, known = shapes(live), shapes(ours)
    for kind in sorted((theirs.keys() ^ known.keys()) - _OFTEN):
        yield f"sends {kind}, which its double does not" if kind in theirs else f"did not send {kind}"
    for kind in sorted(theirs.keys() & known.keys()):
        new, gone = theirs[kind].keys() - known[kind].keys(), known[kind].keys() - theirs[kind].keys()
        yield from (f"has a new field in {kind}: {path}" for path in _tops(new))
        yield from (f"has no field {path} in {kind} any more" for path in _tops(gone))
        for path in sorted(theirs[kind].keys() & known[kind].keys()):
            now, before = (fields[kind][path] - {"null"} for fields in (theirs, known))
            if now and before and now.isdisjoint(before):
                was = " or ".join(sorted(before))
                yield f"has {' or '.join(sorted(now))} in {kind}: {path}, no longer {was}"


def _tops(paths: Iterable[str]) -> Iterator[str]:
    """Paths without those below another of them."""
    every = set(paths)
    for path in sorted(every):
        if not any(path.startswith(f"{other}.") for other in every):
            yield path


def _listed(
    events: Iterable[Mapping[str, Any]],
    known: Collection[str] = EVENTS,
    needed: Collection[str] = OF_REALTIME,
) -> Iterator[str]:
    """The client events that its refusal of an unknown one names, against those that the double knows, and
    those that we send.
    """
    errors = (event["error"] for event in events if event["type"] == "error")
    named = {one for error in errors for one in _LISTED.findall(str(error.get("message")))} - {UNKNOWN}
    if len(named) < 2:  # it names none but the one that it refuses
        return
    yield from (f"takes {one}, which its double does not know" for one in sorted(named.difference(known)))
    yield from (f"does not name {one} among what it takes" for one in sorted(set(needed) - named))
