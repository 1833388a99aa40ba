"""Signatures of notices: Standard Webhooks, symmetric (`v1`).

https://www.standardwebhooks.com: the signed content is `id.timestamp.body`, the key what follows `whsec_` in
base64, the signature HMAC-SHA256 in base64; one for each key while keys rotate, with a blank between.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Sequence


def headers(notice_id: str, at_s: int, body: bytes, keys: Sequence[bytes]) -> dict[str, str]:
    """The headers that prove a notice; without keys it has no signature. `at_s` is that of the attempt."""
    signed = b".".join((notice_id.encode(), str(at_s).encode(), body))
    found = {"webhook-id": notice_id, "webhook-timestamp": str(at_s)}
    if keys:
        signatures = (hmac.new(key, signed, hashlib.sha256).digest() for key in keys)
        found["webhook-signature"] = " ".join(f"v1,{base64.b64encode(one).decode()}" for one in signatures)
    return found
