"""A caller with a goal and habits, driven by what their phone has played: sound comes in, acts come out.

Pure: the time is an argument, chance is a function that was given. What a caller understands is only what an
ear made of the sound that they heard (`WordEar`); without one they know how long the other side has spoken.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final, NamedTuple, Protocol, TypeAlias

from ...codecs.level import level_dbfs
from .person import LOUD_DBFS

WORD_MS: Final = 400
"""A word of the other side, where no ear makes out words."""
QUIET_MS: Final = 700
"""The other side has finished after a pause this long, and what follows is its next turn."""
PATIENCE_MS: Final = 8_000
"""Without an answer the caller goes on after this."""
OPENS_MS: Final = 4_000
"""Without a greeting the caller speaks first."""
TAIL_MS: Final = 2_000
"""A caller who has no more to say hangs up after a pause this long."""
_PROMPT_MS: Final = 4_000
"""What is heard of a prompt after its keys were pressed; more is an answer."""
_REACTS_MS: Final = 300
"""From a prompt for keys to the first key."""
_SILENCE: Final = b"\xff"
_NO_WORD: Final = re.compile(r"[^\w\s]")


class Manner(StrEnum):
    """How something is said."""

    TURN = "turn"
    INTERRUPTION = "interruption"
    BACKCHANNEL = "backchannel"


class Say(NamedTuple):
    """Say these words; an interruption or a backchannel begins while the other side speaks."""

    words: str
    manner: Manner = Manner.TURN
    mumbled: bool = False


class Press(NamedTuple):
    """Press keys."""

    digits: str


class HangUp(NamedTuple):
    """Leave the call. `reached` says whether the goal was reached, None where the caller cannot tell."""

    reached: bool | None = None
    why: str = ""


class Think(NamedTuple):
    """The mind is asked for the next turn: `CallerMachine.decided` is to be called with it."""


Act: TypeAlias = Say | Press | HangUp | Think
Decision: TypeAlias = Say | Press | HangUp


class WordEar(Protocol):
    """What makes words out of the sound that a phone plays."""

    def hear(self, sound: bytes) -> None:
        """The next piece of it."""
        ...

    def words(self) -> str:
        """All that has been understood since `turn`."""
        ...

    def turn(self) -> None:
        """The other side begins a new turn."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Interjection:
    """Something said while the other side speaks, once a turn of theirs: after so many words or milliseconds
    that were heard, with that chance. `turn` counts their turns from 1; None is each of them. Without `say`
    an interruption is the caller's next line.
    """

    at_word: int | None = None
    at_ms: int | None = None
    chance: float = 1.0
    say: str = ""
    turn: int | None = None


class Keys(NamedTuple):
    """Keys that are pressed once these words were heard."""

    after: str
    digits: str


class Silence(NamedTuple):
    """So long the caller says nothing before a turn of theirs, which are counted from 1."""

    before_turn: int
    ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Habits:
    """What makes a caller difficult. `mumbles` is the chance that a turn of theirs is mumbled."""

    interrupts: Interjection | None = None
    backchannel: Interjection | None = None
    silences: Sequence[Silence] = ()
    mumbles: float = 0.0
    keys: Sequence[Keys] = ()


class Line(NamedTuple):
    """One part of the conversation as the caller knows it: what they said, or what they understood."""

    at_ms: int
    who: str
    words: str


@dataclass(slots=True)
class _Turn:
    """A turn of the other side, while it lasts."""

    number: int
    heard_ms: int = 0
    interrupts: bool = False
    murmurs: bool = False
    rest_ms: int | None = None
    """So much may still be heard of it after the caller did something; more is an answer to that."""
    after_ms: int = 0
    """Of it, heard after that and while the caller was silent."""


@dataclass(eq=False)
class CallerMachine:
    """One caller of one call. `hear` is told what the phone has played, each 20 ms or so, and returns what
    the caller does now. A caller with `lines` says them one after the other; with None a mind is asked.
    `chance` gives numbers from 0 to 1.
    """

    lines: Sequence[str] | None
    habits: Habits
    chance: Callable[[], float]
    ear: WordEar | None = None
    most_turns: int = 100
    story: list[Line] = field(default_factory=list)
    """What was said, and what was understood, in order."""
    draws: list[float] = field(default_factory=list)
    unanswered: list[int] = field(default_factory=list)
    """When the caller gave up waiting for an answer."""
    guessed_words: bool = False
    """Whether words were counted by time, because none could be made out."""
    out_of_turns: bool = False
    left: HangUp | None = None

    def __post_init__(self) -> None:
        self._left = list(self.lines or ())
        self._keys = list(self.habits.keys)
        self._theirs: _Turn | None = None
        self._turns = self._said = 0
        self._quiet_ms = 0
        self._waiting_since_ms: int | None = None
        self._thinking = False
        self._decided: tuple[int, Decision] | None = None
        self._press: tuple[int, str] | None = None
        self._held_until_ms: int | None = None

    # --- what happens to them -------------------------------------------------------------------------------

    def hear(self, sound: bytes, now_ms: int, *, speaking: bool) -> Sequence[Act]:
        """What was heard up to now; `speaking` while the caller's own words are being said."""
        if self.left is not None:
            return ()
        if self._waiting_since_ms is None:
            self._waiting_since_ms = now_ms
        if speaking:
            self._waiting_since_ms = now_ms
        loud = self._listen(sound, now_ms)
        if self._theirs is not None and not speaking:
            self._theirs.after_ms += len(sound) // 8 if loud and self._theirs.rest_ms is not None else 0
            if loud and (act := self._breaks_in(self._theirs, now_ms)) is not None:
                return (act,)
            if not loud and self._quiet_ms >= QUIET_MS:
                self._over(now_ms)
        if (keys := self._pressed(now_ms)) is not None:
            return (keys,)
        return () if speaking or self._theirs is not None else self._goes_on(now_ms)

    def decided(self, decision: Decision, now_ms: int, think_ms: int = 0) -> None:
        """The mind's answer to `Think`; it is carried out so much later."""
        self._thinking = False
        self._decided = (now_ms + think_ms, decision)

    # --- listening ------------------------------------------------------------------------------------------

    def _listen(self, sound: bytes, now_ms: int) -> bool:
        ms = len(sound) // 8
        silent = not sound.strip(_SILENCE)
        if self.ear is not None:
            self.ear.hear(sound)
        loud = not silent and level_dbfs(sound) > LOUD_DBFS
        if not loud:
            self._quiet_ms += ms
        else:
            self._quiet_ms = 0
            self._waiting_since_ms = now_ms
            if self._theirs is None:
                self._begins()
        if self._theirs is not None and not silent:
            self._theirs.heard_ms += ms
        return loud

    def _begins(self) -> None:
        """The other side begins a turn."""
        self._turns += 1
        self._theirs = _Turn(
            self._turns,
            interrupts=self._drawn(self.habits.interrupts, self._turns),
            murmurs=self._drawn(self.habits.backchannel, self._turns),
        )
        if self.ear is not None:
            self.ear.turn()

    def _over(self, now_ms: int) -> None:
        """The other side has finished its turn. One that was interrupted, and stopped, is told already."""
        turn, self._theirs = self._theirs, None
        if turn is not None and (turn.rest_ms is None or turn.after_ms > turn.rest_ms):
            words = self.ear.words() if self.ear is not None else ""
            self.story.append(Line(now_ms - self._quiet_ms, "agent", words))

    def _breaks_in(self, turn: _Turn, now_ms: int) -> Say | None:
        """What the caller says into this turn, now; None for nothing."""
        habits = self.habits
        if turn.murmurs and habits.backchannel is not None and self._reached(habits.backchannel, turn):
            turn.murmurs = False
            return self._saying(habits.backchannel.say or "mm-hm", Manner.BACKCHANNEL, now_ms)
        if turn.interrupts and habits.interrupts is not None and self._reached(habits.interrupts, turn):
            turn.interrupts = False
            words = habits.interrupts.say or (self._left.pop(0) if self._left else "")
            return self._saying(words, Manner.INTERRUPTION, now_ms) if words else None
        return None

    def _reached(self, habit: Interjection, turn: _Turn) -> bool:
        if habit.at_word is None:
            return turn.heard_ms >= (habit.at_ms or 0)
        count = len(self.ear.words().split()) if self.ear is not None else 0
        if count:
            return count >= habit.at_word
        if turn.heard_ms < habit.at_word * WORD_MS:
            return False
        self.guessed_words = True
        return True

    # --- doing ----------------------------------------------------------------------------------------------

    def _goes_on(self, now_ms: int) -> Sequence[Act]:
        """Neither side speaks: the caller's turn, if they have waited long enough."""
        if self._decided is not None:
            at_ms, decision = self._decided
            if now_ms < at_ms:
                return ()
            self._decided = None
            return (self._does(decision, now_ms),)
        if self._thinking or not self._may_speak(now_ms):
            return ()
        if self._said >= self.most_turns:
            self.out_of_turns = True
            return (self._does(HangUp(None, "no turn is left"), now_ms),)
        if self.lines is None:
            self._thinking = True
            return (Think(),)
        if self._left:
            return (self._does(Say(self._left.pop(0)), now_ms),)
        return (self._does(HangUp(None, "nothing is left to say"), now_ms),)

    def _may_speak(self, now_ms: int) -> bool:
        waited_ms = now_ms - (self._waiting_since_ms or 0)
        answered = bool(self.story) and self.story[-1].who == "agent"
        if not answered:
            if waited_ms < (PATIENCE_MS if self.story else OPENS_MS):
                return False
            if self.story:
                self.unanswered.append(now_ms)
        elif self.lines is not None and not self._left and waited_ms < TAIL_MS:
            return False
        if self._held_until_ms is None:
            extra_ms = sum(one.ms for one in self.habits.silences if one.before_turn == self._said + 1)
            self._held_until_ms = now_ms + extra_ms
        if now_ms < self._held_until_ms:
            return False
        self._held_until_ms = None
        return True

    def _does(self, decision: Decision, now_ms: int) -> Act:
        match decision:
            case Say(words):
                return self._saying(words, Manner.TURN, now_ms)
            case HangUp():
                self.left = decision
                return decision
            case Press(digits):
                return self._presses(digits, now_ms)

    def _saying(self, words: str, manner: Manner, now_ms: int) -> Say:
        mumbled = manner is not Manner.BACKCHANNEL and self._happens(self.habits.mumbles)
        if manner is not Manner.BACKCHANNEL:
            self._said += 1
        if manner is Manner.INTERRUPTION:
            self._done_with(QUIET_MS, now_ms)
        self.story.append(Line(now_ms, "caller", words))
        return Say(words, manner, mumbled)

    def _pressed(self, now_ms: int) -> Press | None:
        """The keys of a prompt that was heard, when it is time for them."""
        if self._press is None and self.ear is not None and self._keys:
            heard = plain(self.ear.words())
            found = next((one for one in self._keys if plain(one.after) in heard), None)
            if found is not None:
                self._keys.remove(found)
                self._press = (now_ms + _REACTS_MS, found.digits)
        if self._press is None or now_ms < self._press[0]:
            return None
        digits, self._press = self._press[1], None
        return self._presses(digits, now_ms)

    def _presses(self, digits: str, now_ms: int) -> Press:
        self._waiting_since_ms = now_ms
        self._done_with(_PROMPT_MS, now_ms)
        self.story.append(Line(now_ms, "caller", f"[{len(digits)} key{'s' * (len(digits) > 1)}]"))
        return Press(digits)

    def _done_with(self, rest_ms: int, now_ms: int) -> None:
        """The caller does something before this turn is over: what was heard of it so far is told."""
        if self._theirs is None:
            return
        self.story.append(Line(now_ms, "agent", self.ear.words() if self.ear is not None else ""))
        self._theirs.rest_ms, self._theirs.after_ms = rest_ms, 0
        if self.ear is not None:
            self.ear.turn()

    # --- chance ---------------------------------------------------------------------------------------------

    def _drawn(self, habit: Interjection | None, turn: int) -> bool:
        if habit is None or habit.turn not in (None, turn):
            return False
        return self._happens(habit.chance)

    def _happens(self, chance: float) -> bool:
        if chance <= 0 or chance >= 1:
            return chance >= 1
        self.draws.append(self.chance())
        return self.draws[-1] < chance


def plain(text: str) -> str:
    """Words alone, in lower case, with one space between two."""
    return " ".join(_NO_WORD.sub("", text.lower()).split())
