"""Conferences: who is in which room, who hears whom, and what is told of it.

https://www.twilio.com/docs/voice/twiml/conference
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Final

from bridge.doubles.tones import tone

from .leg import Leg

EVENTS: Final = ("start", "end", "join", "leave", "mute", "hold", "modify", "speaker", "announcement")
_NAMES: Final = {
    "start": "conference-start", "end": "conference-end", "join": "participant-join",
    "leave": "participant-leave", "mute": "participant-mute", "hold": "participant-hold",
    "modify": "participant-modify", "announcement": "announcement-end",
}  # fmt: skip
BEEP_MS: Final = 300


@dataclass(eq=False)
class Member:
    """One leg in a room."""

    leg: Leg
    label: str = ""
    starts: bool = True
    ends: bool = False
    muted: bool = False
    held: bool = False
    beeps: bool = True
    out: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when the room lets the leg go."""
    reason: str = "participant_hung_up"
    """Why it goes, unless the leg itself leaves."""


@dataclass(eq=False)
class Room:
    """A conference: it starts with two members of which one may start it, and runs until it is empty."""

    name: str
    sid: str
    account_sid: str
    first: Leg
    """Whose handset signs what the room tells."""
    members: list[Member] = field(default_factory=list)
    status: str = "init"
    callback: tuple[str, str, frozenset[str]] | None = None
    """Only the first member's counts: URL, method, events."""
    sequence: int = 0
    reason_ended: str = ""
    ended_by: str = ""
    began: asyncio.Event = field(default_factory=asyncio.Event)

    def labelled(self, label: str) -> Member | None:
        """By a participant's label, or the CallSid."""
        return next((m for m in self.members if label and label in (m.label, m.leg.sid)), None)

    def join(self, member: Member) -> None:
        """Come in."""
        self.members.append(member)
        self.tell("join", member)
        if member.beeps:
            self._beep()
        if self.status == "init" and len(self.members) > 1 and any(one.starts for one in self.members):
            self.status = "in-progress"
            self.tell("start", member)
            self.began.set()
        self.mix()

    def leave(self, member: Member, reason: str) -> None:
        """Go, and take the others along where that was wished. Idempotent."""
        if member not in self.members:
            return
        self.members.remove(member)
        member.leg.partners.clear()
        self.tell("leave", member, ReasonParticipantLeft=reason, ParticipantCallStatus=_status(reason))
        if member.ends and self.status == "in-progress":
            self.end("participant-with-end-conference-on-exit-left", member.leg.sid)
        elif not self.members:
            self.end("last-participant-left", member.leg.sid)
        self.mix()

    def end(self, reason: str, call_sid: str = "") -> None:
        """Let everybody go. Idempotent."""
        if self.status == "completed":
            return
        began = self.status == "in-progress"
        self.status, self.reason_ended, self.ended_by = "completed", reason, call_sid
        for member in list(self.members):
            by_rest = reason == "conference-ended-via-api"
            member.out.set()
            self.leave(member, "conference_ended_via_api" if by_rest else "moderator_ended_conference")
        if began:
            self.tell("end", None, ReasonConferenceEnded=reason, CallSidEndingConference=call_sid)

    def mix(self) -> None:
        """Who hears whom, after anything has changed."""
        talking = [member for member in self.members if not member.held]
        for member in self.members:
            others = {one.leg for one in talking if one is not member and not one.muted}
            hears = self.status == "in-progress" and not member.held
            member.leg.partners = others if hears else set()

    def change(self, member: Member, event: str, **changed: bool) -> None:
        """Mute, hold, or what happens when they leave."""
        for name, value in changed.items():
            setattr(member, name, value)
        self.mix()
        self.tell(event, member)

    def tell(self, event: str, member: Member | None, **fields: str) -> None:
        """The room's callback."""
        if self.callback is None or event not in self.callback[2]:
            return
        url, method, _ = self.callback
        form = {
            "ConferenceSid": self.sid, "FriendlyName": self.name, "AccountSid": self.account_sid,
            "StatusCallbackEvent": _NAMES[event], "SequenceNumber": str(self.sequence + 1),
            "Timestamp": format_datetime(datetime.now(UTC)), **fields,
        }  # fmt: skip
        self.sequence += 1
        if member is not None:
            form |= {
                "CallSid": member.leg.sid, "Muted": _said(member.muted), "Hold": _said(member.held),
                "StartConferenceOnEnter": _said(member.starts), "EndConferenceOnExit": _said(member.ends),
                "Coaching": "false",
            }  # fmt: skip
            form |= {"ParticipantLabel": member.label} if member.label else {}
        self.first.network.deliver(self.first, url, form, method=method, event=_NAMES[event], bare=True)

    def _beep(self) -> None:
        for member in self.members:
            member.leg.loudspeaker += tone(BEEP_MS, 440)


class Rooms:
    """All conferences of a network. A name is that of one running room at a time."""

    def __init__(self) -> None:
        self.all: list[Room] = []

    def of(self, name: str, leg: Leg) -> Room:
        """The running room of that name in the leg's account, which is made if it is missing."""
        account = leg.handset.account_sid
        for room in self.all:
            if room.status != "completed" and (room.name, room.account_sid) == (name, account):
                return room
        room = Room(name, f"CF{len(self.all) + 1:032x}", account, leg)
        self.all.append(room)
        return room

    def named(self, name: str, account_sid: str) -> Room | None:
        """By SID, or by the name of a running room."""
        for room in reversed(self.all):
            running = room.status != "completed"
            if room.account_sid == account_sid and (room.sid == name or (running and room.name == name)):
                return room
        return None


def _said(value: bool) -> str:
    return str(value).lower()


def _status(reason: str) -> str:
    return "completed" if reason == "participant_hung_up" else "in-progress"
