"""Build the image of deploy/Dockerfile; where there is no engine, run its steps in a folder instead.

The steps need no root and no container: they make a virtual environment and install into it. Absolute paths
of the image become paths below a folder. `python scripts/build_image.py FOLDER` keeps what was made there.
"""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
DOCKERFILE = ROOT / "deploy" / "Dockerfile"
PLACES = re.compile(r"(?<![\w.])/(?:app|src|state)\b")
"""Every absolute path that the Dockerfile's steps use begins with one of these."""


class Instruction(NamedTuple):
    """One line of a Dockerfile: its word, the rest, and the number of its stage from 0."""

    word: str
    rest: str
    stage: int

    @property
    def arguments(self) -> list[str]:
        """The words of the exec form; raises ValueError for the shell form."""
        _, opened, words = self.rest.partition("[")
        return [str(word) for word in json.loads(opened + words)]


def instructions(text: str) -> list[Instruction]:
    """A Dockerfile's instructions, without comments."""
    found: list[Instruction] = []
    stage = -1
    whole = re.sub(r"\\\n", " ", re.sub(r"^\s*#.*\n", "", text, flags=re.MULTILINE))
    for line in filter(str.strip, whole.splitlines()):
        word, _, rest = line.strip().partition(" ")
        stage += word.upper() == "FROM"
        found.append(Instruction(word.upper(), rest.strip(), stage))
    return found


def environment(steps: list[Instruction]) -> dict[str, str]:
    """What ENV sets in the last stage."""
    last = max(step.stage for step in steps)
    settings = [step.rest for step in steps if step.word == "ENV" and step.stage == last]
    return dict(pair.split("=", 1) for line in settings for pair in line.split())


def below(folder: Path, text: str) -> str:
    """The text with the image's paths where they are in the folder."""
    return PLACES.sub(lambda found: f"{folder}{found.group()}", text)


def run_steps(
    folder: Path, *, packages: Path | None = None, dockerfile: Path = DOCKERFILE, context: Path = ROOT
) -> tuple[list[str], dict[str, str], Path]:
    """Run the steps there. Returns the command of the image, its environment and its working directory.

    With `packages`, a site-packages folder, the new environment may use what is installed there, pip too, and
    nothing is fetched.
    """
    work = folder
    command: list[str] = []
    steps = instructions(dockerfile.read_text(encoding="utf-8"))
    for word, rest, _ in steps:
        if word == "WORKDIR":
            work = Path(below(folder, rest))
            work.mkdir(parents=True, exist_ok=True)
        elif word == "COPY" and not rest.startswith("--from"):
            *sources, target = rest.split()
            for source in sources:
                _copy(context / source, work / below(folder, target))
        elif word == "RUN":
            line = shlex.split(below(folder, rest))
            if packages is not None and line[1:3] == ["-m", "venv"]:
                line.append("--without-pip")  # which takes longer than all the rest
            subprocess.run([sys.executable, *line[1:]] if line[0] == "python" else line, check=True, cwd=work)
            _lend(folder / "app" / "venv", packages)
        elif word == "CMD":
            command = json.loads(rest)
    shutil.rmtree(folder / "src")  # the last stage has none of it
    path = f"{folder}/app/venv/bin{os.pathsep}{os.environ.get('PATH', os.defpath)}"
    settings = {name: below(folder, value) for name, value in environment(steps).items()}
    return command, {**settings, "PATH": path}, work


def _copy(source: Path, target: Path) -> None:
    if source.is_dir():
        shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"), dirs_exist_ok=True)
    else:
        target.mkdir(parents=True, exist_ok=True)
        shutil.copy(source, target)


def _lend(venv: Path, packages: Path | None) -> None:
    if packages is not None:
        for site in venv.glob("lib/python*/site-packages"):
            (site / "lent.pth").write_text(f"{packages}\n", encoding="utf-8")


def engine() -> str | None:
    """A container engine that answers."""
    for name in ("docker", "podman"):
        if shutil.which(name):
            asked = subprocess.run([name, "info"], capture_output=True, check=False)
            if asked.returncode == 0 and b"ERROR" not in asked.stdout + asked.stderr:
                return name
    return None


def main() -> None:
    """Build, or do as if."""
    found = engine()
    if found is not None:
        build = [found, "build", "-f", str(DOCKERFILE), "-t", "phonebridge:ci", str(ROOT)]
        subprocess.run(build, check=True)
        print(f"the image was built by {found}")
        return
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else tempfile.mkdtemp(prefix="image-"))
    try:
        command, settings, work = run_steps(folder)
        helped = [*command, "--help"]
        subprocess.run(helped, check=True, cwd=work, env=settings, stdout=subprocess.DEVNULL)
    finally:
        if len(sys.argv) == 1:
            shutil.rmtree(folder)
    print("no container engine answers here: the steps of the image ran in a clean virtual environment")


if __name__ == "__main__":
    main()
