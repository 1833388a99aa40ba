"""`phonebridge init`: a folder that can be talked to, tested and deployed as it is."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import sysconfig
import tomllib
import zipfile
from pathlib import Path

import pytest

from bridge.agents.agent import HERE, agent_here, load_agent_here
from bridge.cli import init as command
from bridge.cli.serve import answered_by
from bridge.errors import ConfigError
from bridge.settings.settings import load_settings

ROOT = Path(__file__).resolve().parent.parent


def run(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments], cwd=cwd, capture_output=True, text=True, timeout=100, check=False
    )


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("init")
    done = run("-m", "bridge", "init", "my-agent", cwd=folder)
    assert done.returncode == 0, done.stderr
    assert "phonebridge serve --reload" in done.stdout
    return folder / "my-agent"


def test_the_agent_s_own_tests_pass(made: Path) -> None:
    done = run("-m", "pytest", "-q", "-p", "no:cacheprovider", cwd=made)
    assert done.returncode == 0, done.stdout
    assert "3 passed" in done.stdout


def test_it_overwrites_nothing(made: Path) -> None:
    before = (made / "agent.py").read_text(encoding="utf-8")
    with pytest.raises(ConfigError, match="overwrites nothing"):
        command.init(made)
    assert (made / "agent.py").read_text(encoding="utf-8") == before


@pytest.mark.hostile
def test_the_wheel_in_it_installs_and_is_the_package_that_runs_here(made: Path, tmp_path: Path) -> None:
    [wheel] = (made / "vendor").glob("*.whl")
    assert f"./vendor/{wheel.name}" in (made / "requirements.txt").read_text(encoding="utf-8")
    pip = (
        "-m",
        "pip",
        "install",
        "--quiet",
        "--no-index",
        "--no-deps",
        "--target",
        str(tmp_path),
        str(wheel),
    )
    installed = run(*pip, cwd=tmp_path)
    assert installed.returncode == 0, installed.stderr
    for file in ("server/pages/files/phone.js", "cli/new_agent/agent.py", "sounds/SOUNDS.md", "py.typed"):
        assert (tmp_path / "bridge" / file).read_bytes() == (ROOT / "bridge" / file).read_bytes()
    with zipfile.ZipFile(wheel) as archive:
        assert not [name for name in archive.namelist() if name.endswith(".pyc")]


def test_the_same_files_make_the_same_wheel(made: Path, tmp_path: Path) -> None:
    command.init(tmp_path / "again")
    [one], [other] = ((folder / "vendor").glob("*.whl") for folder in (made, tmp_path / "again"))
    assert one.read_bytes() == other.read_bytes()


def test_update_renews_the_wheel_and_touches_nothing_else(tmp_path: Path) -> None:
    command.init(tmp_path)
    requirements = tmp_path / "requirements.txt"
    lines = requirements.read_text(encoding="utf-8").replace("phonebridge-", "phonebridge-0.0.1-of-")
    requirements.write_text(f"{lines}httpx\n", encoding="utf-8")
    (tmp_path / "agent.py").write_text("agent = None\n", encoding="utf-8")
    command.init(tmp_path, update=True)
    [wheel] = (tmp_path / "vendor").glob("*.whl")
    told = requirements.read_text(encoding="utf-8")
    assert told.count("./vendor/") == 1
    assert f"./vendor/{wheel.name}" in told
    assert "httpx" in told
    assert (tmp_path / "agent.py").read_text(encoding="utf-8") == "agent = None\n"


# --- what the platforms are given -------------------------------------------------------------------------


@pytest.mark.hostile
def test_the_image_s_steps_make_something_that_serves_this_agent(made: Path, tmp_path: Path) -> None:
    """Run here, with the packages of this environment lent to the new one."""
    spec = importlib.util.spec_from_file_location("build_image_here", ROOT / "scripts" / "build_image.py")
    assert spec is not None
    assert spec.loader is not None
    build_image = importlib.util.module_from_spec(spec)
    sys.modules["build_image_here"] = build_image
    spec.loader.exec_module(build_image)
    lent = Path(sysconfig.get_path("purelib"))
    started, settings, work = build_image.run_steps(
        tmp_path, packages=lent, dockerfile=made / "Dockerfile", context=made
    )
    assert started == ["python", "-m", "bridge", "serve", "--agent", "agent:agent"]
    ask = (
        "from bridge.agents.agent import load_agent; print([t.name for t in load_agent('agent:agent').tools])"
    )
    python = tmp_path / "app" / "venv" / "bin" / "python"
    done = subprocess.run(
        [python, "-c", ask],
        cwd=work,
        env={**os.environ, **settings},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "opening_hours" in done.stdout, done.stderr


def test_base_image_and_platform_files_are_those_of_the_project(made: Path) -> None:
    ours = (ROOT / "deploy" / "Dockerfile").read_text(encoding="utf-8")
    theirs = (made / "Dockerfile").read_text(encoding="utf-8")
    bases = {
        line.split()[1] for text in (ours, theirs) for line in text.splitlines() if line.startswith("FROM")
    }
    assert len(bases) == 1
    mine, template = (
        tomllib.loads(path.read_text(encoding="utf-8"))
        for path in (ROOT / "deploy/fly.toml", made / "fly.toml")
    )
    assert {**template, "app": ""} == {**mine, "app": ""}
    assert (made / ".python-version").read_bytes() == (ROOT / ".python-version").read_bytes()


@pytest.mark.parametrize("file", ["deploy/Dockerfile", "bridge/cli/new_agent/Dockerfile"])
def test_the_health_check_starts_no_python(file: str) -> None:
    [check] = [
        line
        for line in (ROOT / file).read_text(encoding="utf-8").splitlines()
        if line.startswith("HEALTHCHECK")
    ]
    assert "python" not in check
    assert "/healthz" in check


# --- the agent that is found without being named ----------------------------------------------------------


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("from bridge import Agent\nagent = Agent('Hello.')\n", HERE),
        ("agent: int = 5\n", HERE),
        ("class Agent: ...\n", None),
        ("def main():\n    agent = 1\n", None),
        ("from bridge import Agent\nagent = Agent(\n", HERE),
        ("this is no Python\n", None),
    ],
)
def test_a_module_level_agent_is_looked_for(
    source: str, found: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "agent.py").write_text(source, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    assert agent_here() == found


def test_without_a_file_there_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert load_agent_here() is None
    assert answered_by(
        load_settings(demo=True, env_file=None, insecure=True, upstream="embedded"), None, None
    ).startswith("answered by: no agent of your own · by ")


def test_a_table_of_numbers_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "routes.toml").touch()
    settings = load_settings(
        demo=True, env_file=None, insecure=True, upstream="embedded", routes="routes.toml"
    )
    rows = "answered by: the rows of routes.toml"
    assert answered_by(settings, None, None).startswith(f"{rows} · by ")
    assert answered_by(settings, None, "desk:agent").startswith(f"{rows}, else desk:agent · by ")


@pytest.mark.parametrize("source", ["host = 5\n", "agent = 5\n"])
def test_a_file_without_an_agent_of_that_name_is_told(
    source: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "agent.py").write_text(source, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    told = answered_by(
        load_settings(demo=True, env_file=None, insecure=True, upstream="embedded"), None, None
    )
    assert "agent.py here sets no Agent named `agent`; for another name, --agent agent:NAME" in told


def test_the_list_of_templates_is_the_list_of_files(made: Path) -> None:
    templates = {
        command.NAMES.get(file.name, file.name) for file in command.TEMPLATES.iterdir() if file.is_file()
    }
    there = {file.relative_to(made).as_posix() for file in made.rglob("*") if file.is_file()}
    assert templates <= there
