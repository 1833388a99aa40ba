"""What cannot be undone is asked for: money before it is spent, tools before they run for real."""

from __future__ import annotations

import sys
from typing import Annotated, Final

import typer

from ..errors import ConfigError
from .options import finite

USUAL_USD: Final = 5.0
"""What is spent at most with a vendor, unless --max-usd says more."""

MostUsd = Annotated[
    float | None,
    typer.Option(
        "--max-usd", help="Spend no more than this; default: 5 with a vendor.", min=0, callback=finite
    ),
]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask before money is spent, or tools run for real.")]


def agreed(most_usd: float, *, yes: bool, priced: bool) -> None:
    """Money is to be spent. Aborts where that is not wanted. Raises ConfigError without a terminal to ask on,
    and where the model's price is not known: all would seem to be free, and no limit would hold.
    """
    if not priced:
        raise ConfigError(
            "no price of this model is known, so --max-usd would not hold: BRIDGE_PRICES can name one"
        )
    wanted(
        f"Spend up to {most_usd:,.2f} USD?",
        "this spends money: --yes agrees to it, and --max-usd bounds it",
        yes=yes,
    )


def wanted(question: str, otherwise: str, *, yes: bool) -> None:
    """The question, unless `yes` has answered it. Aborts where it is not wanted. Raises ConfigError with
    `otherwise` without a terminal to ask on.
    """
    if yes:
        return
    if not sys.stdin.isatty():
        raise ConfigError(otherwise)
    typer.confirm(question, abort=True, err=True)
