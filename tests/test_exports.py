"""The public names: all of them are there, and none costs anything before it is asked for."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import bridge

ROOT = Path(__file__).resolve().parent.parent


def in_a_fresh_python(program: str) -> list[str]:
    program = f"import sys; sys.path.insert(0, {str(ROOT)!r})\n{program}"
    run = [sys.executable, "-c", program]
    return subprocess.run(run, capture_output=True, text=True, check=True).stdout.split()


def test_every_public_name_is_there_and_known_to_type_checkers() -> None:
    source = (ROOT / "bridge" / "__init__.py").read_text()
    shown = source.partition("if TYPE_CHECKING:")[2].partition("_PLACES")[0]
    for name in bridge.__all__:
        assert getattr(bridge, name) is not None
        assert name in shown
        assert name in dir(bridge)
    assert sorted(bridge._PLACE_OF) == sorted(bridge.__all__)


def test_a_name_that_there_is_not() -> None:
    with pytest.raises(AttributeError, match="no attribute 'Bridge'"):
        bridge.Bridge  # noqa: B018


@pytest.mark.parametrize("name", ["bridge", "bridge.errors", "bridge.core.messages", "bridge.codecs"])
def test_the_package_and_its_lowest_floors_load_nothing_heavy(name: str) -> None:
    loaded = in_a_fresh_python(f"import {name}; print(*sys.modules)")
    assert name in loaded
    assert {"asyncio", "starlette", "pydantic", "twilio", "typer", "uvicorn"}.isdisjoint(loaded)


def test_a_submodule_is_still_a_module() -> None:
    """`bridge.settings` is the module, whatever was asked for before."""
    said = in_a_fresh_python(
        "import bridge; bridge.load_settings; import bridge.agents.session as there; print(there.__name__)"
    )
    assert said == ["bridge.agents.session"]
