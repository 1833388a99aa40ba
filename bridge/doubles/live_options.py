"""How a GPT-Live server may behave, within what the real one has been seen to do or documents."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from .ears import Ears
from .items import Item
from .options import said_so_long
from .turns import SpeechDetector


class Stall(NamedTuple):
    """All that is due from `at_ms` on, for `ms`, comes at its end in one burst. Counted from
    `session.started`.
    """

    at_ms: int
    ms: int


class Refused(NamedTuple):
    """An `error` in place of `session.started`. Code None stands for one that is null."""

    code: str | None
    kind: str = "invalid_request_error"
    message: str = "This session cannot be started."


def as_told(content: str) -> str:
    """The words that are said for a `session.commentary.append`: an order's own words."""
    head, colon, words = content.partition(":")
    return words.strip() if colon and head.lower().startswith("say") else content


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveOptions:
    """The defaults are a server in a good mood. Times are milliseconds of the session's timeline unless it
    says otherwise.
    """

    # --- the session
    start_ms: int = 500
    """From `session.start` to its answer, by the clock."""
    refuse_start: Refused | None = None
    cut_ms: int = 2_000
    """From a refused start to the end of the socket, which comes without a close frame; by the clock."""
    missing_scope: bool = False
    """An `error` of a missing scope 200 ms before `session.started`, which changes nothing."""
    expires_after_ms: int = 7_200_000
    created_at_s: int = 1_700_000_000
    """Unix time at 0 ms of the machine's clock, for `expires_at`: it has no clock of its own."""
    impose: Mapping[str, Any] = field(default_factory=dict)
    """Members of the session that are so whatever is asked for: a host that takes only PCM, say."""
    alpha: bool = False
    """The dialect of a preview: other names for the same events."""
    coded_errors: bool = True
    """False for errors whose code is null."""
    usage_ms: int = 15_000
    """Between two `session.usage.updated`, by the clock."""
    usage_ratio: float | None = 0.01
    refuse: Mapping[str, str] = field(default_factory=dict)
    """Error codes for client events, by type, that are always refused."""
    withhold: frozenset[str] = frozenset()
    """Types of events that never come."""
    strange: bool = False
    """Unknown fields in all events, and an unknown event now and then."""

    # --- its sound
    jitter_ms: tuple[int, ...] = (0,)
    """How late each delta comes, in turn, by the clock. What is behind it waits, too."""
    stalls: tuple[Stall, ...] = ()
    tick: bool = False
    """A faint click in the first 0.4 s."""
    silence_ms: int = 300
    """Of the caller's, that ends their turn."""
    latency_ms: int = 200
    """From the end of the caller's turn, as the server takes it, to the first word."""
    yields_after_ms: int | None = 500
    """Of the caller's voice over its own, before it falls quiet; None for never."""
    obeys: bool = True
    """`session.instructions.append` stops what is being said."""

    # --- its words
    words_early_ms: int = 0
    """How much before its sound a fragment arrives, 0 to 750."""
    labels_early_ms: int = 0
    """How much before its sound a fragment's label lies."""
    ears: Ears | None = None
    """Makes out the caller's words; whose session it is closes them."""
    ears_ms: int = 3_000
    """For words to be made out; then the turn has none."""
    detector: SpeechDetector | None = None
    """What finds the caller's voice; None for one that goes by loudness."""
    transcribe: Callable[[Item], str | None] = said_so_long
    """The caller's words, None for none."""
    transcript_ms: int = 1_100
    """From the caller's voice to its fragment."""
    phantom: str = ""
    """A fragment of the caller's that they never said, after an append of 200 characters or more."""

    # --- appends
    ack_ms: int = 600
    """From an append to its acknowledgement."""
    say_ms: int = 850
    """From an append to the first word of it."""
    paraphrase: Callable[[str], str] = as_told

    # --- delegation
    delegation_ms: int = 700
    """From the end of the caller's turn to `session.delegation.created`; 0 for one that comes before the
    caller's words do.
    """
    promises_only: bool = False
    """The model says that it will, and no delegation is created."""
    repeats_delegations: bool = False
    """Each `session.delegation.created` comes twice."""
    backend_ms: int = 700
    """From a backend response's creation to its first call or its end, by the clock."""
    completed_ms: int = 400
    """From the backend's last call to `response.completed`, by the clock."""
    answer_ms: int = 1_200
    """From the backend's last word to the model's first one."""
    repeats_completed: bool = False
    """Each `response.completed` comes twice."""
    fails: str = ""
    """Every backend response with calls ends so, `failed` or `incomplete`, and its calls are dropped."""
    most_items: int = 128
    most_bytes: int = 32_768
    """What the backend's input holds in a session."""

    def __post_init__(self) -> None:
        if not self.jitter_ms or not 0 <= self.words_early_ms <= 750:
            raise ValueError("there is a jitter, if only of 0, and words come 0 to 750 ms early")
