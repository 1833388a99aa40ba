"""`/voicemail`: a caller has left a message, and the carrier says where it is.

It comes twice, by the caller's leg and by the recording, in either order; the message is told once. The sound
stays with the carrier: what is told is its address, which is fetched with the account's credentials.

https://www.twilio.com/docs/voice/twiml/record
"""

from __future__ import annotations

import logging
import re
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response

from bridge.server import twiml
from bridge.server.admission import Admission, answer
from bridge.server.proof import Fields

logger = logging.getLogger(__name__)

_RECORDING: Final = re.compile("RE[0-9a-fA-F]{32}")


class VoicemailBox:
    """The route, once its request is proven."""

    def __init__(self, admission: Admission) -> None:
        self._admission = admission
        self._registry = admission.registry

    async def webhook(self, _request: Request, form: Fields) -> Response:
        """The message is told, and the caller's leg ends."""
        left = _RECORDING.fullmatch(form.get("RecordingSid", ""))
        if left is not None and form.get("RecordingUrl", "").startswith("https://"):
            self._left(form)
        # The caller's leg asks what follows, and says which status it has; a recording has only its own.
        return Response(status_code=204) if "RecordingStatus" in form else answer(twiml.hangup())

    def _left(self, form: Fields) -> None:
        used, recording_sid = self._admission.used, form["RecordingSid"]
        if used.has(recording_sid):
            return
        used.use(recording_sid)
        known = self._admission.router.of(form["CallSid"])
        message = _message({"From": known.caller, "To": known.called, **form})
        words = "a message of %s s was left: %s"
        call_sid = form["CallSid"]
        logger.info(words, message["seconds"], message["recording_url"], extra={"call_sid": call_sid})
        users, routed = self._registry.services.users, self._admission.router.route(call_sid, form)
        if users is not None and routed is not None and routed.has_row:  # else no agent of that account's
            users.message_left(call_sid, message)


def _message(form: Fields) -> dict[str, Any]:
    seconds = form.get("RecordingDuration", "")
    return {
        "call_sid": form["CallSid"],
        "account_sid": form.get("AccountSid", ""),
        "from": form.get("From", ""),
        "to": form.get("To", ""),
        "recording_sid": form["RecordingSid"],
        "recording_url": form["RecordingUrl"],
        "seconds": int(seconds) if seconds.isascii() and seconds.isdecimal() else 0,
    }
