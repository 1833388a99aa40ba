"""Many calls from a program of your own: it asks a running service, some calls at a time.

    python -m examples.many_numbers examples/numbers.csv https://voice.example.com KEY

For a list that is called to its end, with retries and a state file, `phonebridge calls run` needs no program.
"""

import asyncio
import csv
import sys
from pathlib import Path

import bridge

AT_ONCE = 5


async def called(row: dict[str, str], server: str, key: str, places: asyncio.Semaphore) -> str:
    """One call to its end, as a line of the report."""
    async with places:
        try:
            call = await bridge.call(
                row["to"],
                server=server,
                api_key=key,
                consent=row["consent"],
                context={"name": row["name"], "order": row["order"]},
                key=f"delivery-{row['order']}",  # however often this program is started: one call an order
            )
        except bridge.CallRefused as refused:
            return f"{row['order']}: {refused.rule}"
        result = await call.done()
    who = f" ({result.answered_by})" if result.answered_by else ""
    return f"{row['order']}: {result.outcome}{who}"


async def main(rows: list[dict[str, str]], server: str, key: str) -> list[str]:
    """Call all of them: a line each, in their order."""
    places = asyncio.Semaphore(AT_ONCE)
    return await asyncio.gather(*(called(row, server, key, places) for row in rows))


if __name__ == "__main__":
    file, *where = sys.argv[1:]
    with Path(file).open(encoding="utf-8", newline="") as opened:
        numbers = list(csv.DictReader(opened))
    sys.stdout.write("\n".join(asyncio.run(main(numbers, *where))) + "\n")
