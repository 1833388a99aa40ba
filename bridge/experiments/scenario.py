"""A scenario: who calls, how, over which line, and what has to come of it. TOML, or Python."""

from __future__ import annotations

import importlib.util
import inspect
import json
import math
import sys
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final, TypeVar, get_type_hints

import msgspec

from ..doubles.people.caller import Habits, Interjection, Keys, Silence, plain
from ..doubles.phone import DIGITS
from ..errors import ConfigError

MEASURES: Final = (
    "felt_p50_ms", "felt_p95_ms", "first_sound_ms", "stop_p95_ms", "told_error_ms", "talk_over_ms",
    "silence_max_ms", "repeats", "turns", "seconds", "usd",
)  # fmt: skip
"""What can be bounded, and is shown."""


class _Strict(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A misspelt field is a mistake that is told."""


MOST_S: Final = 14_400
"""No call is longer: Twilio ends one after four hours."""
_MOST_DELAY_MS: Final = 10_000
_MOST_SNR_DB: Final = 100
_Kind = TypeVar("_Kind")


class Interrupts(_Strict, frozen=True):
    """The caller says something into a turn of the agent's, once it has got to this word or millisecond."""

    at_word: int | None = None
    at_ms: int | None = None
    chance: float = 1.0
    say: str = ""
    turn: int | None = None

    def __post_init__(self) -> None:
        if (self.at_word is None) == (self.at_ms is None):
            raise ValueError("either at_word or at_ms is wanted")
        if not 0 <= self.chance <= 1:
            raise ValueError("chance is between 0 and 1")
        if min(1 if one is None else one for one in (self.at_word, self.turn)) < 1:
            raise ValueError("at_word and turn count from 1")
        if self.at_ms is not None and self.at_ms < 0:
            raise ValueError("at_ms is not negative")


class SilenceHabit(_Strict, frozen=True):
    """The caller says nothing for so long before that turn of theirs."""

    before_turn: int
    ms: int

    def __post_init__(self) -> None:
        if self.before_turn < 1 or not 0 <= self.ms <= MOST_S * 1000:
            raise ValueError("before_turn counts from 1, ms is not negative and no longer than a call")


class KeysHabit(_Strict, frozen=True):
    """The caller presses keys once these words were heard."""

    after: str
    digits: str

    def __post_init__(self) -> None:
        if not plain(self.after) or not self.digits or set(self.digits) - set(DIGITS):
            raise ValueError("keys want the words they come after, and digits out of 0123456789*#")


class HabitsTable(_Strict, frozen=True):
    """`[caller.habits]`."""

    interrupts: Interrupts | None = None
    backchannel: Interrupts | None = None
    silence: SilenceHabit | list[SilenceHabit] | None = None
    mumbles: float = 0.0
    keys: list[KeysHabit] = []

    def __post_init__(self) -> None:
        if not 0 <= self.mumbles <= 1:
            raise ValueError("mumbles is between 0 and 1")

    def habits(self) -> Habits:
        """As the caller's machine has them."""
        silence = self.silence if isinstance(self.silence, list) else [self.silence] if self.silence else []
        return Habits(
            interrupts=_interjection(self.interrupts),
            backchannel=_interjection(self.backchannel),
            silences=[Silence(one.before_turn, one.ms) for one in silence],
            mumbles=self.mumbles,
            keys=[Keys(one.after, one.digits) for one in self.keys],
        )


def _interjection(given: Interrupts | None) -> Interjection | None:
    return None if given is None else Interjection(**msgspec.structs.asdict(given))


class Mind(_Strict, frozen=True):
    """Who decides what the caller says: a chat endpoint, with the key of that variable. `usd` is its price:
    of a million tokens that it reads, and of a million that it writes.
    """

    url: str
    model: str
    key_env: str = ""
    think_ms: int = 700
    usd: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.think_ms <= MOST_S * 1000:
            raise ValueError("think_ms is not negative and no longer than a call")
        if self.usd is not None and not all(0 <= one < math.inf for one in self.usd):
            raise ValueError("usd is two prices: of a million tokens read, and of a million written")


class CallerTable(_Strict, frozen=True):
    """`[caller]`. With `lines` no mind is asked; `mind` is an endpoint, or `module:function`."""

    goal: str = ""
    persona: str = ""
    voice: str = "espeak"
    lines: list[str] | None = None
    mind: Mind | str | None = None
    habits: HabitsTable = HabitsTable()

    def __post_init__(self) -> None:
        if self.lines is None and self.mind is None:
            raise ValueError("without lines a mind is needed: mind = { url, model, key_env }")
        if self.lines is not None and not all(map(plain, self.lines)):
            raise ValueError("a line has words; a caller who is silent has lines = []")


class Noise(_Strict, frozen=True):
    """A noise behind the caller: `cafe`, `white`, or a sound file; so many decibels below their voice."""

    file: str
    snr_db: float = 15.0

    def __post_init__(self) -> None:
        if not -_MOST_SNR_DB <= self.snr_db <= _MOST_SNR_DB:
            raise ValueError(f"snr_db is between -{_MOST_SNR_DB} and {_MOST_SNR_DB}")


class Network(_Strict, frozen=True):
    """`[network]`. Delays are one way, in ms; `loss` is the share of the caller's frames that never come."""

    loss: float = 0.0
    delay_ms: int = 0
    jitter_ms: int = 0
    noise: Noise | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.loss < 1 or min(self.delay_ms, self.jitter_ms) < 0:
            raise ValueError("loss is at least 0 and less than 1, delays are not negative")
        if max(self.delay_ms, self.jitter_ms) > _MOST_DELAY_MS:
            raise ValueError(f"delay_ms and jitter_ms are at most {_MOST_DELAY_MS}")


class Limits(_Strict, frozen=True):
    """`[limits]`: turns of the caller's, and seconds of the call."""

    turns: int = 12
    seconds: int = 180

    def __post_init__(self) -> None:
        if self.turns < 1 or not 1 <= self.seconds <= MOST_S:
            raise ValueError(f"turns is at least 1, seconds is between 1 and {MOST_S}")


class Expect(_Strict, frozen=True):
    """One `[[expect]]`: exactly one thing that has to be so."""

    tool: str = ""
    arguments: dict[str, Any] = {}
    never: bool = False
    heard: str = ""
    not_heard: str = ""
    ended: str = ""
    transferred: str = ""
    keys: str = ""
    reached_goal: bool | None = None
    told_within_ms: int | None = None
    measure: str = ""
    most: float | None = None
    least: float | None = None

    def __post_init__(self) -> None:
        subjects = (
            self.tool, self.heard, self.not_heard, self.ended, self.transferred, self.keys, self.measure,
            self.reached_goal is not None, self.told_within_ms is not None,
        )  # fmt: skip
        if sum(map(bool, subjects)) != 1:
            raise ValueError(
                "an expectation has one of tool, heard, not_heard, ended, transferred, keys, reached_goal, "
                "told_within_ms, measure"
            )
        if self.measure and self.measure not in MEASURES:
            raise ValueError(f"there is no measure {self.measure!r}; there is {', '.join(MEASURES)}")
        if bool(self.measure) != (self.most is not None or self.least is not None):
            raise ValueError("a measure has a bound, most or least, and only a measure has one")
        if (self.never or self.arguments) and not self.tool:
            raise ValueError("arguments and never are about a tool")
        if not _is_json(self.arguments):
            raise ValueError("arguments are as JSON has them: a date or a time is written in quotes")
        if any(words and not plain(words) for words in (self.heard, self.not_heard)):
            raise ValueError("heard and not_heard want words: signs alone are not spoken")
        if set(self.keys) - set(DIGITS):
            raise ValueError("keys are out of 0123456789*#")
        if self.told_within_ms is not None and self.told_within_ms < 0:
            raise ValueError("told_within_ms is not negative")
        bounds = [bound for bound in (self.least, self.most) if bound is not None]
        if not all(map(math.isfinite, bounds)) or bounds != sorted(bounds):
            raise ValueError("most and least are numbers, and most is not below least")


def _is_json(value: Any) -> bool:
    try:
        json.dumps(value, allow_nan=False)
    except (TypeError, ValueError):
        return False
    return True


class Rubric(_Strict, frozen=True):
    """One `[[rubric]]`: what a model is asked about the call."""

    ask: str

    def __post_init__(self) -> None:
        if not self.ask.strip():
            raise ValueError("ask wants a question")


class CallTable(_Strict, frozen=True):
    """`[call]`: the parameters of the stream, which a resolver sees, and the targets of transfers."""

    parameters: dict[str, str] = {}
    transfers: list[str] = []


class Rules(_Strict, frozen=True):
    """What has to come of a call: `[[expect]]`, and `[[rubric]]` where an endpoint or a function judges."""

    expect: list[Expect] = []
    rubric: list[Rubric] = []


class Scenario(Rules, frozen=True, kw_only=True):
    """One scenario. `place` is the folder that its files are found from, `file` what a mistake in it is
    told of.
    """

    name: str
    caller: CallerTable
    network: Network = Network()
    limits: Limits = Limits()
    call: CallTable = CallTable()
    place: str = "."
    file: str = ""

    def __post_init__(self) -> None:
        if not self.name.strip():
            raise ValueError("a scenario has a name")


def read_toml(text: str, where: str, place: str = ".") -> Scenario:
    """One scenario. Raises ConfigError that names the file and the field."""
    return _converted(text, where, Scenario, place=place, file=where)


def read_rules(file: Path) -> Rules:
    """`[[expect]]` and `[[rubric]]` without a caller. Raises ConfigError, as `read_toml` does."""
    return _converted(_text(file), str(file), Rules)


def _converted(text: str, where: str, kind: type[_Kind], **more: str) -> _Kind:
    try:
        found = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise ConfigError(f"{where} is not TOML: {error}") from error
    try:
        return msgspec.convert({**found, **more}, kind)
    except msgspec.ValidationError as error:
        raise ConfigError(f"{where}: {error}") from error


def load(folder: Path) -> list[Scenario]:
    """All scenarios of a folder, or of one file, by file name. Raises ConfigError for a mistake in one, for
    two of one name, and where there is none.
    """
    files = [folder] if folder.is_file() else sorted((*folder.glob("*.toml"), *folder.glob("*.py")))
    files = [file for file in files if not file.name.startswith(("_", "test_", "conftest"))]
    found = [scenario for file in files for scenario in _read(file)]
    if not found:
        raise ConfigError(f"{folder} has no scenario: *.toml, or *.py with functions that return a Scenario")
    names = [scenario.name for scenario in found]
    twice = {name for name in names if names.count(name) > 1}
    if twice:
        raise ConfigError(f"two scenarios are named {min(twice)!r}")
    return found


def _read(file: Path) -> Iterator[Scenario]:
    if file.suffix == ".py":
        yield from _from_python(file)
        return
    yield read_toml(_text(file), str(file), str(file.parent))


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file} cannot be read: {error}") from error


def _from_python(file: Path) -> Iterator[Scenario]:
    """The functions of a file that say that they return a Scenario, or several."""
    spec = importlib.util.spec_from_file_location(f"_scenarios_{file.stem}", file)
    if spec is None or spec.loader is None:
        raise ConfigError(f"{file} cannot be imported")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    try:
        spec.loader.exec_module(module)
        made = [one() for one in vars(module).values() if _makes_scenarios(one, module.__name__)]
    except (Exception, SystemExit) as error:
        raise ConfigError(f"{file}: {type(error).__name__}: {error}") from error
    for one in made:
        for scenario in one if isinstance(one, list) else [one]:
            if not isinstance(scenario, Scenario):
                raise ConfigError(f"{file}: a Scenario is wanted, not {type(scenario).__name__}")
            yield msgspec.structs.replace(scenario, place=str(file.parent), file=str(file))


def _makes_scenarios(one: object, module: str) -> bool:
    if not inspect.isfunction(one) or one.__module__ != module:
        return False
    hints: Mapping[str, Any] = get_type_hints(one)
    return hints.get("return") in (Scenario, list[Scenario]) and not inspect.signature(one).parameters
