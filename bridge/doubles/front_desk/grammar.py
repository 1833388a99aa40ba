"""What the front desk can hear: a grammar (JSGF) of the session's own tools, and the phrases of any call.

https://www.w3.org/TR/2000/NOTE-jsgf-20000605/
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Final

from .english import NOT_TELLING, same_row, spoken_name, words_of
from .numbers import DAYS, TEENS, UNITS
from .tools import HANG_UP, TRANSFER, DeskTool

MOST_TOOLS: Final = 40
_TURNS: Final = (
    "/2/ <again>", "/4/ <yes>", "/4/ <no>", "/4/ <bye>", "/2/ <hello>", "/2/ <mine>", "/3/ <slots> [please]",
)  # fmt: skip
_ELSEWHERE: Final = ("much", "where", "want", "talk", "speak", "connect", "transfer")
"""Words that the fixed part has in phrases."""
_FIXED: Final = """
<digit> = zero | /0.2/ oh | one | two | three | four | five | six | seven | eight | nine;
<digits> = <digit> <digit>+;
<tens> = twenty | thirty | forty | fifty | sixty | seventy | eighty | ninety;
<count> = one | two | three | four | five | six | seven | eight | nine | ten | eleven | twelve;
<minute> = fifteen | thirty | forty five | oh five | ten | twenty | forty | fifty;
<half> = in the morning | in the afternoon | in the evening | at night;
<clock> = <count> [<minute>] [<half>] | <count> o'clock [<half>] | half past <count>
    | quarter past <count>
    | quarter to <count> | noon | midnight;
<when> = [on | for | to] <weekday> | [for] (today | tomorrow) | at <clock> | for <count> [people];
<slots> = <when>+ | [number] <digits>;
<ask> = what time do you | what time are you | what are | what is | what does | what do | when do you
    | when are you | are you | do you | how much is | how much are | how much does | how much do
    | how late are you
    | where is | where are | is | tell me | i want to know | how far is | how is;
<wish> = i would like | i want | i need | please | can you | could you | give me;
<to_do> = i would like to | i want to | i need to | can i | could i | may i | let me | i have to | please
    | can you | could you | i want to know;
<verb> = make | check | change | move | find | look up | track;
<small> = the | a | an | my | your | of | for | to | it | is | do you | does it | with | about;
<det> = the | a | an | my | your;
<lead> = (<ask> | <wish>) [<det>] | [<to_do>] <verb> [<det>] | <to_do> | /0.3/ (the | my | your);
<to> = [let me | can i | could i | i want to | i would like to | please] (talk to | speak to)
    | [please] (connect me to | transfer me to | put me through to);
<again> = [please] repeat [that] | [please] say that again | pardon | once more;
<yes> = yes [please] | yeah | that is right | correct | right | sure | okay;
<no> = no [thank you | thanks] | nope | that is wrong;
<bye> = [thank you | thanks | no] [that is all] (goodbye | bye | bye bye) | [no
    | thanks] that is all [thank you];
<hello> = hello | hi | good morning | good day | thank you [very much] | thanks;
<mine> = (my | the) number is <digits> | <digits> | <count> | <tens> [<digit>] | <teen> | my name is
    | it is <when>;
"""


def grammar(tools: Sequence[DeskTool], knows: Callable[[str], bool] = lambda _word: True) -> str:
    """The grammar for these tools. `knows` says whether the recogniser can pronounce a word: others are left
    out, and then only keys reach what they stand for.
    """
    rules = [f"<weekday> = {' | '.join(DAYS[:7])};", f"<teen> = {' | '.join(TEENS)};"]
    turns, bodies = [*_TURNS], dict[str, list[str]]()
    alone, people = list[str](), list[str]()
    for number, tool in enumerate(tools[:MOST_TOOLS]):
        words = [word for word in _vocabulary(tool) if knows(word)]
        if not words or tool.name == HANG_UP:
            continue
        name = f"tool{number}"
        rules.append(f"<{name}> = {' | '.join(words)};")
        choices = _choices(tool, knows)
        if choices:
            rules.append(f"<choice_{name}> = {' | '.join(choices)};")
            (people if tool.name == TRANSFER else alone).append(f"<choice_{name}>")
        if tool.name == TRANSFER:
            people.append("a person | a human | someone | somebody | an operator")
            continue
        either = f"(<{name}> | /2/ <choice_{name}>)" if choices else f"<{name}>"
        rules.append(f"<body_{name}> = {either} [[<small>] {either}] [[<small>] <{name}>];")
        bodies.setdefault(_slots(tool), []).append(f"<body_{name}>")
    # A rule is copied to each place that names it, so what all tools share is named once.
    for slots, group in bodies.items():
        turns.append(f"/6/ [<lead>] ({' | '.join(group)}) {slots} [please]")
    if alone:
        turns.append(f"/2/ [the | a | an] ({' | '.join(alone)}) [please]")
    if people:
        turns.append(f"/4/ [<to>] [the] ({' | '.join(people)}) [please]")
    return (
        f"#JSGF V1.0;\ngrammar desk;\n{_FIXED}{chr(10).join(rules)}\npublic <turn> = {' | '.join(turns)};\n"
    )


def _slots(tool: DeskTool) -> str:
    """What may be said after its words: only what its parameters take."""
    kinds = {one.kind for one in tool.parameters}
    if kinds & {"digits", "number"}:
        return "[<slots>]" if kinds & {"day", "time", "count"} else "[[number] <digits>]"
    return "[<when>+]" if kinds & {"day", "time", "count"} else ""


def _choices(tool: DeskTool, knows: Callable[[str], bool]) -> list[str]:
    """The values of the tool's enums, as they are said."""
    values = [words_of(spoken_name(str(one))) for parameter in tool.parameters for one in parameter.choices]
    return [*dict.fromkeys(" ".join(words) for words in values if words and all(map(knows, words)))]


def _vocabulary(tool: DeskTool) -> Iterable[str]:
    """The telling words of its name and description, and words that mean the same as those of the name."""
    named = [word for word in words_of(tool.spoken) if word not in NOT_TELLING]
    described = [word for word in words_of(tool.first_sentence) if word not in NOT_TELLING]
    alike = [other for word in named for other in same_row(word)]
    plain = {*UNITS, *TEENS, *DAYS, *_ELSEWHERE}
    return dict.fromkeys(word for word in (*named, *alike, *described) if word not in plain)
