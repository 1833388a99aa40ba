"""A webhook with a name and a password before its host: they go in a header, and into no message."""

from __future__ import annotations

import asyncio
import base64
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from twilio.request_validator import RequestValidator

from bridge.simulators.carrier import CarrierSimulator, WebhookFailed

ASKED: list[tuple[str, str, str]] = []


class _Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        ASKED.append((self.headers["Authorization"], self.headers["X-Twilio-Signature"], body))
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"<Response><Say>Hello.</Say></Response>")

    def log_message(self, *_args: object) -> None:
        pass


def test_a_webhook_with_a_password_is_asked() -> None:
    with HTTPServer(("127.0.0.1", 0), _Handler) as server:
        threading.Thread(target=server.handle_request).start()
        place = f"127.0.0.1:{server.server_port}/incoming-call"
        carrier = CarrierSimulator(auth_token="token")
        with pytest.raises(WebhookFailed, match="without <Connect>") as caught:
            asyncio.run(carrier.ring(f"http://me:p%40ss@{place}"))
    assert "p%40ss" not in str(caught.value)
    [(proof, signature, _body)] = ASKED
    assert base64.b64decode(proof.removeprefix("Basic ")) == b"me:p@ss"
    signed = {**carrier.form(), "CallStatus": "ringing"}
    assert RequestValidator("token").validate(f"http://{place}", signed, signature)
