"""Pages in the developer's browser, and an insecure bridge on the same machine: Chromium itself tries."""

from __future__ import annotations

import asyncio
import contextlib
import json
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from ..browser import Page, browser, chromium
from . import kit

pytestmark = [
    pytest.mark.hostile,
    pytest.mark.skipif(chromium() is None, reason="there is no chromium here"),
]

EVIL = "evil.example"
RESOLVER = f"--host-resolver-rules=MAP {EVIL} 127.0.0.1"

STREAM = """new Promise(done => {
    const socket = new WebSocket(%s);
    socket.onopen = () => %s.forEach(message => socket.send(JSON.stringify(message)));
    socket.onmessage = message => { if (JSON.parse(message.data).event === 'media') done('heard'); };
    socket.onclose = () => done('refused');
    setTimeout(() => done('silence'), 5000);
})"""
# A form needs nobody's leave to be sent across sites; only its answer is kept from the page.
FORM = """fetch(%s, {method: 'POST', mode: 'no-cors', body: new URLSearchParams({CallSid: %s})})
    .then(answer => answer.type === 'opaque' ? 'sent' : String(answer.status))"""
IMAGE = (
    "new Promise(done => { const i = new Image(); i.onerror = i.onload = () => done('sent'); i.src = %s; })"
)


def stream(base: str) -> str:
    """What a page does to open the media stream and be served: 'heard', 'refused' or 'silence'."""
    sid = kit.call_sid()
    start = {"accountSid": kit.ACCOUNT, "streamSid": "MZ1", "callSid": sid, "tracks": ["inbound"]}
    start |= {"mediaFormat": {"encoding": "audio/x-mulaw", "sampleRate": 8000, "channels": 1}}  # type: ignore[dict-item]
    messages = [
        {"event": "connected", "protocol": "Call", "version": "1.0.0"},
        {
            "event": "start",
            "sequenceNumber": "1",
            "streamSid": "MZ1",
            "start": {**start, "customParameters": {}},
        },
    ]
    return STREAM % (json.dumps(f"ws{base.removeprefix('http')}/media-stream"), json.dumps(messages))


def form(base: str) -> str:
    return FORM % (json.dumps(f"{base}/incoming-call"), json.dumps(kit.call_sid()))


def image(base: str) -> str:
    return IMAGE % json.dumps(f"{base}/incoming-call?CallSid={kit.call_sid()}")


@contextlib.contextmanager
def somebody_s_site(folder: Path) -> Iterator[int]:
    """A web server of its own, on a port of its own."""

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()


def _tries(port: int, folder: Path) -> dict[str, list[str]]:
    """What pages of four origins reach: by socket, by form, by image."""
    page = folder / "index.html"
    page.write_text("<!doctype html><title>a page</title>")
    ours = f"http://127.0.0.1:{port}"
    found: dict[str, list[str]] = {}
    with somebody_s_site(folder) as site, browser(RESOLVER) as tab:

        def tried(url: str, base: str) -> list[str]:
            tab.visit(url)
            return [_value(tab, what(base)) for what in (stream, form, image)]

        found["another site"] = tried(f"http://{EVIL}:{site}/index.html", ours)
        found["another port"] = tried(f"http://localhost:{site}/index.html", f"http://localhost:{port}")
        found["a file"] = tried(page.as_uri(), ours)
        rebound = f"http://{EVIL}:{port}"  # as it is when the name's address has changed meanwhile
        found["a rebound name"] = tried(f"{rebound}/healthz", rebound)
        tab.visit(f"{ours}/healthz")
        found["our own"] = [_value(tab, stream(ours))]
    return found


def _value(tab: Page, expression: str) -> str:
    return str(tab.value(expression))


def test_no_page_but_our_own_opens_a_stream_or_rings_anybody(tmp_path: Path) -> None:
    async def main() -> None:
        async with kit.Model() as model, kit.bridge(model, BRIDGE_INSECURE="1") as bridge:
            found = await asyncio.to_thread(_tries, bridge.port, tmp_path)
            for page in ("another site", "another port", "a file", "a rebound name"):
                assert found[page][0] == "refused", page
            assert found["a rebound name"][1] == "403"  # to the browser it is one site with us
            assert found["our own"] == ["heard"]
            # Four pages with three tries each, and the model was dialled for none of them.
            assert len(model.sessions) == 1
            assert bridge.log.count("webhook refused") >= 1

    asyncio.run(asyncio.wait_for(main(), 90))
