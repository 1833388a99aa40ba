"""What a duplex model has handed over in one session, and how far that is."""

from __future__ import annotations

from dataclasses import dataclass, field

from .due import NEVER


@dataclass(slots=True)
class Delegation:
    """What was handed over in one session, `epoch`."""

    epoch: int = 0
    known: dict[str, None] = field(default_factory=dict)
    """Ids of delegations: some come twice."""
    requests: dict[str, int] = field(default_factory=dict)
    """Delegations to us whose request is not made yet, and when it is at the latest."""
    tasks: dict[str, None] = field(default_factory=dict)
    """Delegations to us that are not answered."""
    calls: dict[str, str] = field(default_factory=dict)
    """The backend's calls that have no output, and the response that made each."""
    running: bool = False
    """Whether the backend is making a response."""
    unread: bool = False
    """Whether it was given something that it has not gone on with."""
    items: int = 0
    input_bytes: int = 0
    refusals: int = 0
    failures: int = 0
    """Responses that failed, one after another."""
    told_ms: int = 0
    """When the backend last gave or was given something."""
    stuck: str = ""
    """Why no answer will ever come of it, "" while one may."""
    due_ms: int = NEVER
    """When something of it is to be looked at."""
    leaves: bool = False
    """Whether another session is to take over, because this one's backend is full or stuck."""
    words: str = ""
    """What the caller has said since something was handed over."""
    voiced: bool = False
    """Whether our ear has heard a voice about when these words came."""

    @property
    def busy(self) -> bool:
        """Whether something is being done that the model will speak about."""
        return bool(self.running or self.calls or self.tasks or self.requests or self.unread)
