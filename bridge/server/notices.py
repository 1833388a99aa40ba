"""Other systems are told of calls, as the settings say: an outbox, and the observer that fills it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from bridge.ops.metrics import Metrics
from bridge.ops.notices import ALWAYS, CallNotices, Outbox
from bridge.ops.notices.delivery import Address
from bridge.settings.settings import Settings

FOLDER: Final = "notices"
"""Beside the journal: notices wait there until they have arrived."""


Hook = Callable[[str, Mapping[str, Any]], None]
"""Told of every notice, from any thread: the call, and the notice as it is sent."""


def notices(settings: Settings, metrics: Metrics, hook: Hook | None = None) -> tuple[Outbox, CallNotices]:
    """For BRIDGE_NOTICES and for `hook`; without either nothing is told, and nothing kept."""
    keys = [key.get_secret_value() for key in settings.notices_secret]
    urls = [url.get_secret_value() for url in settings.notices]
    addresses = [Address(url, keys, settings.notices_private) for url in urls]
    folder = None if settings.journal is None else settings.journal.with_name(FOLDER)
    outbox = Outbox(addresses, folder, metrics.noticed)
    metrics.watch_notices(lambda: outbox.waiting)
    kinds = frozenset({*ALWAYS, *settings.notices_about}) if addresses else frozenset[str]()
    return outbox, CallNotices(outbox.put, kinds, hook)
