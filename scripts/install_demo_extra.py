"""Install what the demo's extra adds (requirements-demo.txt), as far as wheels of it exist for this machine.

Run by the Makefile with the environment's own Python, after requirements.txt. Speech software is not built
from source here: that needs compilers, which a demo should not ask for. What has no wheel is named and left
out, because the demo works without it, in a plainer voice; so this never fails.
"""

import re
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def pins(lock: str) -> dict[str, str]:
    """Each pinned requirement of a lock with its hashes, as written there, by name."""
    blocks = re.split(r"^(?=[a-z])", (ROOT / lock).read_text(encoding="utf-8"), flags=re.MULTILINE)
    return {block.partition("==")[0]: block for block in blocks if "==" in block}


def install(requirements: str) -> bool:
    """Whether pip could install these from wheels. They bring no dependencies: the lock has all of them."""
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-input", "--no-compile"]
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "requirements.txt")
        file.write_text(requirements, encoding="utf-8")
        done = subprocess.run(
            [*command, "--no-deps", "--require-hashes", "--only-binary", ":all:", "-r", str(file)],
            check=False,
            stderr=subprocess.DEVNULL,
        )
    return done.returncode == 0


def main() -> None:
    """Everything at once; where that fails, one by one, to have the rest."""
    base = pins("requirements.txt")
    added = {name: pin for name, pin in pins("requirements-demo.txt").items() if name not in base}
    if install("".join(added.values())):
        return
    missing = [name for name, pin in added.items() if not install(pin)]
    if missing:
        print(f"demo extra: no wheel for this machine of {', '.join(missing)}; the demo goes on without it")


if __name__ == "__main__":
    main()
