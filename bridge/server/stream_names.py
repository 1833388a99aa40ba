"""A name for each stream of a call, in the query of its `<Connect action>`: `/after-stream?stream=2-Zk3…`.

Twilio, "Validating requests": the URL is signed with its query. So what the carrier asks when a stream is
over says which stream that was, and a request that was captured says so for ever: when a later stream of the
call has begun, it is out of date.
"""

from __future__ import annotations

import hmac
from base64 import urlsafe_b64encode
from collections.abc import Sequence
from typing import Final

QUERY: Final = "stream"
_PROOF_CHARS: Final = 12
_MOST_DIGITS: Final = 4


class StreamNames:
    """Names hold the stream's number in its call, 1 for the first, and a proof that this is the call. `keys`
    are one or several, the one in use last.
    """

    def __init__(self, keys: Sequence[bytes]) -> None:
        self._keys = keys

    def name(self, call_sid: str, number: int) -> str:
        """The name of that stream."""
        return f"{number}-{_proof(self._keys[-1], call_sid, number)}"

    def action_url(self, after_stream: str, call_sid: str, number: int) -> str:
        """Where the carrier asks what comes after that stream; `after_stream` is the route's own URL."""
        return f"{after_stream}?{QUERY}={self.name(call_sid, number)}"

    def number(self, name: str, call_sid: str) -> int | None:
        """The number in a name; None if it is not one of this call's."""
        digits, _, proof = name.partition("-")
        if not (digits.isascii() and digits.isdecimal() and len(digits) <= _MOST_DIGITS and proof.isascii()):
            return None
        number = int(digits)
        proofs = (_proof(key, call_sid, number) for key in self._keys)
        return number if any(hmac.compare_digest(proof, one) for one in proofs) else None


def _proof(key: bytes, call_sid: str, number: int) -> str:
    text = f"stream {number} of {call_sid}".encode(errors="surrogatepass")
    return urlsafe_b64encode(hmac.digest(key, text, "sha256")).decode()[:_PROOF_CHARS]
