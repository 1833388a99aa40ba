"""`phonebridge init`: a folder with an agent, its test, and what the platforms want to deploy it."""

from __future__ import annotations

from importlib.metadata import Distribution, distribution
from pathlib import Path
from typing import Annotated, Final

import typer
from rich.console import Console

from ..errors import ConfigError

TEMPLATES: Final = Path(__file__).parent / "new_agent"
NAMES: Final = {
    "env.example": ".env.example",
    "gitignore": ".gitignore",
    "dockerignore": ".dockerignore",
    "python-version": ".python-version",
    "workflow.yml": ".github/workflows/test.yml",
}
"""Where a template goes whose own name would mean something to our own tools."""
DISTRIBUTION: Final = "phonebridge"


def init(
    directory: Annotated[Path, typer.Argument(help="The folder to make; default: this one.")] = Path(),
    update: Annotated[
        bool, typer.Option("--update", help="Only renew the copy of phonebridge in vendor/.")
    ] = False,
) -> None:
    """Make a new agent's folder.

    With agent.py, its test, an example of .env, what Heroku, Fly and containers want, and a CI workflow. It
    can be deployed as it is: phonebridge itself is copied into vendor/. No file is overwritten.
    """
    console = Console()
    if not update:
        _refuse_to_overwrite(directory)
    wheel = _vendor(directory)
    if update:
        _pin(directory / "requirements.txt", wheel)
        console.print(f"vendor/{wheel} is the phonebridge that is installed here", highlight=False)
        return
    for template in _templates():
        target = directory / NAMES.get(template.name, template.name)
        target.parent.mkdir(parents=True, exist_ok=True)
        text = template.read_text(encoding="utf-8").replace("{{wheel}}", wheel)
        target.write_text(text, encoding="utf-8")
    _tell_next(console, directory)


def _tell_next(console: Console, directory: Path) -> None:
    """The commands from here to a call. The folder has an environment of its own, as where it is deployed."""
    enter = [] if directory == Path() else [f"  cd {directory}"]
    environment = (
        'python3 -m venv .venv && .venv/bin/pip install -r requirements.txt "phonebridge[demo]" pytest'
    )
    for told in (
        f"{directory / 'agent.py'} is your agent. Make its environment, once:",
        *enter,
        f"  {environment}",
        "talk to it in the browser:",
        "  BRIDGE_INSECURE=1 .venv/bin/phonebridge serve --reload",
        "and test it:",
        "  .venv/bin/pytest",
        "README.md there says how it comes to a phone number.",
    ):
        console.print(told, highlight=False, markup=False, soft_wrap=True)


def _templates() -> list[Path]:
    return sorted(file for file in TEMPLATES.iterdir() if file.is_file())


def _refuse_to_overwrite(directory: Path) -> None:
    there = [
        name
        for name in (NAMES.get(template.name, template.name) for template in _templates())
        if (directory / name).exists()
    ]
    if there:
        raise ConfigError(
            f"{directory / there[0]} is there already, and init overwrites nothing; name another folder, "
            "as in `phonebridge init my-agent`"
        )


def _pin(requirements: Path, wheel: str) -> None:
    """Let the requirements name this wheel, whichever version they named before."""
    lines = requirements.read_text(encoding="utf-8").splitlines() if requirements.exists() else []
    others = [line for line in lines if not line.startswith("./vendor/phonebridge-")]
    first = next((n for n, line in enumerate(lines) if line not in others), len(others))
    others.insert(first, f"./vendor/{wheel}")
    requirements.write_text("\n".join(others) + "\n", encoding="utf-8")


def _vendor(directory: Path) -> str:
    """Put the phonebridge that runs here into `vendor/` as a wheel. Returns the wheel's file name."""
    from .wheel import write_wheel

    folder = directory / "vendor"
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob("phonebridge-*.whl"):
        old.unlink()
    found: Distribution = distribution(DISTRIBUTION)
    return write_wheel(folder, found, Path(__file__).parents[1])
