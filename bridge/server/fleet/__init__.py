"""A process among those that serve the same calls: what it asks of the store that they share, and when."""

from __future__ import annotations

from .fleet import Fleet
from .gates import Asked, Gate

__all__ = ["Asked", "Fleet", "Gate"]
