"""Experiments on calls: a recorded call goes on otherwise (`fork`), recorded callers meet another agent
(`shadow`), and simulated ones any server (`callers`).

Floor 8: it plays calls in virtual time (`bridge.testing`), or against a server over sockets. The names here
are for scenarios and minds that are written in Python; the command imports what it needs from the modules.
"""

from bridge.doubles.people.caller import HangUp, Press, Say

from .callers_mind import Heard
from .scenario import CallerTable, Expect, Scenario

__all__ = ["CallerTable", "Expect", "HangUp", "Heard", "Press", "Say", "Scenario"]
