"""The files under deploy/ that other systems read, checked without them: tests/test_platforms.py, in an
environment that has Kubernetes' own schemas.

    python -m scripts.check_deploy

Pinned by hash in scripts/deploy.txt. Where it cannot be installed within a minute this is skipped, and says
so. `kubectl` and `haproxy` are used where they are.
"""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Final

from scripts.own_environment import ROOT, installed

HOME: Final = ROOT / ".venv-deploy"


def main() -> int:
    """Run the tests there. Returns their exit code; 0 for a skip."""
    if why := installed(HOME, ROOT / "scripts" / "deploy.txt"):
        sys.stdout.write(f"skipped  deploy: {why}\n")
        return 0
    command = [str(HOME / "bin" / "python"), "-m", "pytest", "-n", "0", "-rs", "tests/test_platforms.py"]
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run(command, cwd=ROOT, env=environment, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
