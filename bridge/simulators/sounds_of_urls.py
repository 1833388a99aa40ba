"""What `<Play>` fetches: a WAV file, or raw µ-law."""

from __future__ import annotations

import asyncio
import urllib.parse
import urllib.request

from bridge.codecs.wav import is_wav, pcmu_of
from bridge.sockets.peers import is_loopback

from .carrier import WEBHOOK_S, WebhookFailed


async def fetched_sound(url: str) -> bytes:
    """The sound there, µ-law at 8 kHz. Raises WebhookFailed if none can be had."""
    return await asyncio.to_thread(_fetched, url)


def _fetched(url: str) -> bytes:
    proxies = urllib.request.ProxyHandler({} if is_loopback(urllib.parse.urlsplit(url).hostname) else None)
    try:
        with urllib.request.build_opener(proxies).open(url, timeout=WEBHOOK_S) as answer:
            content: bytes = answer.read()
        return pcmu_of(content) if is_wav(content) else content
    except (OSError, ValueError) as error:
        raise WebhookFailed(f"{url} could not be played: {error}") from error
