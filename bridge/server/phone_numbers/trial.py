"""One call from a number of the account to another one, both ends here: what the carrier does that no page
says. It is billed.

The caller's leg plays a tone, clears it, loses its stream, gets it again, plays keys and dials the number
once more; the called leg listens. What comes out is times, words and names of fields: no number, no id, no
token.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import json
import logging
import secrets
from base64 import b64decode, b64encode
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect
from twilio.twiml.voice_response import Dial, VoiceResponse

from bridge.codecs.audible import is_audible_block
from bridge.codecs.dtmf import FRAME_BYTES, KeyEar
from bridge.doubles.tones import tone
from bridge.errors import BridgeError, SignatureError
from bridge.server import twiml
from bridge.server.gates import Signatures
from bridge.server.new_calls import Ambiguous, NewCall, Placed, Refused
from bridge.server.phone_numbers.numbers import host
from bridge.server.routing.router import Router
from bridge.server.routing.table import RoutingTable
from bridge.server.twilio_rest import CarrierRest
from bridge.server.webhooks import proven_fields, served_path
from bridge.settings.settings import Settings
from bridge.simulators.servers import serve_app
from bridge.sockets.peers import is_loopback

logger = logging.getLogger(__name__)

FORMAT: Final = "phonebridge-trial-1"
KEYS: Final = "1w2"
MOST_S: Final = 60
COST: Final = (
    "it places one call of less than a minute and receives one, both billed by the carrier at your rates, "
    "and refuses another, which is free"
)


@dataclass(slots=True)
class Pace:
    """How long each part takes, in milliseconds."""

    tone_ms: int = 4_000
    mark_every_ms: int = 500
    clear_after_ms: int = 1_500
    marks_wait_ms: int = 2_000
    listen_ms: int = 1_000
    other_leg_ms: int = 5_000
    end_ms: int = 3_000


class TrialFailed(BridgeError):
    """The call was not placed, or came to no result."""


@dataclass
class Trial:
    """One such call. `run` places it and returns what was seen. `number` leads here."""

    settings: Settings
    rest: CarrierRest
    number: str
    from_: str
    signatures: Signatures
    pace: Pace = field(default_factory=Pace)
    seen: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._base = self.settings.public_url or ""
        self._tokens = {leg: secrets.token_urlsafe(12) for leg in ("a1", "a2", "b")}
        self._at: dict[str, float] = {}
        self._marks: list[float] = []
        self._heard: list[tuple[float, bytes]] = []
        self._keys_told: list[str] = []
        self._called: set[str] = set()
        self._listens, self._over = asyncio.Event(), asyncio.Event()
        self._after = 0

    def app(self) -> Starlette:
        """What the carrier asks."""
        steps: dict[str, Callable[[dict[str, str]], Response]] = {
            "/incoming-call": self._called_leg,
            "/trial/answer": self._answered,
            "/trial/after": self._after_stream,
            "/trial/dialled": self._dialled,
            "/trial/status": self._status,
            "/call-status": self._status,
            "/stream-status": self._status,
        }
        routes = [
            Route(path, self._proven(answer), methods=["POST", "GET"]) for path, answer in steps.items()
        ]
        return Starlette(routes=[*routes, WebSocketRoute("/media-stream", self._stream)])

    async def run(self) -> dict[str, Any]:
        """Place the call, and wait for its end. Raises TrialFailed."""
        wanted = NewCall(
            to=self.number,
            from_=self.from_,
            url=f"{self._base}/trial/answer",
            status_callback=f"{self._base}/trial/status",
            ring_s=20,
            time_limit_s=MOST_S,
        )
        self._now("placed")
        match await self.rest.create_call(wanted):
            case Placed():
                pass
            case Refused(meaning=meaning, advice=advice):
                raise TrialFailed(f"the carrier refuses the call: {meaning}; {advice.value}")
            case Ambiguous(why):
                raise TrialFailed(
                    f"it is unknown whether the call was placed ({why}): look in Twilio's console"
                )
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(MOST_S):
                await self._over.wait()
        if "a1" not in self._at:
            raise TrialFailed("the call came to no stream: see Twilio's debugger, and `phonebridge doctor`")
        await asyncio.sleep(self.pace.end_ms / 1000)
        return self.result()

    def result(self) -> dict[str, Any]:
        """What was seen, masked: to be contributed as it is."""
        cleared = self._at.get("cleared", float("inf"))
        return {
            "format": FORMAT,
            "day": dt.datetime.now(dt.UTC).date().isoformat(),
            "simulated": is_loopback(host(self.settings.rest_url or "")),
            "answered_ms": self._between("placed", "answered"),
            "called_leg_rang_ms": self._between("placed", "rang"),
            "marks_before_clear": sum(when < cleared for when in self._marks),
            "marks_after_clear_ms": [
                round((when - cleared) * 1000) for when in self._marks if when >= cleared
            ],
            "connect_action_ms": self._between("closed", "after_1"),
            "reconnect_start_ms": self._between("closed", "a2"),
            "reconnect_sound_ms": self._between("closed", "a2_sound"),
            "dial_action_ms": self._between("refused", "dialled"),
            "hang_up_action_ms": self._between("hung_up", "b_after"),
            "keys_told": self._keys_told,
            "keys_in_sound": self._keys_in_sound(),
            "truncation_error_ms": self._truncation_error_ms(),
            **self.seen,
        }

    # --- what the carrier asks ---------------------------------------------------------------------------

    def _proven(self, answer: Callable[[dict[str, str]], Response]) -> Callable[[Request], Any]:
        async def endpoint(request: Request) -> Response:
            try:
                fields = await proven_fields(request, self.signatures)
            except (SignatureError, ValueError):
                return Response(status_code=403)
            return answer(fields)

        return endpoint

    def _called_leg(self, fields: dict[str, str]) -> Response:
        """The number rings: the first time it listens, later it is busy."""
        call_sid = fields.get("CallSid", "")
        if self._called and call_sid not in self._called:
            self._now("refused")
            return _document(twiml.reject("busy"))
        self._called.add(call_sid)
        self._now("rang")
        return _document(self._connect("b"))

    def _answered(self, _fields: dict[str, str]) -> Response:
        self._now("answered")
        return _document(self._connect("a1"))

    def _after_stream(self, fields: dict[str, str]) -> Response:
        if fields.get("CallSid", "") in self._called:
            self._now("b_after")
            self.seen["hang_up_status"] = fields.get("CallStatus", "")
            return _document(twiml.hangup())
        self._after += 1
        self._now(f"after_{self._after}")
        if self._after == 1:
            return _document(self._connect("a2"))
        response = VoiceResponse()
        response.play(digits=KEYS)
        dialled = Dial(action=f"{self._base}/trial/dialled", method="POST", timeout=5, time_limit=10)
        dialled.number(self.number)
        return _document(str(response.append(dialled)))

    def _dialled(self, fields: dict[str, str]) -> Response:
        self._now("dialled")
        self.seen["dial_status"] = fields.get("DialCallStatus", "")
        self.seen["dial_fields"] = sorted(name for name in fields if name.startswith("Dial"))
        self._now("hung_up")
        asyncio.get_running_loop().call_later(self.pace.end_ms / 1000, self._over.set)
        return _document(twiml.hangup())

    def _status(self, fields: dict[str, str]) -> Response:
        over = fields.get("CallStatus") in ("completed", "busy", "failed", "no-answer", "canceled")
        if over and fields.get("CallbackSource") and fields.get("CallSid", "") not in self._called:
            self._over.set()
        return Response(status_code=204)

    def _connect(self, leg: str) -> str:
        links = twiml.Links.below(self._base)
        return twiml.connect(
            stream_url=links.media_stream,
            action_url=f"{self._base}/trial/after",
            status_url=links.stream_status,
            parameters={"leg": leg, "token": self._tokens[leg]},
        )

    # --- the streams -------------------------------------------------------------------------------------

    async def _stream(self, websocket: WebSocket) -> None:
        try:
            self.signatures.check_upgrade(served_path(websocket), websocket.headers)
        except SignatureError:
            await websocket.close()
            return
        await websocket.accept()
        with contextlib.suppress(WebSocketDisconnect, KeyError, ValueError, RuntimeError):
            while (start := json.loads(await websocket.receive_text()))["event"] != "start":
                pass
            given = start["start"]["customParameters"]
            leg = given["leg"]
            if not secrets.compare_digest(given["token"], self._tokens[leg]):
                await websocket.close(1008)
                return
            self._now(leg)
            if leg == "a1":
                await self._speak(websocket, start["streamSid"])
            elif leg == "a2":
                await self._come_back(websocket)
            else:
                await self._listen(websocket)

    async def _listen(self, websocket: WebSocket) -> None:
        self._listens.set()
        while True:
            message = json.loads(await websocket.receive_text())
            match message["event"]:
                case "media":
                    self._heard.append((_time(), b64decode(message["media"]["payload"])))
                case "dtmf":
                    self._keys_told.append(str(message["dtmf"]["digit"])[:1])

    async def _speak(self, websocket: WebSocket, stream: str) -> None:
        pace, sound = self.pace, tone(self.pace.tone_ms)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._listens.wait(), pace.other_leg_ms / 1000)
        marks = asyncio.create_task(self._keep_marks(websocket))
        self._now("spoke")
        for begins_ms in range(0, pace.tone_ms, pace.mark_every_ms):
            piece = sound[begins_ms * 8 : (begins_ms + pace.mark_every_ms) * 8]
            payload = b64encode(piece).decode()
            await websocket.send_json({"event": "media", "streamSid": stream, "media": {"payload": payload}})
            name = str(begins_ms + pace.mark_every_ms)
            await websocket.send_json({"event": "mark", "streamSid": stream, "mark": {"name": name}})
        await asyncio.sleep(pace.clear_after_ms / 1000)
        self._now("cleared")
        await websocket.send_json({"event": "clear", "streamSid": stream})
        await asyncio.sleep(pace.marks_wait_ms / 1000)
        marks.cancel()
        self._now("closed")
        await websocket.close(1000)

    async def _keep_marks(self, websocket: WebSocket) -> None:
        with contextlib.suppress(WebSocketDisconnect, RuntimeError):
            while True:
                message = json.loads(await websocket.receive_text())
                if message["event"] == "mark":
                    self._marks.append(_time())

    async def _come_back(self, websocket: WebSocket) -> None:
        while json.loads(await websocket.receive_text())["event"] != "media":
            pass
        self._now("a2_sound")
        await asyncio.sleep(self.pace.listen_ms / 1000)
        await websocket.close(1000)

    # --- times -------------------------------------------------------------------------------------------

    def _now(self, what: str) -> None:
        """It happens now, for the first time."""
        self._at.setdefault(what, _time())

    def _between(self, first: str, then: str) -> int | None:
        if first not in self._at or then not in self._at:
            return None
        return round((self._at[then] - self._at[first]) * 1000)

    def _keys_in_sound(self) -> str:
        """The keys that the called leg hears as tones, from when they were played."""
        ear, since = KeyEar(), self._at.get("after_2", float("inf"))
        frames = [sound for when, sound in self._heard if when >= since and len(sound) == FRAME_BYTES]
        return "".join(map(ear.hear, frames))

    def _truncation_error_ms(self) -> int | None:
        """What the clock here makes of how long the tone was heard, less what the called leg has heard of it;
        None where that leg heard nothing.
        """
        spoke, cleared = self._at.get("spoke"), self._at.get("cleared")
        if spoke is None or cleared is None:
            return None
        until = self._at.get("closed", cleared)
        heard_ms = sum(
            len(sound) // 8
            for when, sound in self._heard
            if spoke <= when <= until and is_audible_block(sound)
        )
        return None if heard_ms == 0 else round((cleared - spoke) * 1000) - heard_ms


def _document(text: str) -> Response:
    return Response(text, media_type=twiml.MEDIA_TYPE)


def _time() -> float:
    return asyncio.get_running_loop().time()


async def try_call(
    settings: Settings, table: RoutingTable, number: str, from_: str, pace: Pace | None = None
) -> dict[str, Any]:
    """One trial, served at HOST and PORT while it lasts. Raises TrialFailed, or ConfigError where the port is
    taken.
    """
    router = Router.of_settings(settings, table)
    rest = CarrierRest(settings, router=router)
    trial = Trial(settings, rest, number, from_, Signatures(settings, router), pace or Pace())
    with contextlib.closing(rest):
        async with serve_app(trial.app(), settings.port, settings.host):
            return await trial.run()
