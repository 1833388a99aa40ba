"""Why a stream is kept out by what all machines know."""

from __future__ import annotations

from typing import Final, NamedTuple

from bridge.server.store.claims import Claim, ClaimAnswer


class Asked(NamedTuple):
    """Of the carrier's question after a stream: why it is an old one, None where it is not; whether it was
    asked before, and the answer was not heard; and the machine that has dialled the model then, empty for
    this one.
    """

    fault: str | None = None
    again: bool = False
    machine: str = ""


class Gate(NamedTuple):
    """Why a stream gets no call: a gate of `metrics`, and the reason in words that may be logged."""

    gate: str
    why: str


GATES: Final = {
    ClaimAnswer.OVER: Gate("ended", "the call is over, another machine says"),
    ClaimAnswer.USED: Gate("token", "a stream token that was used before, on another machine"),
    ClaimAnswer.ACCOUNT: Gate("token", "the call is another account's"),
    ClaimAnswer.FULL: Gate("full", "all machines together have as many calls as they may"),
    ClaimAnswer.MONEY: Gate("money", "all machines together have spent the day's money"),
}


def gate_of(found: Claim) -> Gate | None:
    """Why that claim keeps the stream out, None where it does not."""
    if not found.group:
        return GATES.get(found.answer)
    what, short = found.group.partition("-")[0], found.answer.name.lower()
    return Gate(f"{what} {short}", f"its {what} has all that it may have, on all machines together")
