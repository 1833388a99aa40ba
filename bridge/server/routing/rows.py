"""The shape of a routing file: which members there are, and what each of them may be.

Shapes only: names are looked up, files are read and agents are imported by `reading`.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal, NamedTuple, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from bridge.agents.agent import Agent
from bridge.agents.turned_away import Forward, Refuse, TurnedAway, Voicemail
from bridge.errors import ConfigError

Positive = Annotated[int, Field(gt=0, strict=True)]
Money = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Text = Annotated[str, Field(min_length=1)]
Language = Annotated[str, Field(pattern=r"^[A-Za-z]{2,3}(-[A-Za-z0-9]{2,8})*$")]
_Shape = TypeVar("_Shape", bound=BaseModel)

MOST_ROWS: Final = 50_000


class Fault(NamedTuple):
    """One place of the table that cannot work: where, what is wrong with it, and the cure."""

    where: str
    what: str
    cure: str

    def __str__(self) -> str:
        return f"{self.where} {self.what}: {self.cure}"


class WrongTable(ConfigError):
    """A routing table that cannot work: every fault of it."""

    def __init__(self, name: str, faults: tuple[Fault, ...]) -> None:
        super().__init__(name, faults)
        self.name: str = name
        self.faults: tuple[Fault, ...] = faults

    def __str__(self) -> str:
        count = "1 fault" if len(self.faults) == 1 else f"{len(self.faults)} faults"
        return "\n  ".join([f"{self.name} has {count}:", *map(str, self.faults)])


class Shape(BaseModel):
    """Unknown members are faults: a misspelt limit would be none."""

    model_config = ConfigDict(
        extra="forbid", hide_input_in_errors=True, arbitrary_types_allowed=True, str_strip_whitespace=True
    )


class AccountRow(Shape):
    """`[accounts.NAME]`: a subaccount, with the token that its webhooks are signed with."""

    sid: Text
    token: str | list[str] | None = None
    token_env: Text | None = None
    rest: Literal["own", "parent"] = "own"
    max_calls: Positive | None = None
    day_cost: Money | None = None


class HoursRow(Shape):
    """`[hours.NAME]`: when a number is open."""

    zone: Text
    open: list[str]
    holidays: Text | None = None


class Row(Shape):
    """`[[routes]]`: one number, or all that begin alike."""

    to: Text
    account: Text | None = None
    agent: Any = None
    language: Language | None = None
    transfers: dict[str, str] | str | None = None
    fallback: Text | None = None
    hours: Text | None = None
    closed: Any = None
    blocked: Text | None = None
    max_calls: Positive | None = None
    day_cost: Money | None = None
    calls_a_minute: Positive | None = None
    caller_calls_a_minute: Positive | None = None
    recordings: bool | Text | None = None


class Head(Shape):
    """What stands above the rows, and holds for those that do not say otherwise."""

    blocked: Text | None = None
    calls_a_minute: Positive | None = None
    caller_calls_a_minute: Positive | None = None
    accounts: dict[str, Any] = {}
    hours: dict[str, Any] = {}
    routes: list[Any] = Field(default=[], max_length=MOST_ROWS)


_WORDS: Final = {
    "missing": ("is missing", "write it"),
    "extra_forbidden": ("is unknown", "see docs/guides/numbers.md for what there is"),
    "int_type": ("is not a whole number", "write digits only, without quotation marks"),
    "int_from_float": ("is not a whole number", "write digits only, without quotation marks"),
    "int_parsing": ("is not a whole number", "write digits only"),
    "greater_than": ("is out of range", "write a number above 0"),
    "string_pattern_mismatch": ("is no language tag", "write it like en or en-GB"),
    "too_long": ("has too many rows", f"write at most {MOST_ROWS}"),
}


def shaped(kind: type[_Shape], given: object, where: str, faults: list[Fault]) -> _Shape | None:
    """It in that shape, with one fault for each member that does not fit, and without those; None where one
    that is needed is missing.
    """
    if not isinstance(given, Mapping):
        faults.append(Fault(where, "is no table", "see docs/guides/numbers.md for an example"))
        return None
    try:
        return kind.model_validate(dict(given))
    except ValidationError as error:
        members = {str(detail["loc"][0]): str(detail["type"]) for detail in error.errors(include_input=False)}
        for member, found in members.items():
            what, cure = _WORDS.get(
                found, ("is of another kind", "see docs/guides/numbers.md for what it can be")
            )
            near = (
                difflib.get_close_matches(member, kind.model_fields, 1) if found == "extra_forbidden" else []
            )
            faults.append(
                Fault(f"{where}: {member[:40]}", what, f"did you mean {near[0]}?" if near else cure)
            )
    # Again without them, so that what else is wrong is told too.
    kept = {name: value for name, value in given.items() if name not in members}
    try:
        return kind.model_validate(kept)
    except ValidationError:
        return None


def closed_result(given: object) -> TurnedAway | str | Agent:
    """What a closed number answers: a resolver's result, or the import string of an agent. Raises
    ConfigError.
    """
    if isinstance(given, Refuse | Forward | Voicemail | Agent):
        return given
    if isinstance(given, str):
        return Refuse(given)  # type: ignore[arg-type]  # another word is refused there
    if isinstance(given, Mapping):
        match dict(given):
            case {"say": words, **rest} if not rest:
                return Refuse(say=words)
            case {"forward": name, **rest} if not rest:
                return Forward(name)
            case {"voicemail": prompt, **rest} if set(rest) <= {"max_s"}:
                return Voicemail(prompt, **rest)
            case {"agent": str(where), **rest} if not rest:
                return where
    raise ConfigError(
        'write "rejected", "busy", { say = "…" }, { forward = "name" }, { agent = "module:attribute" } or '
        '{ voicemail = "…", max_s = 120 }'
    )
