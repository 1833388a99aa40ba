"""Build wheel and sdist, check both, and hear a call from the wheel in an empty environment.

`python scripts/check_package.py [FOLDER]` keeps what was built there. Says each fault in one line, exit 1 if
there was one. The dependencies come as the lock has them, from wherever pip takes packages here.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import subprocess
import sys
import tarfile
import tempfile
import venv
import zipfile
from collections.abc import Iterator
from pathlib import Path

from packaging.metadata import InvalidMetadata, Metadata
from trove_classifiers import classifiers

ROOT = Path(__file__).resolve().parent.parent
TRUNCATION_MS = 20
"""Between what the phone of the demo heard and what its model was told."""


def built(source: Path, out: Path, *targets: str) -> list[Path]:
    """Wheel or sdist or both, made of the tree at `source`."""
    chosen = [argument for target in targets for argument in ("-t", target)]
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-d", str(out), *chosen], cwd=source, check=True
    )
    return sorted(out.iterdir())


def tracked() -> set[str]:
    """The files of the package, as the repository has them."""
    list_them = ["git", "ls-files", "bridge"]
    listed = subprocess.run(list_them, cwd=ROOT, check=True, capture_output=True, text=True)
    return {name for name in listed.stdout.splitlines() if (ROOT / name).is_file()}


def faults_of_wheel(wheel: Path, wanted: set[str]) -> Iterator[str]:
    """What is missing, what is too much, what is not as RECORD says, and what is wrong with the metadata."""
    with zipfile.ZipFile(wheel) as archive:
        contents = {name: archive.read(name) for name in archive.namelist()}
    package = {name for name in contents if name.startswith("bridge/")}
    yield from (f"{wheel.name} has no {name}" for name in sorted(wanted - package))
    yield from (f"{wheel.name} has {name}, which the repository has not" for name in sorted(package - wanted))
    info = next((name.partition("/")[0] for name in contents if name.endswith(".dist-info/METADATA")), "")
    if not info:
        yield f"{wheel.name} has no METADATA"
        return
    for name in ("RECORD", "entry_points.txt", "licenses/LICENSE"):
        if f"{info}/{name}" not in contents:
            yield f"{wheel.name} has no {info}/{name}"
    for line in contents.get(f"{info}/RECORD", b"").decode().splitlines():
        name, digest, _ = line.rsplit(",", 2)
        if digest and digest != f"sha256={_digest(contents.get(name, b''))}":
            yield f"{wheel.name}: {name} is not what RECORD says"
    yield from faults_of_metadata(contents[f"{info}/METADATA"])


def _digest(raw: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(raw).digest()).rstrip(b"=").decode()


def faults_of_metadata(raw: bytes) -> Iterator[str]:
    """What an index would refuse, or could not show."""
    try:
        metadata = Metadata.from_email(raw)
    except ExceptionGroup as group:
        yield from (f"METADATA: {error}" for error in group.exceptions)
        return
    except InvalidMetadata as error:
        yield f"METADATA: {error}"
        return
    yield from (
        f"METADATA: {one!r} is no classifier" for one in {*(metadata.classifiers or [])} - classifiers
    )
    if metadata.description_content_type != "text/markdown":
        yield f"METADATA: the description is {metadata.description_content_type}, and README is Markdown"
    if not (metadata.description or "").startswith("# phonebridge"):
        yield "METADATA: the description is not README"
    if not metadata.summary or "\n" in metadata.summary:
        yield "METADATA: the summary is not one line"


def faults_of_sdist(sdist: Path, wheel: Path, folder: Path) -> Iterator[str]:
    """A wheel of the sdist holds the same files as the wheel of the repository."""
    with tarfile.open(sdist) as archive:
        archive.extractall(folder, filter="data")
    (source,) = folder.iterdir()
    for name in ("pyproject.toml", "README.md", "LICENSE", "CHANGELOG.md"):
        if not (source / name).is_file():
            yield f"{sdist.name} has no {name}"
    (again,) = built(source, folder / "again", "wheel")
    with zipfile.ZipFile(wheel) as first, zipfile.ZipFile(again) as second:
        for name in sorted({*first.namelist()} ^ {*second.namelist()}):
            yield f"{sdist.name}: its wheel and that of the repository differ in {name}"


def faults_when_used(wheel: Path, folder: Path) -> Iterator[str]:
    """In an empty environment: it installs, imports, makes an agent's folder, and a call is heard."""
    place = folder / "env"
    venv.create(place, with_pip=True)
    python, command = str(place / "bin" / "python"), str(place / "bin" / "phonebridge")
    pip = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-input"]
    subprocess.run([*pip, "--require-hashes", "-r", str(ROOT / "requirements.txt")], check=True)
    subprocess.run([*pip, "--no-deps", "--no-index", str(wheel)], check=True)
    here = folder / "elsewhere"
    here.mkdir()
    for what in (
        [python, "-m", "pip", "check"],
        [python, "-c", "import bridge; [getattr(bridge, name) for name in bridge.__all__]"],
        [command, "--help"],
        [command, "phrases", "list"],
        [command, "init", "agent"],
    ):
        done = _run(what, here)
        if done.returncode:
            told = done.stderr.strip() or done.stdout.strip()
            yield f"{' '.join(what[-3:])}: exit {done.returncode}, {told}"
    done = _run([command, "demo", "--once", "--json"], here)
    if done.returncode:
        yield f"demo --once: exit {done.returncode}, {done.stderr.strip()}"
        return
    yield from faults_of_demo(json.loads(done.stdout), here)


def _run(command: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    environment = {"PATH": os.environ["PATH"], "HOME": str(folder)}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


def faults_of_demo(account: dict[str, object], folder: Path) -> Iterator[str]:
    """The call was answered, interrupted and told of truly, and can be listened to."""
    if not account["first_audio_after_ms"]:
        yield "demo: nothing was heard"
    barge_ins = account["barge_ins"]
    if not isinstance(barge_ins, list) or not barge_ins:
        yield "demo: there was no barge-in"
        return
    for one in barge_ins:
        if abs(one["heard_ms"] - one["truncated_ms"]) > TRUNCATION_MS:
            yield f"demo: {one['heard_ms']} ms were heard, {one['truncated_ms']} ms told"
    if not (folder / str(account["wav"])).is_file():
        yield "demo: there is no sound of it"


def main(folder: Path) -> int:
    """Everything, one fault a line."""
    sdist, wheel = sorted(built(ROOT, folder / "dist"), key=lambda path: path.suffix != ".gz")
    work = Path(tempfile.mkdtemp(dir=folder))
    (work / "sdist").mkdir()
    faults = [
        *faults_of_wheel(wheel, tracked()),
        *faults_of_sdist(sdist, wheel, work / "sdist"),
        *faults_when_used(wheel, work),
    ]
    for fault in faults:
        print(fault)
    size_kb = wheel.stat().st_size // 1_000
    print(f"{wheel.name} ({size_kb:,} kB), {sdist.name}: faults {len(faults)}")
    return 1 if faults else 0


if __name__ == "__main__":
    if len(sys.argv) > 1:
        Path(sys.argv[1]).mkdir(parents=True, exist_ok=True)
        sys.exit(main(Path(sys.argv[1]).resolve()))
    with tempfile.TemporaryDirectory() as temporary:
        sys.exit(main(Path(temporary)))
