"""Where the calls of a row are recorded: the folder of the settings, one of its own, or none."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from bridge.core.messages import CallConfig
from bridge.ops.recordings import Recordings
from bridge.runner import Recorder
from bridge.server.routing.router import Router
from bridge.settings.settings import Settings


class RoutedRecordings:
    """One writer for each folder, from the first call that is recorded there. `on_whole` is told of each
    recording that is complete.
    """

    def __init__(
        self, settings: Settings, router: Router, on_whole: Callable[[str, str], None] | None = None
    ) -> None:
        self._settings = settings
        self._on_whole = on_whole or (lambda _call_sid, _name: None)
        self._router = router
        self._writers: dict[Path, Recordings] = {}
        if settings.recordings is not None:
            self._writer(settings.recordings)  # what is wrong with the folder shows at start

    def recorder(self, call_sid: str, config: CallConfig) -> Recorder | None:
        """The recorder of that call; None if it is not recorded."""
        routed = self._router.of(call_sid)
        kept = routed.route.recordings
        folder = kept if isinstance(kept, Path) else self._settings.recordings if kept else None
        return None if folder is None else self._writer(folder).recorder(call_sid, config, routed.caller)

    def close(self) -> None:
        """Write what waits."""
        for writer in self._writers.values():
            writer.close()

    def _writer(self, folder: Path) -> Recordings:
        if folder not in self._writers:
            settings = self._settings
            self._writers[folder] = Recordings(
                folder,
                carrier="twilio",
                upstream=settings.upstream,
                sound=settings.record_audio,
                keys=settings.record_keys,
                days=settings.recording_days,
                audio_days=settings.audio_days,
                on_whole=self._on_whole,
            )
        return self._writers[folder]
