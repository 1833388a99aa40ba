"""An environment beside the tests' for packages that must never become a dependency: pinned by hash in a
lock, made once, and able to import what the tests have.
"""

from __future__ import annotations

import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[1]
INSTALL_S: Final = 60


def installed(home: Path, locked: Path) -> str:
    """Make the environment `home` from the lock unless it is there; returns why it cannot be had, else
    nothing.
    """
    ready, python = home / ".ready", home / "bin" / "python"
    lock = locked.read_text(encoding="utf-8")
    if ready.exists() and ready.read_text(encoding="utf-8") == lock:
        return ""
    pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-input"]
    try:
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(home)], check=True, timeout=INSTALL_S)
        [site] = home.glob("lib/python*/site-packages")
        # What the tests have is seen from there too.
        (site / "tests.pth").write_text(sysconfig.get_path("purelib") + "\n", encoding="utf-8")
        subprocess.run(
            [*pip, "--no-compile", "--only-binary", ":all:", "--require-hashes", "-r", str(locked)],
            check=True, capture_output=True, timeout=INSTALL_S,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return f"not installed within {INSTALL_S} s"
    except (OSError, subprocess.CalledProcessError) as error:
        return f"cannot be installed here: {error}"
    ready.write_text(lock, encoding="utf-8")
    return ""
