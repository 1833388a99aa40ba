"""The session's own tools: what each is called aloud, and how well words mean it."""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final, Literal

from .english import NOT_TELLING, alike, spoken_name, stem, telling, word_set, words_of
from .parameters import Parameter, parameters_of

HANG_UP: Final = "hang_up"
TRANSFER: Final = "transfer"
NAME_WEIGHT: Final = 3.0
DESCRIPTION_WEIGHT: Final = 1.0
CHOICE_WEIGHT: Final = 1.5
MOST_DESCRIPTION_HITS: Final = 3
LEAST_SCORE: Final = 1.9
LEAST_LEAD: Final = 0.5

_HAND_OFF: Final = re.compile(r"(?:hand_?off_to|transfer_to)_(.+)")
_MOVING: Final = frozenset(map(stem, ("transfer", "connect", "talk", "speak", "through")))
_DOING: Final = word_set(
    "book cancel order pay send delete buy change place reserve reschedule submit remove"
)
_LOOKING: Final = word_set("get find list check show look lookup search tell read status state info")
_STOCK: Final = re.compile(r"^hand the conversation off to [^.]*\.\s*", re.IGNORECASE)


@dataclass(frozen=True)
class DeskTool:
    """One tool. `kind` says what becomes of the call: a hand-off and a hang-up are tools like others."""

    name: str
    kind: Literal["function", "mcp"]
    description: str
    parameters: tuple[Parameter, ...]
    asks_first: str = ""
    """The tool of an MCP server that a human has to approve, empty for none."""

    @cached_property
    def spoken(self) -> str:
        """Its name aloud; of a hand-off, its target's."""
        target = _HAND_OFF.fullmatch(self.name)
        return spoken_name(target[1] if target else self.name)

    @property
    def hands_off(self) -> bool:
        return _HAND_OFF.fullmatch(self.name) is not None

    @cached_property
    def required(self) -> tuple[Parameter, ...]:
        return tuple(one for one in self.parameters if one.required)

    @cached_property
    def confirmed(self) -> bool:
        """Whether it does something that cannot be taken back, so that the caller is asked first."""
        words = spoken_name(self.name).split()
        if words[0] in _LOOKING or words[-1] in _LOOKING or self.hands_off:
            return False
        return bool(_DOING & {*words})

    @cached_property
    def _named(self) -> tuple[frozenset[str], ...]:
        """For each telling word of its name, the stems that mean it."""
        words = self.spoken.split()
        telling_words = [word for word in words if word not in NOT_TELLING] or words
        return tuple(alike(word) for word in telling_words)

    @property
    def first_sentence(self) -> str:
        """Of its description; of a hand-off all that is said of its target."""
        text = _STOCK.sub("", self.description) if self.hands_off else self.description
        return text if self.hands_off else re.split(r"(?<=[.!?])\s", text, maxsplit=1)[0]

    @cached_property
    def _described(self) -> frozenset[str]:
        """The telling words of the first sentence of its description; of all of a hand-off's."""
        return telling(words_of(self.first_sentence))

    def score(self, words: Sequence[str]) -> float:
        """How well these words mean it."""
        stems = {stem(word) for word in words}
        hits = sum(1 for one in self._named if one & stems)
        total = NAME_WEIGHT * hits / math.sqrt(len(self._named))
        described = self._described & stems & telling(words)
        total += DESCRIPTION_WEIGHT * min(MOST_DESCRIPTION_HITS, len(described))
        for parameter in self.parameters:
            total += CHOICE_WEIGHT * sum(1 for choice in parameter.choices if _occurs(choice, words))
        if self.hands_off and total:
            total += bool(_MOVING & stems)
        return total


def _occurs(choice: object, words: Collection[str]) -> bool:
    spelled = words_of(spoken_name(str(choice)))
    return bool(spelled) and {*spelled} <= {*words}


def tools_of(tools: Sequence[Mapping[str, Any]], choice: object = "auto") -> tuple[DeskTool, ...]:
    """The tools of a session, in its order; `choice` is its `tool_choice`. None of a kind that is unknown."""
    if choice == "none":
        return ()
    found = []
    for tool in tools:
        if tool.get("type") == "function":
            found.append(_function(tool))
        elif tool.get("type") == "mcp":
            label = str(tool.get("server_label") or "tools")
            asks_first = "" if tool.get("require_approval") == "never" else _first_of(tool, label)
            found.append(
                DeskTool(label, "mcp", str(tool.get("server_description") or ""), (), asks_first=asks_first)
            )
    chosen = choice.get("name") if isinstance(choice, Mapping) else None
    return tuple(one for one in found if chosen is None or one.name == chosen)


def _first_of(tool: Mapping[str, Any], label: str) -> str:
    """The name of one of the server's tools, as far as the session tells; else the server's."""
    allowed = tool.get("allowed_tools")
    names = allowed.get("tool_names") if isinstance(allowed, Mapping) else allowed
    return str(names[0]) if isinstance(names, Sequence) and names else label


def _function(tool: Mapping[str, Any]) -> DeskTool:
    name, description = str(tool["name"]), str(tool.get("description") or "")
    return DeskTool(name, "function", description, parameters_of(tool.get("parameters") or {}))


def best_of(tools: Sequence[DeskTool], words: Sequence[str]) -> tuple[DeskTool, ...]:
    """The one that these words mean; two where none is ahead; none."""
    scored = sorted(
        ((tool.score(words), -n, tool) for n, tool in enumerate(tools)), reverse=True, key=lambda s: s[:2]
    )
    if not scored or scored[0][0] < LEAST_SCORE:
        return ()
    if len(scored) > 1 and scored[0][0] - scored[1][0] < LEAST_LEAD:
        return scored[0][2], scored[1][2]
    return (scored[0][2],)


def named(tools: Sequence[DeskTool], name: str) -> DeskTool | None:
    """The tool of that name."""
    return next((one for one in tools if one.name == name), None)


def offered(tools: Sequence[DeskTool]) -> tuple[DeskTool, ...]:
    """Those that a caller is told of: not the ways out, unless there is nothing else."""
    some = tuple(one for one in tools if one.name not in (HANG_UP, TRANSFER))
    return some or tuple(one for one in tools if one.name != HANG_UP)
