"""TwiML, one function a verb: what the leg does, and the document that follows, None for the next verb.

A function is cancelled when the person hangs up or REST interferes; what it has to undo it undoes in
`finally`. An attribute that is not in `attributes` is a failure, as is a verb that is not here.
"""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Mapping
from typing import Final

from ..leg import Document, Leg, Verb
from .attributes import check
from .connect import connect
from .dial import dial
from .gather import gather
from .others import pay, refer, start, stop
from .plain import hangup, pause, play, redirect, reject, say
from .queue import enqueue, leave
from .record import record


def _checked(do: Verb) -> Verb:
    async def verb(leg: Leg, element: ET.Element, at: str) -> Document | None:
        check(element, at)
        return await do(leg, element, at)

    return verb


VERBS: Final[Mapping[str, Verb]] = {
    name: _checked(do)
    for name, do in {
        "Connect": connect, "Dial": dial, "Enqueue": enqueue, "Gather": gather, "Hangup": hangup,
        "Leave": leave, "Pause": pause, "Pay": pay, "Play": play, "Record": record, "Redirect": redirect,
        "Refer": refer, "Reject": reject, "Say": say, "Start": start, "Stop": stop,
    }.items()
}  # fmt: skip
