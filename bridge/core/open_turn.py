"""How long a turn of the caller's may stay open.

A turn is open while the model takes the caller to be speaking. That is its word, and it may be wrong: speech
that it never sees the end of, a line of music, a flicker. Our own ear says when the line is quiet, and
whether its sound can be a voice; out of both follow the bounds. Times are those of the call.
"""

from __future__ import annotations

import enum
import re
from dataclasses import dataclass

from .caller_audio import CallerAudioBuffer
from .config import SemanticVad, ServerVad, TurnBounds, TurnDetection
from .due import NEVER

HANGOVER_MS = 300
"""After the last loud frame our ear is quiet."""
LEAST_QUIET_MS = 1_500
SERVER_MARGIN_MS = 1_000
SEMANTIC_QUIET_MS = {"low": 9_500, "medium": 5_500, "auto": 5_500, "high": 3_500}
"""Realtime guide, "Voice activity detection": semantic detection waits 8, 4 or 2 seconds at the most."""
_NEVER_MS = -1_000_000


_NO_WORDS = re.compile(r"[\[(*♪][^\])*♪]*[\])*♪]?")
"""Transcribers put sounds into brackets: [Music], (dog barks), *sighs*."""


def has_words(transcript: str) -> bool:
    """Whether somebody said something, as far as a transcript tells."""
    return any(map(str.isalnum, _NO_WORDS.sub("", transcript)))


def usual_quiet_ms(detection: TurnDetection | None) -> int:
    """The longest that the vendor waits on purpose before it ends a turn, and a margin."""
    if isinstance(detection, SemanticVad):
        return SEMANTIC_QUIET_MS[detection.eagerness]
    if isinstance(detection, ServerVad):
        return max(LEAST_QUIET_MS, detection.silence_duration_ms + SERVER_MARGIN_MS)
    return LEAST_QUIET_MS


class Bound(enum.Enum):
    """Why a turn is ended by us; the values are codes for notes."""

    QUIET = "quiet_ear"
    LONGEST = "longest_turn"
    WORDLESS = "no_words"


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

    def began(self, item_id: str, epoch: int, ended_ms: int, now_ms: int) -> None:
        """The model takes the caller to be speaking; our ear heard them last at `ended_ms`."""
        if self.since_ms is None or not self.believed:
            self.since_ms = now_ms
        if ended_ms > self.first_ms:
            self.first_ms = now_ms
        self.item_id, self.epoch, self.believed = item_id, epoch, True
        self.committed, self.overruled_ms = False, None

    def heard_again(self, now_ms: int) -> None:
        """The model has missed that the caller speaks again."""
        self.since_ms = self.first_ms = now_ms
        self.believed, self.committed, self.overruled_ms = True, False, None

    def stopped(self) -> None:
        """The turn is over, in the model's word or in ours."""
        self.since_ms, self.believed = None, False
        self.pad_due_ms = self.confirm_due_ms = NEVER

    def cleared(self, now_ms: int) -> None:
        """Its sound was cleared; the line goes on, and so does our watch."""
        self.since_ms, self.believed, self.pad_due_ms = now_ms, False, NEVER
        self.clears += 1

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

    def bound(
        self, bounds: TurnBounds, heard: CallerAudioBuffer, listens_ms: int
    ) -> tuple[int, Bound] | None:
        """When the next bound acts, as far as is known now, and which. None while no turn is open.
        `listens_ms` is since when the model has heard all that we have.
        """
        since_ms = self.since_ms
        if since_ms is None:
            return None
        quiet_ms = max(heard.voice_ended_ms, listens_ms, self.first_ms) + bounds.quiet_ms
        if self.own_words_ms >= since_ms:
            quiet_ms = max(quiet_ms, self.own_words_ms + bounds.words_ms)
        found = []
        if bounds.longest_ms:
            found.append((since_ms + bounds.longest_ms, Bound.LONGEST))
        if bounds.quiet_ms:
            found.append((quiet_ms, Bound.QUIET))
        if heard.steady and bounds.wordless_ms:
            found.append((max(since_ms, self.words_ms) + bounds.wordless_ms, Bound.WORDLESS))
        return min(found, key=lambda each: each[0], default=None)
