"""What an `error` event of the vendor's means for the call: its code decides, not its arrival.

Most errors leave the session open. A code we have never heard of is logged and survived.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Collection

from .messages import UpstreamFaulted
from .upstream_leg import FATAL_CODES


class Verdict(enum.Enum):
    """What is to be done about it."""

    BENIGN = "it lost a race, and nothing is the worse for it"
    BUSY = "another response is active: this one is asked for again after it"
    OURS = "we sent what the vendor does not take: it did nothing, and would again"
    RETRYABLE = "the vendor could not just now: asked again in a moment"
    EXPIRED = "the session is over: the next one takes its place"
    FATAL = "the account, the model or we ourselves are wrong: no session will be any better"


COMMIT_EMPTY = "input_audio_buffer_commit_empty"
_CODES: dict[str, Verdict] = {
    **dict.fromkeys(
        (
            "response_cancel_not_active",
            "item_truncate_invalid_item_id",
            "item_delete_invalid_item_id",
            "item_retrieve_invalid_item_id",
            "item_not_found",
            "unsupported_content_type",
            COMMIT_EMPTY,
        ),
        Verdict.BENIGN,
    ),
    "conversation_already_has_active_response": Verdict.BUSY,
    **dict.fromkeys(
        (
            "invalid_value",
            "invalid_type",
            "missing_required_parameter",
            "unknown_parameter",
            "invalid_json",
            "invalid_event",
            "invalid_tool_call_id",
            "item_create_duplicate_item_id",
            "item_create_invalid_previous_item_id",
            "cannot_update_voice",
        ),
        Verdict.OURS,
    ),
    **dict.fromkeys(
        ("rate_limit_exceeded", "inference_rate_limit_exceeded", "server_error", "overloaded"),
        Verdict.RETRYABLE,
    ),
    "session_expired": Verdict.EXPIRED,
    **dict.fromkeys(FATAL_CODES, Verdict.FATAL),
}

WAIT_FOR = frozenset({"rate_limit_exceeded", "inference_rate_limit_exceeded", "overloaded"})
"""Codes after which asking again at once would only be refused again."""


PROMPT_OBJECTS = "the vendor's prompt objects end on 2026-11-30: put the text into the agent's instructions"
"""OpenAI, "Deprecations", 2026-06-03: Reusable prompts. From that day on `session.prompt` is refused."""

_PROMPT_PATH = re.compile(r"(session\.)?prompt([.\[].*)?")
_PROMPT_IN_WORDS = re.compile(r"\bsession\.prompt\b|\bpmpt_\w")


_MODERATION = re.compile("content|moderat|policy|safety")


def moderates(event: UpstreamFaulted) -> bool:
    """Whether the vendor's filter has cut off what the model says. Live API guide, "Errors": some of its
    decisions end the session, others the rest of what is being said.
    """
    filtered = _MODERATION.search(event.code or event.kind) is not None
    return filtered and not event.about and verdict(event) is None


def names_prompt(event: UpstreamFaulted) -> bool:
    """Whether the error is about `session.prompt`, whatever its code: no other attempt fares any better with
    this configuration. Another agent's may, so it is no reason to turn other calls away.
    """
    path = _PROMPT_PATH.fullmatch(event.param)
    return path is not None or _PROMPT_IN_WORDS.search(event.message) is not None


def in_words(event: UpstreamFaulted) -> str:
    """The error for the log and the call's end, with what to do about it where that is known."""
    told = f"{event.code} {event.param}: {event.message}"
    return f"{told} ({PROMPT_OBJECTS})" if names_prompt(event) else told


def harmless(code: str) -> bool:
    """Whether an error of that code belongs to a call that goes well: a lost race, or a wait for a turn."""
    return _CODES.get(code) in (Verdict.BENIGN, Verdict.BUSY)


def verdict(event: UpstreamFaulted, fatal: Collection[str] = ()) -> Verdict | None:
    """What the error means, None for one we do not know. Some vendors put the word into the type. `fatal` are
    the codes of that vendor after which no session fares better (`Capabilities.fatal_codes`).
    """
    if event.code in fatal or (event.kind in fatal and event.code not in _CODES):
        return Verdict.FATAL
    return _CODES.get(event.code) or _CODES.get(event.kind)
