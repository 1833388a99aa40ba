"""The public names: all of them are there, and none costs anything before it is asked for."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from typer.testing import CliRunner

import bridge
from bridge.cli import app

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
    assert sorted([*bridge._PLACE_OF, "__version__"]) == sorted(bridge.__all__)


def test_the_version_is_that_of_the_distribution_and_the_command_prints_it() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert bridge.__version__ == project["version"]
    run = CliRunner().invoke(app, ["--version"])
    assert (run.exit_code, run.output) == (0, f"phonebridge {project['version']}\n")


def test_what_users_read_imports_from_the_top_and_from_the_plugin_only() -> None:
    """Examples, guides and the plugin's docs: `bridge`, `bridge.testing` and `bridge.experiments`, nothing
    below them."""
    read = [ROOT / "README.md", ROOT / "SECURITY.md", ROOT / "bridge" / "testing" / "__init__.py"]
    read += sorted((ROOT / "examples").glob("*.py")) + sorted((ROOT / "docs").rglob("*.md"))
    deep = re.compile(r"^\s*(?:from|import) (bridge\.(?!testing\b|experiments\s)[\w.]+)", re.MULTILINE)
    found = {path.name: hits for path in read if (hits := deep.findall(path.read_text(encoding="utf-8")))}
    assert found == {}
    assert deep.findall("from bridge.agents.agent import Agent\n    import bridge.core") == [
        "bridge.agents.agent",
        "bridge.core",
    ]


def test_every_event_that_a_listener_gets_is_public() -> None:
    """An event without a public name could not be matched."""
    from typing import get_args

    from bridge.client.events import ModelEvent
    from bridge.core.messages import SessionEvent

    public = {id(getattr(bridge, name)) for name in bridge.__all__}
    events = [*get_args(ModelEvent), *get_args(SessionEvent)]
    assert [event.__name__ for event in events if id(event) not in public] == []


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
