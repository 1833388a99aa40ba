"""One call in flight: two sockets, one `Call`, one clock, one gate.

Floor 5. `gate.py` is the gate that every input passes, `carrier_leg.py` and `upstream_legs.py` are the two
sides of a call, `recorder.py` says what a recording is told.
"""

from __future__ import annotations

from .callee_ear import CalleeEar
from .carrier_leg import LOOK_S, OUTBOX_BYTES
from .gate import Runner
from .recorder import Recorder
from .upstream_legs import BACKLOG_MS

__all__ = ["BACKLOG_MS", "LOOK_S", "OUTBOX_BYTES", "CalleeEar", "Recorder", "Runner"]
