"""What `<Play>` fetches: a WAV file, or raw µ-law."""

from __future__ import annotations

import asyncio

from bridge.codecs.wav import is_wav, pcmu_of
from bridge.sockets.urls import opener

from .carrier import WEBHOOK_S, WebhookFailed


async def fetched_sound(url: str) -> bytes:
    """The sound there, µ-law at 8 kHz. Raises WebhookFailed if none can be had."""
    return await asyncio.to_thread(_fetched, url)


def _fetched(url: str) -> bytes:
    try:
        with opener(url).open(url, timeout=WEBHOOK_S) as answer:
            content: bytes = answer.read()
        return pcmu_of(content) if is_wav(content) else content
    except (OSError, ValueError) as error:
        raise WebhookFailed(f"{url} could not be played: {error}") from error
