"""Checks of which `make test` runs a part, and `make long` the rest."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest


def some_of(cases: Iterable[Any], every: int) -> list[Any]:
    """Parameters of a test: one of `every` is always run, the others under the markers `hostile` and `long`.
    A tuple is one case of several parameters.
    """
    return [
        pytest.param(
            *(case if isinstance(case, tuple) else (case,)),
            marks=[pytest.mark.hostile, pytest.mark.long] if number % every else [],
        )
        for number, case in enumerate(cases)
    ]
