"""What happened in one call, told from its session events, its counts and what its phone played."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..core import messages as m
from ..core.stats import Stats
from ..doubles.playout import BYTES_PER_MS, Cleared
from ..ops.story import told


class Account:
    """Watches the calls of a process in which there is one, and can tell what happened in it.

    `tell(at_ms, who, what)` is called for each line of the story as it happens. Times are milliseconds since
    the call was accepted.
    """

    def __init__(self, tell: Callable[[int, str, str], None] = lambda _at_ms, _who, _what: None) -> None:
        self.ended: m.Ended | None = None
        self.stats = Stats()
        self._tell = tell
        self._played_ms = 0
        self._cuts: list[tuple[int, list[m.Cut]]] = []
        """Of each clear: what had been heard to its end since the clear before it, and what it cut."""

    # --- as an observer ----------------------------------------------------------------------------------

    def call_began(self, _call_sid: str, /) -> None:
        """Nothing to tell: the call is not answered yet."""

    def call_did(self, _call_sid: str, action: m.Action, now_ms: int, /) -> None:
        match action:
            case m.ClearPlayout():
                self._cuts.append((self._played_ms, []))
                self._played_ms = 0
            case m.Cut() if self._cuts:
                self._cuts[-1][1].append(action)
            case m.Spoken(cut=False, heard_ms=heard_ms) | m.Heard(cut=False, heard_ms=heard_ms):
                self._played_ms += heard_ms
        # The end is told with its time, and a parrot's transcripts are no words.
        line = None if isinstance(action, m.Ended | m.Turn) else told(action)
        if line is not None:
            self._tell(now_ms, *line)

    def call_ended(self, _call_sid: str, ended: m.Ended, stats: Stats, /) -> None:
        self.ended, self.stats = ended, stats
        self._tell(stats.ended_ms or 0, "", f"over: {ended.reason.value}")

    # --- and told at the end -----------------------------------------------------------------------------

    def told(self, cleared: list[Cleared]) -> dict[str, Any]:
        """The whole account, as `--json` prints it. `cleared` is the phone's word on what was heard."""
        stats, ended = self.stats, self.ended
        return {
            "answered_after_ms": stats.began_ms,
            "first_audio_after_ms": stats.first_audio_ms,
            "turns": stats.turns,
            "answered_in_ms": stats.turn_latencies_ms,
            "barge_ins": self._barge_ins(cleared),
            "ended": None if ended is None else ended.reason.value,
            "ended_after_ms": stats.ended_ms,
        }

    def _barge_ins(self, cleared: list[Cleared]) -> list[dict[str, Any]]:
        """One for each clear that cut something: what the phone had played of the item by then, against what
        the model was told.
        """
        found = []
        lost_ms = {one.item_id: (one.at_ms, one.received_ms - one.heard_ms) for one in self.stats.barge_ins}
        played_before = 0
        for (whole_ms, cuts), clear in zip(self._cuts, cleared, strict=False):
            heard_ms = (clear.played_bytes - played_before) // BYTES_PER_MS - whole_ms
            played_before = clear.played_bytes
            if cuts and cuts[0].item_id in lost_ms:
                one = {"at_ms": lost_ms[cuts[0].item_id][0], "item": cuts[0].item_id, "heard_ms": heard_ms}
                unheard_ms = sum(lost_ms[cut.item_id][1] for cut in cuts if cut.item_id in lost_ms)
                found.append({**one, "truncated_ms": cuts[0].heard_ms, "unheard_ms": unheard_ms})
        return found
