"""What an `error` event of the vendor's means for the call: its code decides, not its arrival.

Most errors leave the session open. A code we have never heard of is logged and survived.
"""

from __future__ import annotations

import enum

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


_CODES: dict[str, Verdict] = {
    **dict.fromkeys(
        (
            "response_cancel_not_active",
            "item_truncate_invalid_item_id",
            "item_delete_invalid_item_id",
            "item_retrieve_invalid_item_id",
            "item_not_found",
            "unsupported_content_type",
            "input_audio_buffer_commit_empty",
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


def verdict(event: UpstreamFaulted) -> Verdict | None:
    """What the error means, None for one we do not know. Some vendors put the word into the type."""
    return _CODES.get(event.code) or _CODES.get(event.kind)
