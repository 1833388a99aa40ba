"""Headless Chromium, driven over its own protocol: what a page shows, and what it asks for.

https://chromedevtools.github.io/devtools-protocol/
"""

from __future__ import annotations

import contextlib
import json
import shutil
import subprocess
import tempfile
import time
from base64 import b64decode
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from websockets.sync.client import connect

FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--hide-scrollbars",
    "--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-extensions",
    "--disable-dev-shm-usage", "--remote-debugging-port=0",
)  # fmt: skip
PATIENCE_S = 30
KEYS = {"Enter": (13, "\r"), " ": (32, " "), "Tab": (9, "")}


def chromium() -> str | None:
    """Where it is; None where it is not."""
    return shutil.which("chromium")


class Connection:
    """One end of the protocol: commands and their answers. Events that come meanwhile are noted."""

    def __init__(self, socket: Any) -> None:
        self._socket = socket
        self._count = 0

    def command(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Its answer."""
        self._count += 1
        self._socket.send(json.dumps({"id": self._count, "method": method, "params": parameters}))
        while True:
            message = json.loads(self._socket.recv(timeout=PATIENCE_S))
            if message.get("id") == self._count:
                assert "error" not in message, message
                result: dict[str, Any] = message["result"]
                return result
            self._event(message["method"], message["params"])

    def _event(self, method: str, parameters: dict[str, Any]) -> None:
        """The browser's own are of no interest."""


class Page(Connection):
    """One tab. `requests` are the URLs that it asked for, `complaints` what it wrote to the console,
    `dialogs` how many it opened.
    """

    def __init__(self, socket: Any) -> None:
        super().__init__(socket)
        self.requests: list[str] = []
        self.complaints: list[str] = []
        self.dialogs = 0
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.command(f"{domain}.enable")

    def _event(self, method: str, parameters: dict[str, Any]) -> None:
        if method == "Network.requestWillBeSent":
            self.requests.append(parameters["request"]["url"])
        elif method == "Network.webSocketCreated":
            self.requests.append(parameters["url"])
        elif method == "Runtime.exceptionThrown":
            self.complaints.append(parameters["exceptionDetails"]["text"])
        elif method == "Runtime.consoleAPICalled":
            self.complaints.append(" ".join(str(one.get("value")) for one in parameters["args"]))
        elif method == "Log.entryAdded":
            self.complaints.append(parameters["entry"]["text"])
        elif method == "Page.javascriptDialogOpening":
            self.dialogs += 1

    def before_each_page(self, script: str) -> None:
        """Run in every page to come, before any script of its own."""
        self.command("Page.addScriptToEvaluateOnNewDocument", source=script)

    def look(self, *, width: int = 1280, height: int = 1000, dark: bool = False, still: bool = False) -> None:
        """How large the window is, what colours its user likes, and whether they want it `still`."""
        self.command(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=False,
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        motion = {"name": "prefers-reduced-motion", "value": "reduce" if still else ""}
        self.command("Emulation.setEmulatedMedia", features=[scheme, motion])

    def open(self, file: Path) -> None:
        """Returns when the page says that it is drawn."""
        self.command("Page.navigate", url=file.as_uri())
        self.until("document.body && document.body.dataset.drawn === 'yes'")

    def visit(self, url: str) -> None:
        """Returns when whatever is at that address is there."""
        self.command("Page.navigate", url=url)
        self.until(f"location.href === {json.dumps(url)} && document.readyState === 'complete'")

    def value(self, expression: str) -> Any:
        """Of a JavaScript expression, awaited if it is a promise."""
        answer = self.command(
            "Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True
        )
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def until(self, expression: str) -> None:
        """Wait for it to be true."""
        due_s = time.monotonic() + PATIENCE_S
        while not self.value(expression):
            assert time.monotonic() < due_s, f"never came true: {expression}; {self.complaints}"
            time.sleep(0.02)

    def hover(self, x: float, y: float) -> None:
        self.command("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)

    def click(self, selector: str) -> None:
        """With the mouse, as a person does: a gesture, which lets a page make sound."""
        found = json.dumps(selector)
        box = self.value(
            f"(e => {{ e.scrollIntoView({{block: 'center'}}); const r = e.getBoundingClientRect();"
            f" return [r.x + r.width / 2, r.y + r.height / 2]; }})(document.querySelector({found}))"
        )
        for kind in ("mousePressed", "mouseReleased"):
            self.command(
                "Input.dispatchMouseEvent", type=kind, x=box[0], y=box[1], button="left", clickCount=1
            )

    def press(self, key: str, *, shift: bool = False) -> None:
        """A key of the keyboard, by the name that scripts know it by."""
        code, text = KEYS.get(key, (ord(key.upper()) if len(key) == 1 else 0, key if len(key) == 1 else ""))
        stroke = {"key": key, "windowsVirtualKeyCode": code, "modifiers": 8 if shift else 0}
        self.command("Input.dispatchKeyEvent", type="keyDown", text=text, **stroke)
        self.command("Input.dispatchKeyEvent", type="keyUp", **stroke)

    def screenshot(self) -> bytes:
        return b64decode(self.command("Page.captureScreenshot", format="png")["data"])


class Browser(Connection):
    """Chromium while it runs."""

    def __init__(self, socket: Any, port: int) -> None:
        super().__init__(socket)
        self._port = port

    @contextlib.contextmanager
    def tab(self, *, microphone: str = "") -> Iterator[Page]:
        """A tab with cookies, storage and permissions of its own. `microphone` is "granted" or "denied"."""
        context = self.command("Target.createBrowserContext")["browserContextId"]
        if microphone:
            permission = {"name": "microphone"}
            self.command(
                "Browser.setPermission", permission=permission, setting=microphone, browserContextId=context
            )
        target = self.command("Target.createTarget", url="about:blank", browserContextId=context)["targetId"]
        url = f"ws://127.0.0.1:{self._port}/devtools/page/{target}"
        try:
            with connect(url, max_size=None, proxy=None, ping_interval=None) as socket:
                yield Page(socket)
        finally:
            self.command("Target.disposeBrowserContext", browserContextId=context)


@contextlib.contextmanager
def running(*flags: str) -> Iterator[Browser]:
    """A browser of its own, which has no tab yet."""
    path = chromium()
    assert path is not None
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        process = subprocess.Popen(
            [path, *FLAGS, *flags, f"--user-data-dir={profile}", "about:blank"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            port, path = _listening(Path(profile, "DevToolsActivePort"))
            with connect(
                f"ws://127.0.0.1:{port}{path}", max_size=None, proxy=None, ping_interval=None
            ) as socket:
                yield Browser(socket, int(port))
        finally:
            process.terminate()
            process.wait(PATIENCE_S)


@contextlib.contextmanager
def browser(*flags: str) -> Iterator[Page]:
    """One tab in a browser of its own."""
    with running(*flags) as chrome, chrome.tab() as page:
        yield page


def _listening(port_file: Path) -> tuple[str, str]:
    """Its port and its path; the file is written when the browser listens."""
    due_s = time.monotonic() + PATIENCE_S
    while not (port_file.is_file() and len(lines := port_file.read_text().splitlines()) > 1):
        assert time.monotonic() < due_s, "the browser did not start"
        time.sleep(0.02)
    return lines[0], lines[1]
