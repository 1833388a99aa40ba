"""Finished calls in the console: found, heard, and one cursor over sound, lanes, words and answers."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import uvicorn

from bridge.codecs.g711 import pcmu_to_pcm
from bridge.recording.channels import channels
from bridge.server import routes, service
from bridge.settings.settings import load_settings

from ..browser import Browser, Page, chromium, running
from ..picture.calls import busy, titled
from ..test_outcomes import lines_of, off_by
from .axe import violations

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(chromium() is None, reason="there is no chromium here"),
]
TOKEN = "k" * 40
SIGN_IN = (
    "fetch('console/session', {method: 'POST', body: JSON.stringify({token: '" + TOKEN + "'}), headers:"
    " {'content-type': 'application/json', 'x-bridge-console': '1'}}).then((one) => one.status)"
)
UPSTREAM = "ws://127.0.0.1:1/v1/realtime"
HEARD = "20261129T140300Z-00000009"
PICTURES = Path(__file__).parents[2] / "build" / "pages"
HOSTILE = "<img src=x onerror=alert(1)>"
LANES = "document.querySelector('.recorded-lanes').lanes"


@pytest.fixture(scope="module")
def heard() -> list[str]:
    return busy(8, sound=True)


@pytest.fixture(scope="module")
def base(heard: list[str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("finished")
    hostile = [line.replace("Stop, I want number 0.", HOSTILE) for line in heard]
    off = titled(off_by(160, lines_of("barge-in-two-items")), at="2026-11-28T14:03:00+00:00", caller="+1…77")
    for name, lines in ((HEARD, hostile), ("20261128T140300Z-00000001", off)):
        (folder / f"{name}.call.jsonl").write_text("\n".join([*lines, ""]), encoding="utf-8")
    (folder / "20261127T000000Z-torn.call.jsonl").write_text("{", encoding="utf-8")
    settings = load_settings(
        env_file=None, insecure=True, upstream_url=UPSTREAM, console_token=TOKEN, recordings=str(folder)
    )
    app = routes.create_app(settings, service.make_registry(settings, upstream_url=UPSTREAM))
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=0, log_level="error", lifespan="off"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    server.should_exit = server.force_exit = True
    thread.join(10)


@pytest.fixture(scope="module")
def chrome() -> Iterator[Browser]:
    with running("--autoplay-policy=no-user-gesture-required") as browser:
        yield browser


@pytest.fixture
def page(chrome: Browser, base: str) -> Iterator[Page]:
    with chrome.tab() as page:
        page.look(width=1_440, height=900, still=True)
        page.visit(f"{base}/console")
        assert page.value(SIGN_IN) == 200
        yield page


def go(page: Page, base: str, where: str, until: str) -> None:
    page.visit("about:blank")
    page.visit(f"{base}/console#/finished{where}")
    page.until(until)


ROWS = "document.querySelectorAll('.finished-list .call-row').length"
OPEN = f"document.querySelector('.recorded-lanes')?.lanes && {LANES}.things.length > 10"


def test_calls_are_found_by_what_went_wrong_and_by_words(page: Page, base: str) -> None:
    go(page, base, "", f"{ROWS} === 3")
    assert "truncated" in page.value("document.querySelector('.call-row .words.bad').textContent")
    page.click(".finished-head button[aria-pressed]")
    page.until(f"{ROWS} === 1")
    assert "160 ms" in page.value("document.querySelector('.call-row').textContent")
    page.click(".finished-head button[aria-pressed]")
    page.until(f"{ROWS} === 3")
    page.press("/")
    for key in "desk":
        page.press(key)
    page.until(f"{ROWS} === 2")
    page.value("document.activeElement.blur()")
    page.press("j")
    page.press("Enter")
    page.until(OPEN)
    page.press("Escape")
    page.until(f"{ROWS} > 0")
    assert page.dialogs == 0


MADE = "[...document.querySelectorAll('.made-test a.button')].map((one) => one.download)"


def test_a_moment_is_made_a_test(page: Page, base: str, tmp_path: Path) -> None:
    go(page, base, f"/{HEARD}", OPEN)
    page.press("n")  # to the barge-in
    page.value("document.querySelector('.make-test input').value = 'no-cut'")
    page.click(".make-test button")
    page.until(f"{MADE}.length === 2")
    recording, test = page.value(MADE)
    assert recording.endswith(".call.jsonl")
    assert test.startswith("test_")
    assert "phonebridge make-test" in page.value("document.querySelector('.made-test code').textContent")
    page.command("Page.setDownloadBehavior", behavior="allow", downloadPath=str(tmp_path))
    page.click(".made-test a.button:last-child")
    for _ in range(100):
        if (tmp_path / test).exists():
            break
        time.sleep(0.05)
    assert "not_cut(" in (tmp_path / test).read_text(encoding="utf-8")
    page.value("document.querySelector('.make-test input').value = 'magic'")
    page.click(".make-test button")
    page.until("document.querySelector('.made-test .bad') !== null")
    assert "--should wants" in page.value("document.querySelector('.made-test .bad').textContent")


def onset_ms(track: bytes, near_ms: int) -> int:
    """When sound begins after a silence, within a second of that moment, by its loudness."""
    loud = np.abs(np.frombuffer(pcmu_to_pcm(track), "<i2").astype(int)).reshape(-1, 8).max(axis=1) > 600
    for at_ms in range(max(100, near_ms - 1_000), near_ms + 1_000):
        if loud[at_ms] and not loud[at_ms - 60 : at_ms].any():
            return at_ms
    raise AssertionError(f"no sound begins near {near_ms} ms")


# At a frame of the screen, after the page has drawn it: a busy machine draws fewer.
STATE = (
    "new Promise((told) => requestAnimationFrame(() => { const p = document.querySelector('audio');"
    f" told([p.currentTime * 1000, {LANES}.cursorMs,"
    " document.querySelector('.said.now .time')?.getAttribute('aria-label') ?? '', performance.now()]); }))"
)


def test_one_cursor_over_sound_lanes_and_words(page: Page, base: str, heard: list[str]) -> None:
    page.look(width=1_440, height=900, still=False)
    go(page, base, f"/{HEARD}", OPEN)
    page.until("document.querySelector('audio').readyState >= 3")
    both = channels(heard)
    assert abs(page.value("document.querySelector('audio').duration") * 1_000 - len(both.heard) / 8) < 10
    # A line of the model's: where its sound begins is measured in the recording, by loudness.
    click = "document.querySelectorAll('.said.agent .time')[4].click()"
    said_ms = page.value(
        "(() => { const [m, s] = document.querySelectorAll('.said.agent .time')[4].textContent.split(':');"
        " return m * 60000 + s * 1000; })()"
    )
    page.value(click)
    page.until("!document.querySelector('audio').seeking")
    began_ms = onset_ms(both.heard, round(said_ms))
    sound_ms, cursor_ms, words, _ = page.value(STATE)
    assert abs(sound_ms - began_ms) <= 50
    assert abs(cursor_ms - began_ms) <= 50
    assert words == page.value("document.querySelectorAll('.said.agent .time')[4].getAttribute('aria-label')")
    # Two seconds of it are played: all go on together.
    page.press(" ")
    page.until(f"document.querySelector('audio').currentTime * 1000 > {sound_ms} + 100")
    first = page.value(STATE)
    time.sleep(2)
    later = page.value(STATE)
    page.press(" ")
    assert later[0] - first[0] == pytest.approx(later[3] - first[3], abs=50)
    for sound_ms, cursor_ms, words, _ in (first, later):
        assert cursor_ms == pytest.approx(sound_ms, abs=50)
        lines = page.value(
            "[...document.querySelectorAll('.said .time')].map((one) => one.getAttribute('aria-label'))"
        )
        begins = page.value(
            "[...document.querySelectorAll('.said .time')].map((one) => { const [m, s] ="
            " one.textContent.split(':'); return m * 60000 + s * 1000; })"
        )
        now = [label for label, at_ms in zip(lines, begins, strict=True) if at_ms <= sound_ms + 50]
        assert words in now[-2:]
    # A click into the lanes, and one on the loudness, lead everything elsewhere.
    page.value(f"{LANES}.told.onSeek(41200)")
    page.until("!document.querySelector('audio').seeking")
    sound_ms, cursor_ms, *_ = page.value(STATE)
    assert (round(sound_ms), round(cursor_ms)) == (41_200, 41_200)
    page.click(".player canvas")
    page.until("!document.querySelector('audio').seeking")
    sound_ms, cursor_ms, *_ = page.value(STATE)
    assert sound_ms == pytest.approx(len(both.heard) / 16, abs=200)
    assert cursor_ms == pytest.approx(sound_ms, abs=50)
    assert [one for one in page.complaints if "violates" in one or "Uncaught" in one] == []
    assert page.dialogs == 0


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", [390, 1_024, 1_440])
def test_they_break_no_rule_and_fit(page: Page, base: str, width: int, dark: bool) -> None:
    PICTURES.mkdir(parents=True, exist_ok=True)
    page.look(width=width, height=900, dark=dark, still=True)
    colour = "dark" if dark else "light"
    for name, where, until in (("list", "", f"{ROWS} === 3"), ("call", f"/{HEARD}", OPEN)):
        go(page, base, where, until)
        time.sleep(0.4)
        (PICTURES / f"console-finished-{name}-{width}-{colour}.png").write_bytes(page.screenshot())
        assert page.value("document.documentElement.scrollWidth") <= width
        assert violations(page) == []
    if width == 390:
        page.click(".recorded .tabs button:nth-child(2)")
        page.until("document.querySelector('.recorded-lanes').clientWidth > 300")
        time.sleep(0.3)
        (PICTURES / f"console-finished-timeline-{width}-{colour}.png").write_bytes(page.screenshot())
        assert violations(page) == []


def test_the_picture_draws_under_a_policy_that_lets_nothing_else_run(page: Page, base: str) -> None:
    page.complaints.clear()
    page.requests.clear()
    url = f"{base}/console/finished/{HEARD}/picture"
    page.visit(url)
    page.until("document.body.dataset.drawn === 'yes'")
    assert page.value("document.querySelectorAll('#chart .bar').length") > 10
    assert page.value("document.querySelectorAll('.falls svg rect').length") > 0
    assert page.value("document.querySelector('.talk .caller p').textContent") == HOSTILE
    assert {one for one in page.requests if "favicon" not in one} == {url}
    assert [one for one in page.complaints if "favicon" not in one] == []
    assert page.dialogs == 0
