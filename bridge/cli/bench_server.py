"""The server that `phonebridge bench` measures when no other is named: ours, in a process of its own."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
import tempfile
from collections.abc import AsyncIterator

from ..errors import BridgeError

READY_S = 20.0


class NotMeasured(BridgeError):
    """Not one call came about, or not one caller heard anything; the message says why."""


@contextlib.asynccontextmanager
async def our_server(upstream_url: str, **settings: str) -> AsyncIterator[str]:
    """`phonebridge serve` in a process of its own, while the block runs; gives its webhook."""
    ours = ("BRIDGE_", "TWILIO_", "OPENAI_", "PUBLIC_URL", "PORT", "HOST")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    environment |= {
        "BRIDGE_INSECURE": "1",
        "BRIDGE_UPSTREAM": "openai",
        "OPENAI_API_KEY": "none-is-needed",
        "BRIDGE_UPSTREAM_URL": upstream_url,
        "BRIDGE_DISCLOSURE": "0",
        "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
        **settings,
    }
    with tempfile.TemporaryDirectory() as folder:  # no .env of anybody's
        server = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "bridge", "serve", "--port", "0",
            env=environment, cwd=folder, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        try:
            try:
                webhook = await asyncio.wait_for(_ready(server), READY_S)
            except TimeoutError:
                raise NotMeasured(f"our server did not start within {READY_S:g} s") from None
            yield webhook
        finally:
            with contextlib.suppress(ProcessLookupError):
                server.terminate()
            await server.communicate()


async def _ready(server: asyncio.subprocess.Process) -> str:
    said = []
    while server.stderr is not None and (line := await server.stderr.readline()):
        said.append(line.decode(errors="replace"))
        _, ready, webhook = said[-1].partition("webhook ")
        if ready:
            return webhook.strip()
    raise NotMeasured(f"our server did not start: {''.join(said).strip()}")
