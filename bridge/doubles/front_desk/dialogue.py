"""The policy of the front desk: one turn of a caller, and what it is answered with.

Pure text: no sound, no clock, no chance. What was said before is a `State`, which the caller's turns made
(`agent.py` derives it from the conversation), so the same conversation always gets the same answer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any, Final, TypeAlias

from .english import listed, word_set, words_of
from .facts import fact_for
from .numbers import number_at
from .parameters import NO, YES, Parameter, keys_as_words, read_back
from .tools import HANG_UP, TRANSFER, DeskTool, best_of, named, offered

MOST_OFFERED: Final = 4
MOST_MISSES: Final = 3
"""Turns in a row that were not understood; then a person, or the keys."""

MOST_WORDS: Final = 10
"""Of a turn that is no more than a wish for a person, a goodbye or a repetition."""
NOT_HEARD: Final = "I did not hear that."
LEFT: Final = "All right, I leave it. What else?"
HELLO: Final = "Hello. What can I do for you?"
GOODBYE: Final = "Goodbye."
_GOODBYE: Final = ("goodbye", "good bye", "bye", "that is all", "that will be all", "hang up")
_REPEAT: Final = (
    "repeat", "pardon", "say that again", "say it again", "once more", "come again", "what did you say",
    "again please",
)  # fmt: skip
_HELLO: Final = ("hello", "hi", "hey", "good morning", "good day", "good afternoon", "good evening")
_THANKS: Final = word_set("thank thanks you very much a lot so great okay ok that is fine perfect")
_PERSON: Final = frozenset({"person", "human", "somebody", "someone", "operator"})


@dataclass(frozen=True, slots=True)
class Heard:
    """A caller's turn. `text` is None for a voice that was not turned into words; `keys` were pressed."""

    text: str | None = ""
    keys: str = ""


@dataclass(frozen=True, slots=True)
class Question:
    """What the caller was asked: a parameter of a tool, or whether its call is right."""

    tool: str
    arguments: Mapping[str, Any] = field(default_factory=dict)
    parameter: str | None = None
    """None: the call is complete, and the caller is asked whether it is right."""


@dataclass(frozen=True, slots=True)
class State:
    """The conversation as far as it decides the next answer."""

    question: Question | None = None
    choice: tuple[str, ...] = ()
    """Names of tools that the caller was asked to choose from."""
    misses: int = 0
    said: str = ""
    """The desk's last sentence."""


@dataclass(frozen=True, slots=True)
class Reply:
    """A sentence; an empty one says nothing."""

    text: str


@dataclass(frozen=True, slots=True)
class Call:
    """A tool's call, after a sentence or none."""

    name: str
    arguments: Mapping[str, Any] = field(default_factory=dict)
    text: str = ""


@dataclass(frozen=True, slots=True)
class AskApproval:
    """A sentence, and the tool of an MCP server that a human has to approve."""

    server: str
    tool: str
    text: str


Reaction: TypeAlias = Reply | Call | AskApproval


class Desk:
    """The policy over these tools and this prompt. Keeps no state: `react` gives the next one."""

    def __init__(self, tools: Sequence[DeskTool], instructions: str = "", *, must_call: bool = False) -> None:
        self.tools = tuple(tools)
        self.instructions = instructions
        self.must_call = must_call

    def react(self, state: State, heard: Heard) -> tuple[Reaction, State]:
        """What this turn is answered with, and the state after it."""
        reaction, after = self._react(state, heard)
        text = reaction.text or state.said
        return reaction, replace(after, said=text)

    # --- one turn ----------------------------------------------------------------------------------------

    def _react(self, state: State, heard: Heard) -> tuple[Reaction, State]:
        if heard.keys:
            return self._key(state, heard.keys)
        if heard.text is None:
            return Reply(f"I hear you, but I understand no speech here. {self._keys()}"), state
        words = words_of(heard.text)
        if not words:
            return Reply(NOT_HEARD), state
        return self._meta(state, words) or self._words(state, words, heard.text)

    def _words(self, state: State, words: tuple[str, ...], raw: str) -> tuple[Reaction, State]:
        question = self._open(state)
        if question is not None and question.parameter is None:
            settled = self._confirmed(question, words)
            if settled is not None:
                return settled
        if state.choice and (chosen := self._chosen(state.choice, words)) is not None:
            return self._start(chosen, words, raw)
        if question is not None and question.parameter is not None:
            filled = self._fill(question, words, raw)
            if filled is not None:
                return filled
        meant = self._meant(words)
        found = best_of(meant, words) or (meant[:1] if self.must_call else ())
        if len(found) == 1 or (found and self.must_call):
            return self._start(found[0], words, raw)
        if found:
            names = tuple(one.name for one in found)
            return Reply(f"Do you mean {found[0].spoken}, or {found[1].spoken}?"), State(choice=names)
        return self._small_talk(words) or self._ask_again(state, question) or self._missed(state)

    def _meant(self, words: Sequence[str]) -> tuple[DeskTool, ...]:
        """A caller who asks for a person gets one before anything else."""
        transfer = named(self.tools, TRANSFER)
        if transfer is not None and _wants_a_person(words):
            return (transfer,)
        return tuple(one for one in self.tools if one.name != HANG_UP)

    def _open(self, state: State) -> Question | None:
        """The question that is open, if its tool is still there: a hand-off may have taken it."""
        question = state.question
        return question if question is not None and named(self.tools, question.tool) else None

    def _meta(self, state: State, words: tuple[str, ...]) -> tuple[Reaction, State] | None:
        line = f" {' '.join(words)} "
        if any(f" {one} " in line for one in _REPEAT) and len(words) <= MOST_WORDS:
            return Reply(state.said or HELLO), state
        if any(f" {one} " in line for one in _GOODBYE) and len(words) <= MOST_WORDS:
            if named(self.tools, HANG_UP) is not None:
                return Call(HANG_UP, {}, GOODBYE), State()
            return Reply(GOODBYE), State()
        if {*words} <= _THANKS and words[0] in ("thank", "thanks"):
            return Reply("You are welcome. Anything else?"), state
        return None

    def _small_talk(self, words: tuple[str, ...]) -> tuple[Reaction, State] | None:
        fact = fact_for(self.instructions, words)
        if fact:
            return Reply(fact), State()
        line = " ".join(words)
        if line.startswith(_HELLO) and len(words) <= 4:
            return Reply(HELLO), State()
        return None

    # --- tools -------------------------------------------------------------------------------------------

    def _start(self, tool: DeskTool, words: Sequence[str], raw: str) -> tuple[Reaction, State]:
        """Begin with a tool: everything that these words hold for it is taken."""
        if tool.kind == "mcp":
            text = f"I would ask the server {tool.spoken} now; it cannot be reached here."
            return (
                AskApproval(tool.name, tool.asks_first, text) if tool.asks_first else Reply(text)
            ), State()
        return self._go_on(tool, _taken(tool, {}, words, raw))

    def _go_on(self, tool: DeskTool, arguments: dict[str, Any]) -> tuple[Reaction, State]:
        """Ask for what lacks, confirm what cannot be taken back, or call."""
        for parameter in tool.required:
            if parameter.name in arguments:
                continue
            if len(parameter.choices) == 1:
                arguments[parameter.name] = parameter.choices[0]
                continue
            return Reply(parameter.question), State(Question(tool.name, arguments, parameter.name))
        if tool.confirmed:
            values = read_back([arguments[one.name] for one in tool.parameters if one.name in arguments])
            told = f"{tool.spoken.capitalize()}: {values}" if values else tool.spoken.capitalize()
            return Reply(f"{told}. Right?"), State(Question(tool.name, arguments))
        return _call(tool, arguments)

    def _confirmed(self, question: Question, words: tuple[str, ...]) -> tuple[Reaction, State] | None:
        tool = named(self.tools, question.tool)
        if tool is None:
            return None
        if NO & {*words}:
            return Reply(LEFT), State()
        if YES & {*words}:
            return _call(tool, dict(question.arguments))
        return None

    def _fill(self, question: Question, words: tuple[str, ...], raw: str) -> tuple[Reaction, State] | None:
        """The parameter that was asked for, then whatever else the words hold. None if they do not hold
        it, or mean another tool.
        """
        tool = named(self.tools, question.tool)
        asked = None if tool is None else _parameter(tool, question.parameter)
        if tool is None or asked is None:
            return None
        if {*words} <= NO | {"thank", "you", "thanks", "please"} and asked.kind != "boolean":
            return Reply(LEFT), State()
        if tool.name != TRANSFER and named(self.tools, TRANSFER) is not None and _wants_a_person(words):
            return None
        value = asked.fill(words, raw, asked=True)
        if value is None:
            arguments = _taken(tool, question.arguments, words, raw)
            return self._go_on(tool, arguments) if arguments != question.arguments else None
        return self._go_on(tool, _taken(tool, {**question.arguments, asked.name: value}, words, raw))

    def _chosen(self, names: Sequence[str], words: Sequence[str]) -> DeskTool | None:
        """The one of these tools that the words name."""
        some = [one for one in self.tools if one.name in names]
        scored = sorted(
            ((one.score(words), -n, one) for n, one in enumerate(some)), reverse=True, key=lambda s: s[:2]
        )
        if not scored or not scored[0][0] or (len(scored) > 1 and scored[0][0] == scored[1][0]):
            return None
        return scored[0][2]

    # --- not understood ----------------------------------------------------------------------------------

    def _ask_again(self, state: State, question: Question | None) -> tuple[Reaction, State] | None:
        """An open question is asked once more, before anything else is offered."""
        if question is None or question.parameter is None or state.misses:
            return None
        tool = named(self.tools, question.tool)
        parameter = None if tool is None else _parameter(tool, question.parameter)
        if parameter is None:
            return None
        return Reply(f"I did not understand that. {parameter.question}"), replace(state, misses=1)

    def _missed(self, state: State) -> tuple[Reaction, State]:
        misses = state.misses + 1
        if misses < MOST_MISSES:
            return Reply(f"I did not understand that. {self.help()}"), State(misses=misses)
        person = named(self.tools, TRANSFER)
        if person is not None:
            return _to_a_person(person)
        return Reply(self._keys()), State()

    def help(self) -> str:
        """What can be asked for, in one sentence."""
        some = [one.spoken for one in offered(self.tools)[:MOST_OFFERED]]
        if not some:
            return "I am a script without tools here; a model would answer that."
        return f"You can ask for {listed(some, 'or')}."

    def _keys(self) -> str:
        some = offered(self.tools)[:MOST_OFFERED]
        told = [f"{self.tools.index(one) + 1} for {one.spoken}" for one in some]
        if named(self.tools, TRANSFER) is not None:
            told.append("0 for a person")
        return f"You can press a key: {', '.join(told)}." if told else self.help()

    # --- keys --------------------------------------------------------------------------------------------

    def _key(self, state: State, keys: str) -> tuple[Reaction, State]:
        keys = "".join(key for key in keys if key.isdigit())
        question = self._open(state)
        if question is not None:
            return self._key_to(state, question, keys)
        if keys == "0" and (person := named(self.tools, TRANSFER)) is not None:
            return _to_a_person(person)
        if state.choice and keys in ("1", "2"):
            tool = named(self.tools, state.choice[int(keys) - 1])
        else:
            tool = self.tools[int(keys) - 1] if len(keys) == 1 and 1 <= int(keys) <= len(self.tools) else None
        if tool is None:
            return Reply(self._keys()), State(misses=state.misses)
        if tool.name == HANG_UP:
            return Call(HANG_UP, {}, GOODBYE), State()
        return self._start(tool, (), "")

    def _key_to(self, state: State, question: Question, keys: str) -> tuple[Reaction, State]:
        """Keys as the answer to an open question: 1 is yes and 2 is no where it wants one of them."""
        if question.parameter is None:
            return self._words(state, ("yes",) if keys == "1" else ("no",), keys)
        tool = named(self.tools, question.tool)
        parameter = None if tool is None else _parameter(tool, question.parameter)
        meant = keys_as_words(keys, parameter)
        return self._words(state, words_of(meant), meant) if meant else self._missed(state)


def _wants_a_person(words: Sequence[str]) -> bool:
    """`for one person` is a number of people."""
    counted = {after for before, after in pairwise(words) if number_at((before,), 0)}
    return len(words) <= MOST_WORDS and bool(_PERSON & {*words} - counted)


def _taken(tool: DeskTool, arguments: Mapping[str, Any], words: Sequence[str], raw: str) -> dict[str, Any]:
    """The arguments, with all that these words hold for the other parameters, in the schema's order."""
    found = {
        one.name: value
        for one in tool.parameters
        if one.name not in arguments and (value := one.fill(words, raw, asked=False)) is not None
    }
    both = {**arguments, **found}
    return {one.name: both[one.name] for one in tool.parameters if one.name in both}


def _parameter(tool: DeskTool, name: str | None) -> Parameter | None:
    return next((one for one in tool.parameters if one.name == name), None)


def _call(tool: DeskTool, arguments: dict[str, Any]) -> tuple[Reaction, State]:
    if tool.name == TRANSFER:
        target = next(iter(arguments.values()), "a person")
        return Call(tool.name, arguments, f"I put you through to {target}."), State()
    return Call(tool.name, arguments), State()


def _to_a_person(transfer: DeskTool) -> tuple[Reaction, State]:
    """To the first target, without another question."""
    arguments = {one.name: one.choices[0] for one in transfer.required if one.choices}
    return _call(transfer, arguments)
