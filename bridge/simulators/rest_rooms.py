"""Conferences and their participants in the simulated REST API.

https://www.twilio.com/docs/voice/api/conference-resource and /conference-participant-resource
"""

from __future__ import annotations

import urllib.parse
from collections.abc import Callable
from typing import Any, Final
from urllib.parse import parse_qsl

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from bridge.doubles.call_resource import PageQuery, page_json

from .answers import NOT_FOUND, UNKNOWN_TOKEN, failed
from .carrier import WebhookFailed
from .network import Network
from .rooms import Member, Room

ROOMS: Final = "/2010-04-01/Accounts/{account}/Conferences"
_FLAGS: Final = {
    "Muted": ("muted", "mute"),
    "Hold": ("held", "hold"),
    "EndConferenceOnExit": ("ends", "modify"),
}
_DATE: Final = "Sun, 01 Nov 2026 10:00:00 +0000"


class RoomRoutes:
    """Answers about the rooms of a network, to those whom `is_known` knows."""

    def __init__(self, network: Network, is_known: Callable[[Request], bool]) -> None:
        self._network = network
        self._is_known = is_known

    def routes(self) -> list[Route]:
        """Rooms: list, fetch, update. Participants: list, fetch, update, remove."""
        people = f"{ROOMS}/{{room}}/Participants"
        return [
            Route(f"{ROOMS}.json", self._list, methods=["GET"]),
            Route(f"{ROOMS}/{{room}}.json", self._room, methods=["GET", "POST"]),
            Route(f"{people}.json", self._participants, methods=["GET"]),
            Route(f"{people}/{{member}}.json", self._participant, methods=["GET", "POST", "DELETE"]),
        ]

    async def _list(self, request: Request) -> Response:
        if not self._is_known(request):
            return failed(UNKNOWN_TOKEN)
        asked, account = request.query_params, request.path_params["account"]
        # Since 2026-09-30 a list without `Status` is of those in progress.
        status, name = asked.get("Status", "in-progress"), asked.get("FriendlyName")
        rooms = [
            room_json(room)
            for room in self._network.rooms.all
            if room.account_sid == account and room.status == status and name in (None, room.name)
        ]
        return JSONResponse(page_json("conferences", rooms, request.url.path, PageQuery.of(asked)))

    async def _room(self, request: Request) -> Response:
        room = self._found(request)
        if isinstance(room, Response):
            return room
        if request.method == "POST":
            form = await _form(request)
            if form.get("Status") == "completed":
                room.end("conference-ended-via-api")
            if url := form.get("AnnounceUrl"):
                self._announce(room, list(room.members), url, form.get("AnnounceMethod", "POST"))
        return JSONResponse(room_json(room))

    async def _participants(self, request: Request) -> Response:
        room = self._found(request)
        if isinstance(room, Response):
            return room
        members = [member_json(room, member) for member in room.members]
        query = PageQuery.of(request.query_params)
        return JSONResponse(page_json("participants", members, request.url.path, query))

    async def _participant(self, request: Request) -> Response:
        room = self._found(request)
        if isinstance(room, Response):
            return room
        member = room.labelled(request.path_params["member"])
        if member is None:
            return failed(NOT_FOUND)
        if request.method == "DELETE":
            member.reason = "participant_updated_via_api"
            member.out.set()
            return Response(status_code=204)
        if request.method == "POST":
            form = await _form(request)
            for name, (flag, event) in _FLAGS.items():
                if name in form:
                    room.change(member, event, **{flag: form[name] == "true"})
            if url := form.get("AnnounceUrl"):
                self._announce(room, [member], url, form.get("AnnounceMethod", "POST"))
        return JSONResponse(member_json(room, member))

    def _found(self, request: Request) -> Room | Response:
        if not self._is_known(request):
            return failed(UNKNOWN_TOKEN)
        room = self._network.rooms.named(request.path_params["room"], request.path_params["account"])
        return room or failed(NOT_FOUND)

    def _announce(self, room: Room, members: list[Member], url: str, method: str) -> None:
        """Play a document to some of them, who go on hearing the room."""

        async def announced(member: Member) -> None:
            try:
                document = await member.leg.fetch(url, {"ConferenceSid": room.sid}, method=method)
                await member.leg.perform(document)
            except WebhookFailed as error:
                room.tell("announcement", member, ReasonAnnouncementFailed=str(error), AnnounceUrl=url)
            else:
                room.tell("announcement", member, AnnounceUrl=url)

        for member in members:
            self._network.keep(announced(member))


def room_json(room: Room) -> dict[str, Any]:
    """A conference as the API gives it."""
    uri = f"/2010-04-01/Accounts/{room.account_sid}/Conferences/{room.sid}"
    return {
        "sid": room.sid, "account_sid": room.account_sid, "friendly_name": room.name, "status": room.status,
        "date_created": _DATE, "date_updated": _DATE, "api_version": "2010-04-01", "region": "us1",
        "reason_conference_ended": room.reason_ended or None,
        "call_sid_ending_conference": room.ended_by or None, "uri": f"{uri}.json",
        "subresource_uris": {
            "participants": f"{uri}/Participants.json", "recordings": f"{uri}/Recordings.json",
        },
    }  # fmt: skip


def member_json(room: Room, member: Member) -> dict[str, Any]:
    """A participant as the API gives it."""
    sid = urllib.parse.quote(member.leg.sid)
    return {
        "account_sid": room.account_sid, "call_sid": member.leg.sid, "label": member.label or None,
        "call_sid_to_coach": None, "coaching": False, "conference_sid": room.sid, "date_created": _DATE,
        "date_updated": _DATE, "end_conference_on_exit": member.ends, "muted": member.muted,
        "hold": member.held, "start_conference_on_enter": member.starts, "status": "connected",
        "queue_time": "0",
        "uri": f"/2010-04-01/Accounts/{room.account_sid}/Conferences/{room.sid}/Participants/{sid}.json",
    }  # fmt: skip


async def _form(request: Request) -> dict[str, str]:
    return dict(parse_qsl((await request.body()).decode(), keep_blank_values=True))
