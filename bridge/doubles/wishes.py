"""What a client wants said, read from the instructions of one response.

The bridge asks for words by instructions, because the vendor's API has no other way: the response's own
instructions are the session's, a blank line, and the wish.
"""

from __future__ import annotations

import re
from typing import Final

_EXACTLY: Final = re.compile(
    r'(?:(?:Say exactly this and nothing else|Begin the call now\. Say): "(.*)"'
    r"|Say now, without waiting: (.*))\s*\Z",
    re.DOTALL,
)
_BEGINNING: Final = re.compile(r"Say exactly this|Begin the call now|Say now, without waiting")
_QUOTED: Final = re.compile(r'"([^"]+)"|“([^”]+)”')
_ASK_FOR: Final = re.compile(
    r"\bask (?:the caller |them |again )?for (?:the|their|a|an|his|her) ([a-z ]{2,30})", re.IGNORECASE
)
_TEMPLATES: Final = (
    (re.compile(r"\b(?:say )?goodbye\b", re.IGNORECASE), "Goodbye."),
    (re.compile(r"\bstill there\b", re.IGNORECASE), "Are you still there?"),
    (re.compile(r"\bapologi[sz]e\b", re.IGNORECASE), "I am sorry about that."),
    (re.compile(r"\bask (?:again )?what you can do\b", re.IGNORECASE), "What can I do for you?"),
    (re.compile(r"\b(?:greet|welcome)\b", re.IGNORECASE), "Hello. What can I do for you?"),
)  # fmt: skip
SCRIPTED: Final = "I am scripted; a model would answer here."


def wish_of(instructions: str, session_instructions: str) -> str:
    """What is asked of this response beyond the session's own instructions; "" for nothing."""
    rest = instructions.strip()
    prompt = session_instructions.strip()
    return rest[len(prompt) :].strip() if prompt and rest.startswith(prompt) else rest


def said_exactly(instructions: str, session_instructions: str = "") -> str | None:
    """The words that these instructions want, verbatim; None where they want no exact words. What follows the
    session's own instructions counts, else the last such wish. Quotes inside of the words are theirs.
    """
    found = _exact_wish(instructions, session_instructions)
    return None if found is None else found[1] or found[2]


def begins_call(instructions: str, session_instructions: str = "") -> bool:
    """Whether the exact words that these instructions want are the first ones of a call."""
    found = _exact_wish(instructions, session_instructions)
    return found is not None and found[0].startswith(("Begin the call", "Say now"))


def _exact_wish(instructions: str, session_instructions: str) -> re.Match[str] | None:
    wish = wish_of(instructions, session_instructions)
    starts = [0, *(found.start() for found in reversed([*_BEGINNING.finditer(wish)]))]
    found = (_EXACTLY.match(wish, start) for start in starts)
    return next((one for one in found if one is not None), None)


def answer_to(wish: str) -> str:
    """A sentence for a wish in other words. Never the wish itself: it may hold the prompt."""
    quoted = _QUOTED.search(wish)
    if quoted is not None:
        return (quoted[1] or quoted[2]).strip()
    asked = _ASK_FOR.search(wish)
    if asked is not None:
        return f"May I have the {asked[1].strip()}, please?"
    return next((said for pattern, said in _TEMPLATES if pattern.search(wish)), SCRIPTED)
