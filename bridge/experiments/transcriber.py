"""Words out of what a phone has played, by an OpenAI-compatible endpoint or a function of the user's."""

from __future__ import annotations

import hashlib
import json

from ..codecs.wav import stereo_of
from ..errors import ConfigError
from .callers_live import Transcriber
from .callers_voice import import_function
from .endpoint import Endpoint

TRANSCRIPTIONS = "/audio/transcriptions"


def transcriber(where: str) -> Transcriber:
    """`https://…/v1?model=…&key_env=…`, or `module:function` that gets µ-law. Raises ConfigError."""
    if where.startswith(("http://", "https://")):
        return EndpointEars(where)
    if ":" not in where:
        raise ConfigError(f"{where!r} transcribes nothing: an address, or module:function")
    return import_function(where)


class EndpointEars:
    """An OpenAI-compatible `/audio/transcriptions`."""

    def __init__(self, address: str) -> None:
        self._endpoint, given = Endpoint.of(address, TRANSCRIPTIONS)
        self._fields = {"model": "gpt-4o-mini-transcribe", **given, "response_format": "json"}

    def __call__(self, sound: bytes) -> str:
        wav = stereo_of(sound, sound)
        boundary = hashlib.sha256(wav).hexdigest()
        parts = [
            f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'.encode()
            for name, value in sorted(self._fields.items())
        ]
        head = f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="heard.wav"\r\n'
        parts += [head.encode(), b"Content-Type: audio/wav\r\n\r\n", wav, f"\r\n--{boundary}--\r\n".encode()]
        kind = f"multipart/form-data; boundary={boundary}"
        return self._endpoint.post(b"".join(parts), kind, lambda found: str(json.loads(found)["text"]))
