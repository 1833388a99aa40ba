"""The exact form of the carrier's ids, and the borders of the fields that were signed.

Twilio, "Validating requests": names and values are signed without anything between them. Cut at other places,
the text that was signed once has other fields and the same signature: `ParentCallSid` + `CA…` can become the
end of one value and a `CallSid` of its own. An id has one form, and a status is one of a few words, so their
borders in that text are known.

https://www.twilio.com/docs/glossary/what-is-a-sid ("34 characters, two letters and 32 hexadecimal digits")
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Final

from bridge.core.messages import Started
from bridge.server.intents import LIVE_STATUSES, OVER_STATUSES

_CALL: Final = re.compile("CA[0-9a-fA-F]{32}")
_ACCOUNT: Final = re.compile("AC[0-9a-fA-F]{32}")
_STREAM: Final = re.compile("MZ[0-9a-fA-F]{32}")

_REQUIRED: Final = {"CallSid": _CALL, "AccountSid": _ACCOUNT}
_OPTIONAL: Final = {"ParentCallSid": _CALL, "DialCallSid": _CALL, "StreamSid": _STREAM}
_CHARS: Final = 34

_STATUSES: Final = OVER_STATUSES | LIVE_STATUSES | {"answered"}
# Where an id or a status begins in the signed text, whatever the fields are now.
_NAMED: Final = re.compile(
    f"(?:Call|Account|Stream)Sid(?=(?:CA|AC|MZ)[0-9a-fA-F]{{32}})|CallStatus(?={'|'.join(sorted(_STATUSES))})"
)
# A query that was signed as the end of the URL, moved into the form.
_OF_A_QUERY: Final = re.compile("[?&=]")


def form_fault(
    fields: Mapping[str, str], body: Sequence[tuple[str, str]], account_sid: str | None
) -> str | None:
    """Why a webhook whose signature is right is still not as the carrier sent it, in words that may be
    logged; None when it is.

    `fields` are all of its fields, `body` those of its body as they came. `account_sid` is the only account
    there may be, None for any.
    """
    for name, form in _REQUIRED.items():
        if not form.fullmatch(fields.get(name, "")):
            return f"{name} is not one of the carrier's"
    for name, form in _OPTIONAL.items():
        if fields.get(name) and not form.fullmatch(fields[name]):
            return f"{name} is not one of the carrier's"
    if account_sid is not None and fields["AccountSid"] != account_sid:
        return "AccountSid is another account's"
    return _border_fault(body)


def start_fault(started: Started, account_sid: str | None) -> str | None:
    """The same for the `start` of a stream."""
    ids = ((_CALL, started.call_id), (_ACCOUNT, started.account_id), (_STREAM, started.stream_id))
    if not all(form.fullmatch(found) for form, found in ids):
        return "an id that is not one of the carrier's"
    if account_sid is not None and started.account_id != account_sid:
        return "another account's stream"
    return None


def _border_fault(body: Sequence[tuple[str, str]]) -> str | None:
    """Whether an id or a status stands anywhere but alone in the value of a field that is named for it."""
    fields = sorted(set(body))  # the order in which they are signed
    whole, at = set(), 0
    for name, value in fields:
        if _OF_A_QUERY.search(name):
            return "a field that is part of a URL's query"
        if len(value) == _CHARS or value in _STATUSES:
            whole.add(at + len(name))
        at += len(name) + len(value)
    signed = "".join(name + value for name, value in fields)
    if any(named.end() not in whole for named in _NAMED.finditer(signed)):
        return "fields that were cut in other places than they were signed"
    names = [name for name, _ in fields]
    if any(names.count(name) > 1 for name in (*_REQUIRED, *_OPTIONAL)):
        return "an id that is named twice"
    return None
