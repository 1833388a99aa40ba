"""Checks of which `make test` runs a part, and `make long` the rest."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import pytest


def some_of(
    cases: Iterable[Any], every: int, others: Sequence[Any] = (pytest.mark.hostile, pytest.mark.long)
) -> list[Any]:
    """Parameters of a test: one of `every` is always run, the others under the markers `others`. A tuple is
    one case of several parameters.
    """
    return [
        pytest.param(
            *(case if isinstance(case, tuple) else (case,)),
            marks=others if number % every else (),
        )
        for number, case in enumerate(cases)
    ]
