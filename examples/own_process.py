"""A tool that must not stop other calls: what could hold the interpreter's lock runs in a process of its own.

A regular expression from outside may backtrack for minutes, and Python runs nothing else meanwhile, the sound
of every call included. A process can be waited for, and ended.
"""

import subprocess
import sys

from bridge import Agent, ToolError, tool

ORDERS = "order 1017: two rye loaves\norder 1018: a poppy-seed cake\n"
MOST_S = 2.0
SEARCH = """
import re, sys
sys.stdout.writelines(line for line in sys.stdin if re.search(sys.argv[1], line))
"""


@tool(deadline_ms=5_000)
def find_orders(pattern: str) -> str:
    """Find orders by a regular expression.

    Args:
        pattern: What a line of the order book must match.
    """
    command = [sys.executable, "-c", SEARCH, pattern]
    try:
        found = subprocess.run(  # noqa: S603  the pattern is an argument, and no part of the program
            command, input=ORDERS, capture_output=True, text=True, timeout=MOST_S, check=True
        )
    except subprocess.TimeoutExpired:
        raise ToolError("The search took too long. Try a simpler pattern.") from None
    except subprocess.CalledProcessError:
        raise ToolError("This is no regular expression.") from None
    return found.stdout or "There is no such order."


agent = Agent("You answer the phone of a bakery.", greeting="Good day!", tools=[find_orders])
