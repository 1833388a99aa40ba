"""Play the calls of tests/replays/scenarios.py anew, and keep each as a recording next to it.

    python scripts/make_replays.py [name …]

For a wanted change of what the doubles or the calls do. After a wanted change of the core alone
`phonebridge replay --accept tests/replays/*.call.jsonl` keeps the inputs as they were.
"""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "tests" / "replays"


def main(names: list[str]) -> int:
    """All of them, or those that are named. Returns 2 for a name that there is not."""
    sys.path.insert(0, str(ROOT))
    from tests.replays.scenarios import SCENARIOS  # noqa: PLC0415  the root was not on the path before

    unknown = [name for name in names if name not in SCENARIOS]
    if unknown:
        print(f"there is no call named {', '.join(unknown)}", file=sys.stderr)
        return 2
    for name in names or SCENARIOS:
        file = SCENARIOS[name]().save(FOLDER / f"{name}.call.jsonl")
        print(f"{file.stat().st_size:>8,} bytes  {name}")
    if not names:
        for file in FOLDER.glob("*.call.jsonl"):
            if file.name.removesuffix(".call.jsonl") not in SCENARIOS:
                file.unlink()
                print(f"    gone  {file.name}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
