"""Build the documents as a site, strictly and without the network: `python scripts/build_docs.py`.

The pages link to each other as they lie in the repository, so what they link to is laid out beside them in
build/pages, and MkDocs finds it as a reader on the repository's own pages does.
"""

import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PAGES = ROOT / "build" / "pages"
PROJECT = ("README.md", "SECURITY.md", "CONTRIBUTING.md", "CHANGELOG.md", "LICENSE")
SHOWN = (*PROJECT, "docs", "benchmarks/README.md", "examples")


def lay_out() -> None:
    """Copy what the site shows; what was there before goes."""
    shutil.rmtree(PAGES, ignore_errors=True)
    for name in SHOWN:
        source, target = ROOT / name, PAGES / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, target)


def main() -> int:
    """Lay out, and let MkDocs build build/site."""
    lay_out()
    build = [sys.executable, "-m", "mkdocs", "build", "--quiet", "--strict"]
    return subprocess.run(build, cwd=ROOT, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
