"""The counts and gauges: `/metrics` in Prometheus' text.

Each application has a registry of its own, so two of them in a process do not count each other's calls. A
label is one of a few words known beforehand; an id or a number never is one.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial
from typing import Final

import msgspec
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.exposition import choose_encoder

from bridge.core.messages import DetourEnded, Reason, Usage
from bridge.core.stats import Stats
from bridge.core.turn_times import PARTS
from bridge.ops.recent import Recent

GATES: Final = (
    "signature", "token", "start", "lobby", "duplicate", "full", "draining", "upstream", "form", "ended",
    "loop lag", "descriptors", "money", "replay", "account", "unverified", "again", "no model", "peer",
    "connection", "refused", "key", "rate", "voicemail", "route", "blocked", "closed", "number full",
    "number money", "account full", "account money", "caller rate", "number rate", "call_rule",
    "duplicate_call",
)  # fmt: skip
"""Where something is turned away: a request or stream without a proof, too many at the door, a second stream
of the same call, no room, no model, a request that cannot be read, a call that is over already, another
machine or a page of another site, a connection that proved nothing, a call that its resolver refused,
a program without a key, or one that asks too often, a call that got a voicemail box; an account that speaks
of another's call or number, and the rules of a number: block list, hours, room, money, calls a minute; a call
out that a rule forbids, and a second call of one request.
"""
OTHER: Final = "other"
UNVERIFIED: Final = ("no_credentials", "not_allowed", "too_many", "faulty", "no_answer")
"""Why the carrier could not be asked about a call."""
NOTICES: Final = ("delivered", "failed", "dropped", "given_up")
"""What became of a notice: an attempt that failed is made again, until the notice is given up."""
SPANS: Final = ("exported", "failed", "dropped")
"""What became of spans; those that are dropped are counted by the trace."""
DROPPED: Final = ("late", "refused", "cut")
"""Why a frame was thrown away: it waited too long for the model, broke its protocol, or belongs to an answer
that the caller had interrupted.
"""
_FRAME_BYTES: Final = 160
_ACCEPT: Final = "application/openmetrics-text; version=1.0.0"
# The version that a request names reaches the library's parser as it is: one of 5,000 digits raises there.
_OPENMETRICS: Final = re.compile(r"application/openmetrics-text(?![^,]*version=0)")
_ACCEPT_CHARS: Final = 1_000
"""Of a request's header; Prometheus' has about 250."""

_SET_UP_S: Final = (0.1, 0.2, 0.3, 0.5, 0.75, 1, 1.5, 2, 3, 5, 10)
_TURN_S: Final = (0.2, 0.3, 0.4, 0.5, 0.6, 0.8, 1, 1.25, 1.5, 2, 3, 5, 10)
_PART_S: Final = (0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1, 1.5, 2, 5)
_STOP_S: Final = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1)
_CUT_S: Final = (0.1, 0.25, 0.5, 1, 2, 4, 8, 16, 32)
_LAG_S: Final = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 5)
_STOOD_S: Final = (0.25, 0.5, 1, 2, 5, 10, 30, 60, 300)
_TOOL_S: Final = (0.05, 0.1, 0.25, 0.5, 1, 1.5, 2.5, 5, 10)


class Metrics:
    """The metrics of one application. All of it may be called from any thread, and none of it blocks."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()

        def counter(name: str, what: str, *labels: str) -> Counter:
            return Counter(f"phonebridge_{name}", what, labels, registry=registry)

        def histogram(name: str, what: str, buckets: tuple[float, ...], *labels: str) -> Histogram:
            return Histogram(f"phonebridge_{name}_seconds", what, labels, buckets=buckets, registry=registry)

        def gauge(name: str, what: str) -> Gauge:
            return Gauge(f"phonebridge_{name}", what, registry=registry)

        self._active = gauge("calls_active", "Calls in progress")
        self._ended = counter("calls", "Calls that have ended, by end cause", "reason")
        self._set_up = histogram("set_up", "From the stream's start until both hear each other", _SET_UP_S)
        self._first_audio = histogram("first_audio", "From the stream's start to our first sound", _SET_UP_S)
        self._turn = histogram("turn_latency", "From the caller's last sound to the answer's first", _TURN_S)
        self._felt = histogram("turn_felt", "From the caller's last word until they hear the answer", _TURN_S)
        self._part = histogram("turn_part", "What a caller's wait is made of", _PART_S, "part")
        self._stop = histogram("barge_in_stop", "From the news that the caller speaks to our clear", _STOP_S)
        self._cut = histogram("truncated", "Of an interrupted answer, what the caller did not hear", _CUT_S)
        self._untold = counter("cuts_untold", "Cuts that the model could not be told of")
        self._failovers = counter("failovers", "Times a call went on with another vendor", "vendor")
        self._recoveries = counter("recoveries", "Model sessions lost and replaced in a call")
        self._gap = histogram("gap", "From the loss of a model session until the next one listened", _TURN_S)
        self._dropped = counter("frames_dropped", "Frames thrown away", "reason")
        self._tools = histogram("tool", "How long the user's tools took", _TOOL_S)
        self._tokens = counter("tokens", "Tokens billed by the model", "kind")
        self._cost = counter("cost_usd", "What the model cost, by the price table")
        self._blocked = histogram("handler_loop_blocked", "How long user code kept its loop", _STOOD_S)
        self._stuck = gauge("handler_loops_stuck", "Loops of user code that do not answer now")
        self._waiting = gauge("calls_waiting", "Calls whose loop of user code does not answer now")
        self._lag = histogram("loop_lag", "How late the event loop ran a timer", _LAG_S)
        self._detours = counter("detours", "Calls that left their stream on purpose", "kind", "outcome")
        self._notices = counter("notices", "Attempts to tell another system of a call", "outcome")
        self._notices_waiting = gauge("notices_waiting", "Notices that have not arrived")
        self._rejected = counter("rejects", "Turned away", "gate")
        self._unverified = counter("calls_unverified", "Let in without the carrier's word", "why")
        self._rendered = [Recent(partial(self._render, accept)) for accept in ("", _ACCEPT)]
        self._begin_at_zero()

    def _begin_at_zero(self) -> None:
        """A series that begins at 0 shows its first event as an increase."""
        for reason in Reason:
            self._ended.labels(reason.name.lower())
        for gate in (*GATES, OTHER):
            self._rejected.labels(gate)
        for outcome in NOTICES:
            self._notices.labels(outcome)
        told = "Of traces, sent to a collector or not"
        self._spans = Counter("phonebridge_spans", told, ("outcome",), registry=self.registry)
        for outcome in SPANS:
            self._spans.labels(outcome)
        for why in UNVERIFIED:
            self._unverified.labels(why)
        for kind in Usage.__struct_fields__:
            self._tokens.labels(kind)
        for part in PARTS:
            self._part.labels(part)
        for why in DROPPED:
            self._dropped.labels(why)

    def render(self, accept: str = "") -> tuple[bytes, str]:
        """The answer to a scrape and its content type; `accept` is the request's header. A crowd that asks
        gets one that is a second old at most.
        """
        return self._rendered[bool(known_accept(accept))].get()

    def _render(self, accept: str) -> tuple[bytes, str]:
        encode, content_type = choose_encoder(accept)
        return encode(self.registry), content_type

    def detour_ended(self, ended: DetourEnded) -> None:
        """A call is back from where it was, or over; or it never left."""
        self._detours.labels(ended.kind.value, ended.result.outcome.value).inc()

    def call_started(self) -> None:
        """A call came in; each ends once, in `call_ended`."""
        self._active.inc()

    def call_ended(self, reason: Reason, stats: Stats) -> None:
        """A call is over, and this is what it was like."""
        self._active.dec()
        self._ended.labels(reason.name.lower()).inc()
        if stats.started_ms is not None:
            for first, at_ms in ((self._set_up, stats.began_ms), (self._first_audio, stats.first_audio_ms)):
                if at_ms is not None:
                    first.observe(max(0, at_ms - stats.started_ms) / 1000)
        for latency_ms in stats.turn_latencies_ms:
            self._turn.observe(latency_ms / 1000)
        for turn in stats.turn_times:
            if turn.felt_ms is not None:
                self._felt.observe(turn.felt_ms / 1000)
                for part, ms in turn.parts().items():
                    self._part.labels(part).observe(ms / 1000)
        for unheard_ms in stats.interruptions_ms:
            self._cut.observe(unheard_ms / 1000)
        self._untold.inc(sum(stats.cuts_untold.values()))
        self._recoveries.inc(stats.recoveries)
        for went in stats.failovers:
            self._failovers.labels(went.rpartition(" ")[2]).inc()
        for gap_ms in stats.gaps_ms:
            self._gap.observe(gap_ms / 1000)
        self._dropped.labels("late").inc(stats.frames_dropped)
        self._dropped.labels("refused").inc(sum(stats.frames_refused.values()))
        self._dropped.labels("cut").inc(-(-stats.late_bytes // _FRAME_BYTES))
        for kind, count in msgspec.structs.asdict(stats.usage).items():
            self._tokens.labels(kind).inc(count)
        self._cost.inc(stats.cost_micro_usd / 1_000_000)

    def barge_in_stopped(self, seconds: float) -> None:
        """Our clear went out that long after the caller was heard to speak."""
        self._stop.observe(seconds)

    def tool_finished(self, seconds: float) -> None:
        """A tool of the user's came back after that long, or was given up."""
        self._tools.observe(seconds)

    def handler_loop_blocked(self, seconds: float) -> None:
        """A loop of user code answers again, after that long."""
        self._blocked.observe(seconds)

    def watch_handler_loops(self, stuck: Callable[[], int], waiting: Callable[[], int]) -> None:
        """Where a scrape finds how many loops of user code do not answer, and how many calls are on them."""
        self._stuck.set_function(stuck)
        self._waiting.set_function(waiting)

    def noticed(self, outcome: str) -> None:
        """Another system was told of a call, or was not; `outcome` is one of `NOTICES`."""
        self._notices.labels(outcome if outcome in NOTICES else OTHER).inc()

    def watch_notices(self, waiting: Callable[[], int]) -> None:
        """Where a scrape finds how many notices have not arrived."""
        self._notices_waiting.set_function(waiting)

    def spans(self, outcome: str, count: int) -> None:
        """So many were exported, or were not; `outcome` is one of `SPANS`."""
        self._spans.labels(outcome if outcome in SPANS else OTHER).inc(count)

    def rejected(self, gate: str) -> None:
        """Something was turned away at one of `GATES`; an unknown gate counts as other."""
        self._rejected.labels(gate if gate in GATES else OTHER).inc()

    def unverified(self, why: str) -> None:
        """A call was let in of which the carrier could not be asked; `why` is one of `UNVERIFIED`."""
        self._unverified.labels(why if why in UNVERIFIED else OTHER).inc()

    def loop_lag(self, seconds: float) -> None:
        """A timer of the loop ran that late."""
        self._lag.observe(seconds)


def known_accept(accept: str) -> str:
    """What of that header counts: a name of OpenMetrics' text, or nothing for Prometheus' own."""
    return _ACCEPT if _OPENMETRICS.search(accept[:_ACCEPT_CHARS]) else ""
