"""The scripts of `RedisClaims`, each one atomic step on the server.

A script is `common.lua`, for an owner's writes `fence.lua`, and a file of its name. Texts never change, for a
server keeps each one that it has met: the times to live are those of `claims`, and all else is an argument.
"""

from __future__ import annotations

import hashlib
from functools import cache
from importlib.resources import files
from typing import Final, NamedTuple

from bridge.server.store import claims

_TIMES: Final = (
    "CALL_KEPT_MS",
    "CONVERSATION_KEPT_MS",
    "DAY_KEPT_MS",
    "ENDED_KEPT_MS",
    "MACHINE_KEPT_MS",
    "REDEEMED_KEPT_MS",
    "RESUME_WINDOW_MS",
    "RING_KEPT_MS",
)
_FENCED: Final = ("note", "turn", "end")
NAMES: Final = (
    *_FENCED,
    "beat",
    "leave",
    "machines",
    "ring",
    "claim",
    "intend",
    "after",
    "look",
    "check",
    "pace",
    "put",
    "words",
)


class Script(NamedTuple):
    """A text, and the digest that a server knows it by."""

    text: str
    sha1: str


@cache
def scripts() -> dict[str, Script]:
    """All of them by name."""
    times = "".join(f"local {name} = {getattr(claims, name)}\n" for name in _TIMES)
    common = times + _text("common")
    found = {}
    for name in NAMES:
        text = common + (_text("fence") if name in _FENCED else "") + _text(name)
        found[name] = Script(text, hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest())
    return found


def _text(name: str) -> str:
    return (files(__name__) / f"{name}.lua").read_text(encoding="utf-8")
