"""The carrier's other half, simulated: posts the webhook, follows the TwiML, opens the stream.

What Twilio does around a media stream, over loopback or against any server: sign the request, fetch the
document, connect to the `<Stream>` with its `<Parameter>`s, ask the `<Connect action>` what comes next when
the stream is over.
"""

from __future__ import annotations

import asyncio
import base64
import http.client
import secrets
import urllib.error
import urllib.parse
import urllib.request
import xml.etree.ElementTree as ET
from collections.abc import Callable
from dataclasses import dataclass, field

from twilio.request_validator import RequestValidator

from bridge.doubles.phone import Phone, PhoneOptions
from bridge.errors import BridgeError, BrokenInvariant, ConfigError
from bridge.simulators.servers import Simulation, connect_phone
from bridge.sockets.urls import opener

WEBHOOK_S = 15.0
"""Twilio, "Webhooks: connection overrides": a webhook has 15 seconds in all."""


class WebhookFailed(BridgeError):
    """The webhook did not answer with a document that can be followed; the message says what came instead."""


@dataclass(slots=True)
class CarrierSimulator:
    """One simulated caller: ids, the number it calls, the token its carrier signs with, what it says. Each
    handset calls once: a CallSid that comes again is a replay to a server that checks.
    """

    speech: bytes = b""
    call_sid: str = field(default_factory=lambda: f"CA{secrets.token_hex(16)}")
    account_sid: str = f"AC{1:032x}"
    caller: str = "+15550001111"
    called: str = "+15550002222"
    direction: str = "inbound"
    parent_call_sid: str | None = None
    """The leg that dialled this one."""
    auth_token: str | None = None
    public_url: str | None = None
    """The base that the signature is made for, when it is not the address that is dialled (a proxy in
    between)."""
    options: PhoneOptions = field(default_factory=PhoneOptions)
    make: Callable[..., Phone] = Phone

    async def call(self, url: str) -> Simulation:
        """Place a call to an http(s) webhook or straight to a ws(s) stream; returns when the stream is up.

        Raises `ConfigError` for an address that is neither, `WebhookFailed` if the webhook gives no stream,
        `DialError` if the stream is refused.
        """
        return await self.open(*await self.ring(url))

    async def ring(self, url: str) -> tuple[str, dict[str, str]]:
        """Ring there; returns the URL of the stream that is to be opened, and its `<Parameter>`s. Raises as
        `call` does.
        """
        scheme = urllib.parse.urlsplit(url).scheme
        if scheme in ("ws", "wss"):
            return url, {}
        if scheme not in ("http", "https"):
            raise ConfigError(f"{url} cannot be called: an address begins with http(s):// or ws(s)://")
        document = await self.webhook(url, {"CallStatus": "ringing"})
        stream = document.find("./Connect/Stream")
        if stream is None:
            said = " ".join(document.itertext()).strip()
            url, _ = _without_password(url)
            raise WebhookFailed(
                f"{url} answered without <Connect><Stream>: {said or ET.tostring(document).decode()}"
            )
        parameters = {p.get("name", ""): p.get("value", "") for p in stream.iterfind("Parameter")}
        return stream.get("url", ""), parameters

    def stream_headers(self, url: str) -> dict[str, str]:
        """What the carrier sends with the stream's handshake: its signature, over the `wss://` URL."""
        return self._signature(self._public(url, "ws"), {})

    async def open(
        self, url: str, parameters: dict[str, str], *, stream_sid: str = f"MZ{1:032x}", spoken_ms: int = 0
    ) -> Simulation:
        """Open the stream as the carrier would: signed over its `wss://` URL. `spoken_ms` of the speech have
        been said before.
        """
        speech = self.speech[spoken_ms * 8 :]
        phone = self.make(
            self.call_sid, self.account_sid, stream_sid, parameters, speech, options=self.options
        )
        return await connect_phone(url, phone, self.stream_headers(url))

    async def webhook(self, url: str, fields: dict[str, str], method: str = "POST") -> ET.Element:
        """Send a signed form; returns the TwiML. Raises `WebhookFailed` for anything else."""
        body = await self.post(url, fields, method)
        try:
            return ET.fromstring(body)  # noqa: S314  our own simulator reads the server under test
        except ET.ParseError as error:
            url, _ = _without_password(url)
            raise WebhookFailed(f"{url} answered with something that is no TwiML: {error}") from error

    async def post(self, url: str, fields: dict[str, str], method: str = "POST") -> bytes:
        """Send a signed form, by GET in the query; returns whatever came. Raises `WebhookFailed` if that was
        no success.
        """
        return await self.send(url, {**self.form(), **fields}, method)

    async def send(self, url: str, form: dict[str, str], method: str = "POST") -> bytes:
        """The same of a form that is whole. A name and a password before the host are sent as Basic
        credentials, and are not signed.
        """
        url, proof = _without_password(url)
        if method == "GET":
            # Twilio, "Security": of a GET "the full URL, including its query parameters" is signed.
            url = f"{url}{'&' if '?' in url else '?'}{urllib.parse.urlencode(form)}"
            headers = self._signature(self._public(url, "http"), {}) | proof
            return await asyncio.to_thread(_post, url, None, headers)
        headers = self._signature(self._public(url, "http"), form) | proof
        return await asyncio.to_thread(_post, url, form, headers)

    def form(self) -> dict[str, str]:
        """What every request about this call says of it."""
        parent = {} if self.parent_call_sid is None else {"ParentCallSid": self.parent_call_sid}
        return {
            "CallSid": self.call_sid, "AccountSid": self.account_sid, "ApiVersion": "2010-04-01",
            "From": self.caller, "Caller": self.caller, "To": self.called, "Called": self.called,
            "Direction": self.direction, **parent,
        }  # fmt: skip

    def _signature(self, url: str, form: dict[str, str]) -> dict[str, str]:
        if self.auth_token is None:
            return {}
        return {"X-Twilio-Signature": RequestValidator(self.auth_token).compute_signature(url, form)}

    def _public(self, url: str, scheme: str) -> str:
        """The URL as the carrier knows it."""
        if self.public_url is None:
            return url
        base, parts = urllib.parse.urlsplit(self.public_url), urllib.parse.urlsplit(url)
        query = f"?{parts.query}" if parts.query else ""
        return f"{scheme}{base.scheme.removeprefix('http')}://{base.netloc}{parts.path}{query}"


def _without_password(url: str) -> tuple[str, dict[str, str]]:
    """The address without a name and a password, and the header that has them instead (RFC 7617)."""
    parts = urllib.parse.urlsplit(url)
    given, _, host = parts.netloc.rpartition("@")
    if not given:
        return url, {}
    basic = base64.b64encode(urllib.parse.unquote_to_bytes(given)).decode()
    return urllib.parse.urlunsplit(parts._replace(netloc=host)), {"Authorization": f"Basic {basic}"}


def _why(error: Exception) -> str:
    """What went wrong, and what to do about the mistake that is made most."""
    reason = getattr(error, "reason", error)
    if isinstance(reason, ConnectionRefusedError):
        return "nothing listens there; is `phonebridge serve` running, at this port?"
    return (isinstance(reason, OSError) and reason.strerror) or str(reason)


REFUSED = "is it signed with the server's TWILIO_AUTH_TOKEN, for its PUBLIC_URL? The server's log says why"


def _post(url: str, form: dict[str, str] | None, headers: dict[str, str]) -> bytes:
    # Twilio, "Webhooks: connection overrides": once more if no connection came about (rc=1, rp=ct). A server
    # that dies between taking a connection and its first byte counts as that here: in the field its TLS
    # handshake would not have come about either.
    for last in (False, True):
        try:
            content = None if form is None else urllib.parse.urlencode(form).encode()
            request = urllib.request.Request(url, content, headers)  # noqa: S310
            with opener(url).open(request, timeout=WEBHOOK_S) as answer:
                return bytes(answer.read())
        except urllib.error.HTTPError as error:
            said = error.read(300).decode(errors="replace").strip()
            said = said or (REFUSED if error.code == 403 else error.reason)
            raise WebhookFailed(f"{url} answered {error.code}: {said}") from error
        except (OSError, http.client.HTTPException, ValueError) as error:
            if last or not isinstance(error, urllib.error.URLError | ConnectionError):
                raise WebhookFailed(f"{url} could not be asked: {_why(error)}") from error
    raise BrokenInvariant("the second attempt returns or raises")
