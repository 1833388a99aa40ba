"""Recordings: any call is a test.

Floor 3, pure. `Recorder` writes down what the gate of a call tells it, and passes its lines on to be kept;
`replay` feeds the inputs of such lines to a new call, through the adapters, and compares what follows from
them with what followed then. Read `lines` first (the format), then `recorder`, `stage` and `replaying`.
"""

from __future__ import annotations

from .difference import Difference, Playout, describe
from .header import FORMAT, SUFFIX, Header, mask, mask_parameters
from .recorder import Recorder
from .replaying import Replay, replay
from .stage import Parts
from .steps import Output, Recording, Step
