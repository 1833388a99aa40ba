"""When something is due, in milliseconds of the call's clock.

What has to be done later belongs to the object whose rule it is, as a field `due_ms`, and ends with it.
`Call` wakes at the earliest of them.
"""

from __future__ import annotations

from typing import Final

NEVER: Final = 1 << 60
"""Later than any call lasts: nothing is due."""
