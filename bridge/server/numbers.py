"""Whose number is whose in a webhook's fields.

Twilio, "<Dial>", "callerId": a number that the call came to, or that the account owns. The caller's own
number may be withheld, or of a network that another one does not take, so it is never shown to a target.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Final

_E164: Final = re.compile(r"\+[1-9][0-9]{6,14}")


def own_number(fields: Mapping[str, str], owned: Sequence[str] = ()) -> str:
    """Our number in a call: the one that was called, or that we called from. If that is not a number, as in
    a SIP address, the first of `owned`; "" if that is empty.
    """
    ours = fields.get("From" if _is_outbound(fields) else "To", "")
    return ours if _E164.fullmatch(ours) else next(iter(owned), "")


def person(fields: Mapping[str, str]) -> str:
    """That of the person on the line; "" where it is withheld, or none."""
    theirs = fields.get("To" if _is_outbound(fields) else "From", "")
    return theirs if _E164.fullmatch(theirs) else ""


def _is_outbound(fields: Mapping[str, str]) -> bool:
    return fields.get("Direction", "").startswith("outbound")
