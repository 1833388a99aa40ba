"""Queues of waiting legs."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from .leg import Leg


@dataclass(eq=False)
class Queue:
    """One queue, first in first out."""

    name: str
    sid: str
    places: list[Place] = field(default_factory=list)

    def enter(self, leg: Leg, now_ms: int) -> Place:
        """A place at the end."""
        place = Place(self, leg, now_ms)
        self.places.append(place)
        return place

    def leave(self, place: Place) -> None:
        """Idempotent."""
        if place in self.places:
            self.places.remove(place)

    def take(self) -> Place | None:
        """The caller who waits longest, who talks from now on; None if the queue is empty."""
        place = next((place for place in self.places if not place.taken.is_set()), None)
        if place is not None:
            place.taken.set()
            self.leave(place)
        return place


@dataclass(eq=False)
class Place:
    """A leg's place in a queue."""

    queue: Queue
    leg: Leg
    since_ms: int
    taken: asyncio.Event = field(default_factory=asyncio.Event)
    talk_over: asyncio.Event = field(default_factory=asyncio.Event)


class Queues:
    """All queues of a network, by name."""

    def __init__(self) -> None:
        self._queues: dict[str, Queue] = {}

    def of(self, name: str) -> Queue:
        """The queue of that name, which is there from its first use."""
        return self._queues.setdefault(name, Queue(name, f"QU{len(self._queues) + 1:032x}"))

    def holding(self, leg: Leg) -> bool:
        """Whether the leg waits in any queue."""
        return any(place.leg is leg for queue in self._queues.values() for place in queue.places)
