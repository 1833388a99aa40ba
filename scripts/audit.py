"""Ask the database of known vulnerabilities (OSV) about everything that the locks pin.

`make audit`. pip-audit asks; its command is the argument. Exits 0 if nothing is known, 1 if something is, and
3 if there was no database to ask, which says nothing about the locks.
"""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
KINDS = ("demo", "dev", "docs", "supply")
LOCKS = ("requirements.txt", *(f"requirements-{kind}.txt" for kind in KINDS))
KNOWN, UNASKED = 1, 3


def ask(auditor: str, lock: str, options: list[str]) -> list[dict[str, Any]]:
    """What is known of each package of a lock. Raises LookupError, with the reason, where nothing was asked.

    Nothing is resolved or installed: a lock is whole. Several at once are refused, since they share packages.
    """
    how = ["--require-hashes", "--disable-pip", "--vulnerability-service", "osv", "--progress-spinner", "off"]
    command = [auditor, "--format", "json", *how, *options, "--requirement", str(ROOT / lock)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    try:
        found: list[dict[str, Any]] = json.loads(done.stdout)["dependencies"]
    except (ValueError, KeyError):
        raise LookupError((done.stderr.strip().splitlines() or ["it said nothing"])[-1]) from None
    return found


def main() -> int:
    """One line for each hole and each package that was left out, then one that sums up."""
    auditor, *options = sys.argv[1:]
    audited: dict[tuple[str, str], dict[str, Any]] = {}
    for lock in LOCKS:
        try:
            answers = ask(auditor, lock, options)
        except LookupError as error:
            print(f"no database of vulnerabilities could be asked, so nothing was audited: {error}")
            return UNASKED
        audited |= {(one["name"], one.get("version", "")): one for one in answers}
    for (name, version), one in audited.items():
        if "skip_reason" in one:
            print(f"{name}: not audited: {one['skip_reason']}")
        for hole in one.get("vulns", ()):
            mended = ", ".join(hole.get("fix_versions", ())) or "no version"
            print(f"{name} {version}: {hole['id']}, mended in {mended}")
    left_out = sum("skip_reason" in one for one in audited.values())
    known = sum(bool(one.get("vulns")) for one in audited.values())
    print(f"{len(audited) - left_out} packages audited, something is known of {known}")
    return KNOWN if known else 0


if __name__ == "__main__":
    sys.exit(main())
