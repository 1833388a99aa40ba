"""The caller's turn: what is known of it while it is open, and of the last one.

`speech.py` has the rules: when it begins and when it ends. Times are those of the call.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from .config import SemanticVad, ServerVad, TurnDetection
from .due import NEVER

LEAST_QUIET_MS = 1_500
SERVER_MARGIN_MS = 1_000
SEMANTIC_QUIET_MS = {"low": 9_500, "medium": 5_500, "auto": 5_500, "high": 3_500}
"""Realtime guide, "Voice activity detection": semantic detection waits 8, 4 or 2 seconds at the most."""
_NEVER_MS = -1_000_000


_NO_WORDS = re.compile(r"[\[(*♪][^\])*♪]*[\])*♪]?")
"""Transcribers put sounds into brackets: [Music], (dog barks), *sighs*."""


def has_words(transcript: str) -> bool:
    """Whether a transcript holds words."""
    return any(map(str.isalnum, _NO_WORDS.sub("", transcript)))


def usual_quiet_ms(detection: TurnDetection | None) -> int:
    """The longest that the vendor waits on purpose before it ends a turn, and a margin."""
    if isinstance(detection, SemanticVad):
        return SEMANTIC_QUIET_MS[detection.eagerness]
    if isinstance(detection, ServerVad):
        return max(LEAST_QUIET_MS, detection.silence_duration_ms + SERVER_MARGIN_MS)
    return LEAST_QUIET_MS


@dataclass(slots=True)
class OpenTurn:
    """One call's turn. `since_ms` is None while none is open."""

    since_ms: int | None = None
    item_id: str = ""
    believed: bool = False
    """Whether there may be words in it: after its sound was cleared, not before the model says so again."""
    epoch: int = 0
    """The session whose word it is."""
    first_ms: int = _NEVER_MS
    """When the model first took the caller to be speaking since our ear heard them: a flicker is one turn."""
    words_ms: int = _NEVER_MS
    """When words of the caller's came last, and `own_words_ms` some of the open turn."""
    own_words_ms: int = _NEVER_MS
    overruled_ms: int | None = None
    """When we ended a turn; until our ear hears the caller again, the model's word on speech is ignored."""
    committed: bool = False
    """Whether the last turn is an item of the conversation, or the model was told to make it one."""
    commit_ms: int | None = None
    """When we told it so, while it has not answered."""
    untaken: int = 0
    """How often it did not answer, one session after another."""
    clears: int = 0
    """How often sound was cleared since words came."""
    hold_ms: int | None = None
    """Since when the caller is on hold: elsewhere, with a line that makes sounds."""
    due_ms: int = NEVER
    """When it is to be looked at, if nothing else happens before."""
    pad_due_ms: int = NEVER
    """When silence takes the place of frames that stopped while the caller spoke."""
    confirm_due_ms: int = NEVER
    """When it is long enough to be more than "mm-hm"."""

    def stopped(self) -> None:
        """The turn is over, in the model's word or in ours."""
        self.since_ms, self.believed = None, False
        self.pad_due_ms = self.confirm_due_ms = NEVER

    def taken(self) -> None:
        """The model has made a turn an item."""
        self.committed, self.first_ms = True, _NEVER_MS
        self.acknowledged()

    def acknowledged(self) -> None:
        """The model has answered our commit, if there was one."""
        if self.commit_ms is not None:
            self.commit_ms, self.untaken = None, 0

    def worded(self, now_ms: int, *, own: bool = False) -> None:
        """Words came: `own` if they belong to the open turn."""
        self.words_ms, self.clears = now_ms, 0
        if own:
            self.own_words_ms, self.overruled_ms = now_ms, None

    def lost(self, epoch: int) -> None:
        """Another session listens: none of the former's words holds."""
        self.stopped()
        self.overruled_ms = self.commit_ms = None
        self.committed, self.epoch = False, epoch
