"""Notices: other systems are told over HTTP what happens to calls.

`told` turns a call's events into notices, `spool` keeps them on disk until they have arrived, `delivery`
carries one to its address, `signing` proves it is from here. Nothing of it runs on the loop of a call but
putting a notice into a queue.
"""

from __future__ import annotations

from .outbox import Outbox
from .told import ALWAYS, ON_REQUEST, CallNotices

__all__ = ["ALWAYS", "ON_REQUEST", "CallNotices", "Outbox"]
