"""The console: who may look (`sign_in.py`), what there is to see (`live.py` and what reads it), how viewers
are told (`pump.py`, in the words of `messages.py`), and what an operator does with a call (`actions.py`).
"""

from __future__ import annotations

from .console import Console

__all__ = ["Console"]
