"""Write sbom.cdx.json: what runs in the image, from the lock and the wheels' own metadata (CycloneDX 1.6).

`make sbom`. The steps of deploy/Dockerfile make the image's environment (scripts/build_image.py), and
cyclonedx-bom reads it; its command is the argument. The base image, with its Python and pip, is not in it:
the digest in the Dockerfile says what that is. Every run from one lock writes the same file.
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import build_image  # type: ignore[import-not-found]

ROOT = Path(__file__).resolve().parent.parent
SBOM = ROOT / "sbom.cdx.json"


def read(reader: str, python: Path) -> dict[str, Any]:
    """The bill of that Python's environment, without times and serial numbers."""
    options = ["--output-reproducible", "--spec-version", "1.6", "--output-format", "JSON"]
    command = [reader, "environment", "--pyproject", str(ROOT / "pyproject.toml"), *options, str(python)]
    bill: dict[str, Any] = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
    return bill


def without(bill: dict[str, Any], name: str) -> dict[str, Any]:
    """The bill without that component, and without what depends on it being named."""
    gone = {one["bom-ref"] for one in bill["components"] if one["name"] == name}
    graph = [
        {**one, "dependsOn": kept}
        if (kept := sorted(set(one.get("dependsOn", ())) - gone))
        else {"ref": one["ref"]}
        for one in bill["dependencies"]
        if one["ref"] not in gone
    ]
    components = [one for one in bill["components"] if one["bom-ref"] not in gone]
    return {**bill, "components": components, "dependencies": graph}


def main() -> None:
    """Build the environment, read it, write the file."""
    wanted = (ROOT / ".python-version").read_text(encoding="utf-8").strip()
    if f"{sys.version_info.major}.{sys.version_info.minor}" != wanted:
        sys.exit(
            f"the image has Python {wanted}, and other packages by that: make sbom PYTHON=python{wanted}"
        )
    with tempfile.TemporaryDirectory(prefix="sbom-") as folder:
        build_image.run_steps(Path(folder))
        bill = read(sys.argv[1], Path(folder, "app", "venv", "bin", "python"))
    bill = without(bill, "pip")
    SBOM.write_text(json.dumps(bill, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    print(f"{SBOM.name}: {len(bill['components'])} components")


if __name__ == "__main__":
    main()
