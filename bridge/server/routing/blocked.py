"""Callers that are not answered: a file of numbers, beginnings of numbers, and `anonymous`."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bridge.settings.values import Wrong

ANONYMOUS: Final = "anonymous"
# Keypad spellings of anonymous, restricted, blocked, unknown and unavailable, which the carrier passes on in
# the place of a number that is not shown.
PLACEHOLDERS: Final = frozenset({"+266696687", "+7378742833", "+2562533", "+8656696", "+86282452253"})
_CURE: Final = "write a number like +15550001111, a beginning like +1900*, or anonymous, one a line"
_E164: Final = re.compile(r"\+[1-9][0-9]{6,14}")
_BEGINNING: Final = re.compile(r"\+[0-9]{1,14}\*")
_SIP: Final = re.compile(r"sips?:([^@;?]+)@", re.IGNORECASE)


def number_of(caller: str) -> str:
    """The number that a caller shows, in E.164; empty for none. Of a SIP address, the number in it."""
    sip = _SIP.match(caller)
    plain = re.sub(r"[ ().-]", "", sip[1] if sip else caller)
    return plain if _E164.fullmatch(plain) and plain not in PLACEHOLDERS else ""


def is_anonymous(caller: str) -> bool:
    """Whether nothing says who calls: no number, no name of a client, and no SIP address but an anonymous
    one (RFC 3323: `sip:anonymous@anonymous.invalid`).
    """
    named = caller.lower().startswith(("client:", "sip:", "sips:"))
    return not number_of(caller) and (not named or ANONYMOUS in caller.lower())


@dataclass(frozen=True, slots=True)
class BlockList:
    """Whom it holds: whole numbers and addresses, beginnings of numbers, and whether those who show none."""

    whole: frozenset[str] = frozenset()
    beginnings: frozenset[str] = frozenset()
    anonymous: bool = False

    def holds(self, caller: str) -> bool:
        """Whether this caller (`From` of the webhook) is on it."""
        if is_anonymous(caller):
            return self.anonymous
        number = number_of(caller)
        if number in self.whole or caller.lower() in self.whole:
            return True
        return any(number[:length] in self.beginnings for length in range(2, len(number) + 1))


EMPTY: Final = BlockList()


def block_list(lines: Iterable[str]) -> BlockList:
    """From its lines; `#` begins a comment. Raises Wrong, which names no number."""
    whole, beginnings, anonymous = set(), set(), False
    for place, line in enumerate(lines, 1):
        entry = line.partition("#")[0].strip()
        plain = re.sub(r"[ ().-]", "", entry)
        if entry.lower() == ANONYMOUS:
            anonymous = True
        elif entry.lower().startswith(("client:", "sip:", "sips:")):
            whole.add(entry.lower())
        elif _E164.fullmatch(plain):
            whole.add(plain)
        elif _BEGINNING.fullmatch(plain):
            beginnings.add(plain[:-1])
        elif entry:
            raise Wrong(f"has a line that is no number, line {place}", _CURE)
    return BlockList(frozenset(whole), frozenset(beginnings), anonymous)


def read(path: Path) -> BlockList:
    """From a file. Raises Wrong."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError):
        raise Wrong("cannot be read", "name an existing text file") from None
    return block_list(lines)
