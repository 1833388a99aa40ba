"""What the platforms are given: an image that lets calls end, and commands that run as they stand there."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import sysconfig
import tomllib
import urllib.request
from fnmatch import fnmatch
from pathlib import Path
from typing import Any, Self

import pytest

ROOT = Path(__file__).resolve().parent.parent
posix = pytest.mark.skipif(os.name == "nt", reason="signals and paths of the platforms we deploy to")


def _load() -> Any:
    spec = importlib.util.spec_from_file_location("build_image", ROOT / "scripts" / "build_image.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["build_image"] = module
    spec.loader.exec_module(module)
    return module


build_image = _load()
DOCKERFILE = (ROOT / "deploy" / "Dockerfile").read_text(encoding="utf-8")
STEPS = build_image.instructions(DOCKERFILE)
LAST = max(step.stage for step in STEPS)
FLY = tomllib.loads((ROOT / "deploy" / "fly.toml").read_text(encoding="utf-8"))
HEROKU = json.loads((ROOT / "app.json").read_text(encoding="utf-8"))


def last(word: str) -> list[Any]:
    """Those instructions of the image's own stage."""
    return [step for step in STEPS if step.word == word and step.stage == LAST]


# --- the Dockerfile ----------------------------------------------------------------------------------------


def test_it_has_stages_and_pinned_bases() -> None:
    bases = [step.rest.split()[0] for step in STEPS if step.word == "FROM"]
    assert len(bases) == 2
    pinned = (ROOT / ".python-version").read_text(encoding="utf-8").strip()
    for base in bases:
        assert re.fullmatch(rf"python:{re.escape(pinned)}-slim-\w+@sha256:[0-9a-f]{{64}}", base)
    assert len(set(bases)) == 1


def test_it_runs_as_nobody_in_particular() -> None:
    """By number, so that a platform that wants to be sure of it need not look it up."""
    [user] = last("USER")
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", user.rest)
    assert STEPS.index(user) < STEPS.index(last("CMD")[0])
    for copied in last("COPY"):
        assert copied.rest.startswith("--from=build ")


def test_every_command_is_a_list() -> None:
    """In the shell form the signal ends at /bin/sh."""
    [command], [check] = last("CMD"), last("HEALTHCHECK")
    assert command.rest.startswith("[")
    assert command.arguments == ["python", "-m", "bridge", "serve"]
    assert re.search(r"--interval=\d+s .*CMD \[", check.rest)
    assert "/healthz" in check.arguments[-1]
    assert last("ENTRYPOINT") == []
    assert [step.rest for step in last("STOPSIGNAL")] == ["SIGTERM"]


def test_what_is_copied_is_there_and_is_sent_to_the_builder() -> None:
    lines = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    sent = [line[1:] for line in lines if line.startswith("!")]
    assert "*" in lines
    for step in STEPS:
        if step.word == "COPY" and step.stage == 0:
            for source in step.rest.split()[:-1]:
                assert (ROOT / source).exists(), source
                assert any(fnmatch(source.rstrip("/"), pattern) for pattern in sent), source
    for secret in (".env", "recordings", ".git", "tests"):
        assert not any(fnmatch(secret, pattern) for pattern in sent)


def test_nothing_is_installed_that_is_not_pinned_by_hash_or_ours() -> None:
    installs = [step.rest for step in STEPS if step.word == "RUN" and " install " in step.rest]
    assert len(installs) == 2
    for install in installs:
        assert "--require-hashes" in install or "--no-deps --no-build-isolation" in install
        assert "--no-cache-dir" in install
    assert not any(step.word in ("ADD", "ARG", "VOLUME") for step in STEPS)
    secrets = re.compile(r"TOKEN|KEY|SECRET|PASSWORD|https?://(?!127)", re.IGNORECASE)
    assert not any(secrets.search(step.rest) for step in STEPS)


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The image's steps, run here, with the packages of this environment lent to the new one: `.ci/run` does
    it with nothing lent.
    """
    folder = tmp_path_factory.mktemp("image")
    return build_image.run_steps(folder, packages=Path(sysconfig.get_path("purelib")))


@posix
@pytest.mark.hostile
def test_the_steps_make_something_that_runs(image: Any) -> None:
    """Without the sources beside it: what is imported is what was installed, its sounds and prices too."""
    command, settings, work = image
    python = Path(work) / "venv" / "bin" / "python"
    where = subprocess.run(
        [python, "-c", "import bridge; print(bridge.__file__)"],
        cwd=work, env=settings, capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    assert where.startswith(str(Path(work) / "venv"))
    with Server(command, work, {**settings, "BRIDGE_INSECURE": "1", "PORT": "0"}) as server:
        assert server.get("/healthz") == {"alive": True}
        check = last("HEALTHCHECK")[0].arguments
        checked = {**settings, "PORT": str(server.port)}
        subprocess.run(check, cwd=work, env=checked, check=True)
        assert server.ended(signal.SIGTERM) == 0
    state = Path(settings["XDG_STATE_HOME"])
    assert state.is_dir()


# --- commands as they stand there --------------------------------------------------------------------------


class Server:
    """A command of a platform's, run as the platform does: with its environment, to its signal."""

    def __init__(self, command: list[str], work: Path, environment: dict[str, str]) -> None:
        self.process = subprocess.Popen(
            command, cwd=work, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        self.port = 0

    def __enter__(self) -> Self:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            if found := re.search(r"listening on [^ ]*:(\d+)", line):
                self.port = int(found[1])
                return self
        raise AssertionError(f"it ended: {self.process.wait()}")

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.communicate()

    def get(self, route: str) -> Any:
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(f"http://127.0.0.1:{self.port}{route}", timeout=5) as answer:
            return json.load(answer)

    def ended(self, sign: signal.Signals, within_s: float = 10) -> int:
        self.process.send_signal(sign)
        return self.process.wait(within_s)


@pytest.fixture
def anybody() -> dict[str, str]:
    """An environment without settings of ours, in which `python` is this one."""
    clean = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("BRIDGE_", "TWILIO_", "OPENAI_"))
        and name not in ("PORT", "HOST", "PUBLIC_URL")
    }
    path = f"{Path(sys.executable).parent}{os.pathsep}{clean.get('PATH', os.defpath)}"
    return {**clean, "PATH": path, "BRIDGE_INSECURE": "1", "PORT": "0"}


@posix
def test_the_procfile_runs_as_it_stands(anybody: dict[str, str]) -> None:
    """On Heroku: `PORT` from the environment, SIGTERM, and thirty seconds."""
    [line] = (ROOT / "Procfile").read_text(encoding="utf-8").splitlines()
    kind, _, command = line.partition(": ")
    assert kind == "web"
    with Server(shlex.split(command), ROOT, anybody) as server:
        assert server.get("/readyz") == {"ready": True, "reasons": []}
        assert server.ended(signal.SIGTERM) == 0


@posix
def test_fly_runs_the_images_command_with_its_environment_and_its_signal(anybody: dict[str, str]) -> None:
    command = last("CMD")[0].arguments
    environment = {**anybody, **FLY["env"], "PORT": "0"}
    with Server(command, ROOT, environment) as server:
        [check] = FLY["http_service"]["checks"]
        assert check["method"] == "GET"
        assert server.get(check["path"])["ready"] is True
        assert server.ended(getattr(signal, FLY["kill_signal"]), FLY["kill_timeout"]) == 0


def test_what_fly_is_told() -> None:
    service, environment = FLY["http_service"], FLY["env"]
    assert (FLY["kill_signal"], FLY["kill_timeout"]) == ("SIGTERM", 300)
    assert service["auto_stop_machines"] == "off"
    assert service["min_machines_running"] >= 1
    assert service["internal_port"] == int(environment["PORT"])
    assert service["concurrency"]["type"] == "connections"
    assert service["concurrency"]["hard_limit"] > int(environment["BRIDGE_MAX_CALLS"])
    assert service["concurrency"]["soft_limit"] >= int(environment["BRIDGE_MAX_CALLS"])
    assert int(environment["BRIDGE_DRAIN_SECONDS"]) < FLY["kill_timeout"]


def test_what_heroku_is_told() -> None:
    """It kills thirty seconds after SIGTERM."""
    env = HEROKU["env"]
    assert int(env["BRIDGE_DRAIN_SECONDS"]["value"]) < 27
    for name in ("PUBLIC_URL", "TWILIO_AUTH_TOKEN", "OPENAI_API_KEY"):
        assert env[name]["required"]
    assert HEROKU["formation"]["web"]["quantity"] == 1
    assert "eco" not in HEROKU["formation"]["web"]["size"], "it sleeps, and calls with it"
    assert all(one["description"] for one in env.values())


def test_fly_builds_the_image_of_this_folder() -> None:
    """Where fly.toml names it, its folder is meant, and not the one that the command is given in."""
    assert (ROOT / "deploy" / FLY["build"]["dockerfile"]).read_text(encoding="utf-8") == DOCKERFILE


def test_a_shared_cpu_is_not_asked_for_more_than_its_sixteenth_of_a_core() -> None:
    """50 frames a second of 35 µs each are 1.75 ms, and it has 62.5 ms in a second: 35 calls at best."""
    [machine] = FLY["vm"]
    assert machine["size"] == "shared-cpu-1x"
    assert int(FLY["env"]["BRIDGE_MAX_CALLS"]) <= 25


# --- the five steps of the README --------------------------------------------------------------------------

README = (ROOT / "README.md").read_text(encoding="utf-8")
STEPS_TO_A_NUMBER = README.partition("## From clone to a real number")[2].partition("\n## ")[0]


def told(tool: str) -> list[list[str]]:
    """The commands that begin with this word, as a shell reads them; `$(…)` stays one word."""
    lines = STEPS_TO_A_NUMBER.replace("\\\n", " ").splitlines()
    commands = [shlex.split(line, comments=True) for line in lines if line.strip().startswith(f"{tool} ")]
    assert commands, tool
    return commands


def test_there_are_five_steps_on_three_ways() -> None:
    assert re.findall(r"^(\d)\. ", STEPS_TO_A_NUMBER, re.MULTILINE) == list("12345")
    assert re.findall(r"^   \*\*(\w+ \w+\s?\w*)\*\*", STEPS_TO_A_NUMBER, re.MULTILINE) == [
        "On Heroku", "On Fly", "With a tunnel",
    ]  # fmt: skip
    assert STEPS_TO_A_NUMBER.count("this is step 5") == 3


@pytest.mark.parametrize("tool", ["heroku", "fly"])
def test_what_has_to_be_set_is_set(tool: str) -> None:
    """Exactly what a real number needs, and nothing that is no setting."""
    given = {
        word.partition("=")[0] for command in told(tool) for word in command if re.match("[A-Z_]+=", word)
    }
    assert given == {"PUBLIC_URL", "TWILIO_ACCOUNT_SID", "TWILIO_AUTH_TOKEN", "OPENAI_API_KEY"}
    assert given == {
        name for name, one in HEROKU["env"].items() if one.get("required") or name == "TWILIO_ACCOUNT_SID"
    }


def test_fly_is_told_of_its_file_and_of_one_machine() -> None:
    [deploy] = [command for command in told("fly") if command[1] == "deploy"]
    assert (ROOT / deploy[deploy.index("--config") + 1]).is_file()
    assert "--ha=false" in deploy
    assert all("--app" in command or command[1] == "apps" for command in told("fly"))


@posix
@pytest.mark.hostile
def test_the_doctor_is_where_fly_is_told_to_look(image: Any) -> None:
    """`fly ssh console` need not have the image's PATH."""
    [console] = [command for command in told("fly") if command[1] == "ssh"]
    path, doctor = console[-1].split()
    assert (Path(image[2]).parent / path.lstrip("/")).exists()
    assert doctor == "doctor"


@posix
def test_heroku_runs_the_doctor_without_installing_us(anybody: dict[str, str]) -> None:
    """A buildpack installs what we need, not us: from the folder it is a module."""
    [run] = [command for command in told("heroku") if command[1] == "run"]
    found = subprocess.run(run[2:], cwd=ROOT, env=anybody, capture_output=True, text=True, check=False)
    assert "✓ settings" in found.stdout
    assert found.stderr == ""


@pytest.mark.parametrize("name", ["deploy/Dockerfile", "deploy/fly.toml"])
def test_what_differs_from_a_default_says_which_calls_the_default_would_cut(name: str) -> None:
    """A comment above it, or beside it."""
    lines = (ROOT / name).read_text(encoding="utf-8").splitlines()
    wanted = {
        "deploy/Dockerfile": ("USER", "STOPSIGNAL", "HEALTHCHECK", "CMD"),
        "deploy/fly.toml": (
            "kill_signal", "kill_timeout", "strategy", "BRIDGE_DRAIN", "auto_stop", "min_machines",
            "BRIDGE_MAX", "soft_limit", "hard_limit", "type", "method", "size", "memory",
        ),
    }[name]  # fmt: skip
    for word in wanted:
        [place] = [number for number, line in enumerate(lines) if line.strip().startswith(word)]
        assert lines[place - 1].strip().startswith("#"), word


def test_every_setting_that_the_platforms_are_given_is_one() -> None:
    from bridge.settings.settings import Settings

    known = {str(field.validation_alias) for field in Settings.model_fields.values()} | {"WEB_CONCURRENCY"}
    given = {*FLY["env"], *HEROKU["env"], *build_image.environment(STEPS)}
    assert given - known == {"PATH", "PYTHONUNBUFFERED", "XDG_STATE_HOME"}
