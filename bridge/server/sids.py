"""The exact form of the carrier's ids, and the borders of the fields that were signed.

Twilio, "Validating requests": names and values are signed without anything between them, behind the URL and
its query. Cut at other places, the text that was signed once has other fields and the same signature:
`ParentCallSid` + `CA…` can become the end of one value and a `CallSid` of its own, and a part of the query
can move into the form or the other way. An id has one form, a status is one of a few words, and a name has no
`?`, `&` or `=`: so their borders in that text are known.

https://www.twilio.com/docs/glossary/what-is-a-sid ("34 characters, two letters and 32 hexadecimal digits")
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Final
from urllib.parse import parse_qsl

from bridge.core.messages import Started
from bridge.server.store.intents import LIVE_STATUSES, OVER_STATUSES

_CALL: Final = re.compile("CA[0-9a-fA-F]{32}")
_ACCOUNT: Final = re.compile("AC[0-9a-fA-F]{32}")
_STREAM: Final = re.compile("MZ[0-9a-fA-F]{32}")

_REQUIRED: Final = {"CallSid": _CALL, "AccountSid": _ACCOUNT}
_OPTIONAL: Final = {"ParentCallSid": _CALL, "DialCallSid": _CALL, "StreamSid": _STREAM}
_CHARS: Final = 34

_STATUSES: Final = OVER_STATUSES | LIVE_STATUSES | {"answered", "initiated"}
_EVENTS: Final = frozenset({"stream-started", "stream-stopped", "stream-error"})
_WORDS: Final = _STATUSES | _EVENTS


def _decides(between: str) -> str:
    """Where an id, a status or an event begins in the signed text, whatever the fields are now."""
    statuses, events = "|".join(sorted(_STATUSES)), "|".join(sorted(_EVENTS))
    return (
        f"(?:(?:Call|Account|Stream)Sid{between}(?=(?:CA|AC|MZ)[0-9a-fA-F]{{32}})"
        f"|CallStatus{between}(?={statuses})|StreamEvent{between}(?={events}))"
    )


_IN_A_FORM: Final = re.compile(_decides(""))
_IN_A_QUERY: Final = re.compile(_decides("="))
_QUERY_IN_A_FORM: Final = re.compile(f"[?&][A-Za-z0-9_.-]*{_decides('=')}")
_NAME: Final = re.compile("[A-Za-z][A-Za-z0-9_.-]*")
_ONCE: Final = frozenset({*_REQUIRED, *_OPTIONAL, "CallStatus", "DialCallStatus", "StreamEvent"})


def form_fault(
    fields: Mapping[str, str],
    body: Sequence[tuple[str, str]],
    account_sid: str | None,
    query: str = "",
    *,
    of_call: bool = True,
) -> str | None:
    """Why a webhook whose signature is right is still not as the carrier sent it, in words that may be
    logged; None when it is.

    `fields` are all of its fields, `body` those of its body as they came, `query` its URL's query as it came.
    `account_sid` is the only account there may be, None for any. `of_call` is false for what need not be
    about a call, like the end of a room.
    """
    for name, form in _REQUIRED.items():
        if name == "CallSid" and not of_call and name not in fields:
            continue
        if not form.fullmatch(fields.get(name, "")):
            return f"{name} is not one of the carrier's"
    for name, form in _OPTIONAL.items():
        if fields.get(name) and not form.fullmatch(fields[name]):
            return f"{name} is not one of the carrier's"
    if account_sid is not None and fields["AccountSid"] != account_sid:
        return "AccountSid is another account's"
    return _border_fault(body, query)


def is_call(text: object) -> bool:
    """Whether it is the id of a call."""
    return isinstance(text, str) and _CALL.fullmatch(text) is not None


def is_account(text: object) -> bool:
    """Whether it is the id of an account."""
    return isinstance(text, str) and _ACCOUNT.fullmatch(text) is not None


def start_fault(started: Started, account_sid: str | None) -> str | None:
    """The same for the `start` of a stream."""
    if not _STREAM.fullmatch(started.stream_id):
        return "an id that is not one of the carrier's"
    return call_fault(started, account_sid)


def call_fault(started: Started, account_sid: str | None) -> str | None:
    """The same, of the call that it names. The stream's own id opens nothing: it is what our frames are
    addressed to.
    """
    if not (_CALL.fullmatch(started.call_id) and _ACCOUNT.fullmatch(started.account_id)):
        return "an id that is not one of the carrier's"
    if account_sid is not None and started.account_id != account_sid:
        return "another account's stream"
    return None


def _border_fault(body: Sequence[tuple[str, str]], query: str) -> str | None:
    """Whether an id, a status or an event stands anywhere but alone in the value of a field that is named for
    it; all of them in the form, or without a form in the query.
    """
    fields = sorted(set(body))  # the order in which they are signed
    asked = parse_qsl(query, keep_blank_values=True)
    names = [name for name, _ in (*fields, *asked)]
    if not all(_NAME.fullmatch(name) for name in names):
        return "a field with a name that the carrier gives to none"
    if any(names.count(name) > 1 for name in _ONCE):
        return "a field that is named twice"
    whole, at = set(), 0
    for name, value in fields:
        if len(value) == _CHARS or value in _WORDS:
            whole.add(at + len(name))
        at += len(name) + len(value)
    signed = "".join(name + value for name, value in fields)
    if (
        any(named.end() not in whole for named in _IN_A_FORM.finditer(signed))
        or _QUERY_IN_A_FORM.search(signed)
        or _IN_A_FORM.search(query)
        or (fields and _IN_A_QUERY.search(query))
    ):
        return "fields that were cut in other places than they were signed"
    return None
