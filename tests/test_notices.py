"""Other systems are told of calls: signed, in order, at least once, and never in a call's way."""

from __future__ import annotations

import http.server
import json
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from bridge.core import messages as m
from bridge.core.stats import Stats
from bridge.errors import ConfigError
from bridge.ops.notices import ALWAYS, ON_REQUEST, CallNotices, Outbox, outbox
from bridge.ops.notices.delivery import Address
from bridge.ops.notices.signing import headers
from bridge.ops.notices.spool import Notice, given_up, take_up
from bridge.settings import notice_values
from bridge.settings.settings import load_settings
from bridge.testing.call import begin

CALL = f"CA{1:032x}"
KEY = bytes(range(24))
TOOL = m.ToolWanted("call_1", "book", '{"card":"secret"}')


class Receiver(http.server.ThreadingHTTPServer):
    """Another system: it keeps what it is sent, and answers with the next of `answers`, at last with 204."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.got: list[tuple[dict[str, str], dict[str, Any]]] = []
        self.answers: list[tuple[int, dict[str, str]]] = []
        self.stalls = threading.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/hook?x=1"

    @property
    def ids(self) -> list[str]:
        return [headers["webhook-id"] for headers, _ in self.got]


class _Handler(http.server.BaseHTTPRequestHandler):
    server: Receiver

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        if self.server.stalls.is_set():
            time.sleep(3)
        self.server.got.append(({k.lower(): v for k, v in self.headers.items()}, json.loads(body)))
        status, more = self.server.answers.pop(0) if self.server.answers else (204, {})
        self.send_response(status)
        for name, value in more.items():
            self.send_header(name, value)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as server:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outbox, "AFTER_S", (0.02, 0.04, 0.06))


def to(receiver: Receiver, folder: Path | None = None, **more: Any) -> Outbox:
    made = Outbox([Address(receiver.url, [KEY], private=True)], folder, **more)
    made.start()
    return made


def until(true: Callable[[], object], seconds: float = 5.0) -> None:
    ends_s = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < ends_s
        time.sleep(0.005)


# --- what proves it


def test_a_signature_is_what_the_specification_s_own_library_makes() -> None:
    data = f'{{"call_sid":"{CALL}"}}'
    body = f'{{"type":"call.ended","timestamp":"2025-11-29T00:00:00Z","data":{data}}}'
    (key,) = notice_values.keys("whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYX")
    made = headers(
        "msg_CA00000000000000000000000000000001_ended", 1764374400, body.encode(), [key.get_secret_value()]
    )
    assert made["webhook-signature"] == "v1,6NvyT5hq+rwZCfjmnsgGkZjOX3KDnNT7PEyiYyodNlQ="


def test_while_keys_rotate_each_signs() -> None:
    made = headers("msg_1", 1, b"{}", [KEY, KEY[::-1]])
    assert made["webhook-signature"].count("v1,") == 2


# --- how it travels


def test_a_notice_arrives_signed_and_is_kept_no_longer(receiver: Receiver, tmp_path: Path) -> None:
    box = to(receiver, tmp_path)
    box.put("msg_1", CALL, '{"type":"call.started"}')
    until(lambda: receiver.got and not box.waiting)
    sent, body = receiver.got[0]
    assert body == {"type": "call.started"}
    assert (sent["webhook-id"], sent["content-type"]) == ("msg_1", "application/json")
    assert abs(int(sent["webhook-timestamp"]) - time.time()) < 5
    assert sent["webhook-signature"].startswith("v1,")
    assert not list(tmp_path.rglob("*.json"))
    box.close()


def test_a_receiver_that_fails_gets_it_again_and_calls_keep_their_order(receiver: Receiver) -> None:
    receiver.answers = [(500, {}), (302, {"location": "http://127.0.0.1:1/"}), (404, {})]
    counts: Counter[str] = Counter()
    box = to(receiver, count=lambda outcome: counts.update([outcome]))
    for number in range(4):
        box.put(f"a{number}", "CAa", "{}")
        box.put(f"b{number}", "CAb", "{}")
    until(lambda: counts["delivered"] == 8)
    assert (counts["failed"], box.waiting) == (3, 0)
    arrived = list(dict.fromkeys(reversed(receiver.ids)))[::-1]  # the last time that each came
    for call in "ab":
        assert [one for one in arrived if one[0] == call] == [f"{call}{number}" for number in range(4)]
    box.close()


def test_a_receiver_says_when_to_come_again(receiver: Receiver) -> None:
    receiver.answers = [(429, {"retry-after": "1"})]
    box = to(receiver)
    began_s = time.monotonic()
    box.put("msg_1", CALL, "{}")
    until(lambda: len(receiver.got) == 2)
    assert time.monotonic() - began_s > 0.95
    box.close()


def test_gone_switches_an_address_off(receiver: Receiver, tmp_path: Path) -> None:
    receiver.answers = [(410, {})]
    box = to(receiver, tmp_path)
    for number in range(3):
        box.put(f"msg_{number}", CALL, "{}")
    until(lambda: receiver.got and not box.waiting)
    time.sleep(0.1)
    assert len(receiver.got) == 1
    assert len(given_up(tmp_path)) >= 1
    box.close()


def test_what_was_given_up_is_taken_up_again_by_hand(receiver: Receiver, tmp_path: Path) -> None:
    receiver.answers = [(410, {})]
    box = to(receiver, tmp_path)
    box.put("msg_1", CALL, "{}")
    until(lambda: given_up(tmp_path))
    box.close()
    assert take_up(given_up(tmp_path)) == 1
    later = to(receiver, tmp_path)
    until(lambda: receiver.ids == ["msg_1", "msg_1"])
    later.close()


def test_a_process_that_was_killed_leaves_its_notices_to_the_next(receiver: Receiver, tmp_path: Path) -> None:
    program = (
        "import os, signal, sys, time; from pathlib import Path\n"
        "from bridge.ops.notices import Outbox; from bridge.ops.notices.delivery import Address\n"
        "box = Outbox([Address(sys.argv[1], private=True)], Path(sys.argv[2])); box.start()\n"
        "[box.put(f'msg_{n}', 'CA1', '{}') for n in range(50)]\n"
        "while len(list(Path(sys.argv[2]).rglob('*.json'))) < 50: time.sleep(0.01)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    receiver.answers = [(503, {})] * 1_000
    killed = subprocess.run(
        [sys.executable, "-c", program, receiver.url, str(tmp_path)], check=False, timeout=30
    )
    assert killed.returncode == -9
    receiver.answers = []
    receiver.got.clear()
    box = to(receiver, tmp_path)
    until(lambda: len(receiver.got) == 50)
    assert receiver.ids == [f"msg_{number}" for number in range(50)]
    box.close()


def test_beyond_the_bound_the_oldest_are_dropped_and_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outbox, "MOST", 10)
    counts: Counter[str] = Counter()
    address = Address("http://127.0.0.1:1/", private=True)  # refuses all connections
    box = Outbox([address], tmp_path, lambda outcome: counts.update([outcome]))
    box.start()
    for number in range(25):
        box.put(f"msg_{number}", CALL, "{}")
    until(lambda: counts["dropped"] == 15)
    assert (len(list(tmp_path.rglob("*.json"))), box.waiting) == (10, 10)
    box.close()


def test_without_room_on_the_disk_memory_holds_them(receiver: Receiver, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    receiver.answers = [(500, {})]
    box = to(receiver, tmp_path / "file")
    box.put("msg_1", CALL, "{}")
    until(lambda: receiver.ids == ["msg_1", "msg_1"])
    box.close()


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "localhost", "[::1]", "10.1.2.3", "169.254.169.254", "[fe80::1]"]
)
def test_a_private_network_is_never_spoken_to(host: str) -> None:
    answer = Address(f"http://{host}:9/").deliver(Notice("msg_1", CALL, 0.0, "{}"))
    assert answer.status == 0
    assert "private network" in str(answer) or "leads nowhere" in str(answer)


def test_putting_one_takes_no_time_whatever_the_receiver_does(receiver: Receiver, tmp_path: Path) -> None:
    receiver.stalls.set()
    box = to(receiver, tmp_path)
    began_s = time.monotonic()
    for number in range(1_000):
        box.put(f"msg_{number}", CALL, "{}")
    assert time.monotonic() - began_s < 0.5
    box.close(0.1)


# --- what is told


def told(*kinds: str) -> tuple[list[tuple[str, dict[str, Any]]], CallNotices]:
    sent: list[tuple[str, dict[str, Any]]] = []
    kept = {*ALWAYS, *kinds}
    return sent, CallNotices(
        lambda notice_id, _call, body: sent.append((notice_id, json.loads(body))), frozenset(kept)
    )


def test_a_call_is_told_with_the_words_that_were_heard() -> None:
    sent, notices = told(*ON_REQUEST)
    call = begin().at(500)
    call.model.speaks("We are open from nine to five, longer on Sundays.", 6_000)
    call.wait(1_000)
    call.caller.interrupts(words="Only on Sundays?")
    call.model.answers("Closed on Sundays.")
    call.wait(5_000)
    call.caller.hangs_up()
    call.wait(50)
    notices.call_began(CALL)
    for at_ms, action in call.rehearsal.said:
        notices.call_did(CALL, action, at_ms)
    assert call.rehearsal.ended is not None
    notices.call_ended(CALL, call.rehearsal.ended, Stats())
    notices.ended(CALL, {"turns": 1, "cost_usd": 0.0})
    assert sent[0][1]["type"] == "call.started"
    last_id, last = sent[-1]
    assert (last_id, last["type"], last["data"]["end"]) == (
        f"msg_{CALL}_ended",
        "call.ended",
        "caller_hung_up",
    )
    cut, asked, answer = last["data"]["transcript"]
    assert cut["generated"].startswith(cut["text"])
    assert (len(cut["text"]) < len(cut["generated"]), cut["cut_ms"]) == (True, 1_000)
    assert (asked["text"], answer["text"]) == ("Only on Sundays?", "Closed on Sundays.")
    assert [body["data"]["text"] for _, body in sent if body["type"] == "call.turn"] == [
        cut["text"], asked["text"], answer["text"]
    ]  # fmt: skip
    assert len({notice_id for notice_id, _ in sent}) == len(sent)


def test_turns_and_tools_are_told_on_request_alone() -> None:
    sent, notices = told()
    notices.call_began(CALL)
    notices.call_did(CALL, TOOL, 100)
    notices.tool_finished(CALL, "call_1")
    assert [body["type"] for _, body in sent] == ["call.started"]


def test_a_tool_is_told_by_name_and_time_without_its_arguments() -> None:
    sent, notices = told("tool.finished")
    notices.call_began(CALL)
    notices.call_did(CALL, TOOL, 100)
    notices.tool_finished(CALL, "call_1")
    notices.tool_finished(CALL, "call_1")
    (tool,) = [body["data"] for _, body in sent if body["type"] == "tool.finished"]
    assert (tool["name"], set(tool)) == ("book", {"call_sid", "name", "took_ms"})


def test_a_call_out_is_told_once_for_each_state() -> None:
    sent, notices = told()
    for state in ("queued", "ringing", "done"):
        notices.status("ref", state, {"id": "ref", "state": state, "call_sid": CALL})
    assert [(one, body["type"], body["data"]["call_sid"]) for one, body in sent] == [
        (f"msg_ref_status_{state}", "call.status", CALL) for state in ("queued", "ringing", "done")
    ]


def test_a_hook_is_told_of_everything() -> None:
    heard: list[str] = []
    notices = CallNotices(lambda *_: None, frozenset(), lambda _call, notice: heard.append(notice["type"]))
    notices.call_began(CALL)
    notices.call_did(CALL, m.Turn("item_1", "Hello."), 10)
    notices.call_ended(CALL, m.Ended(m.Reason.WE_HUNG_UP), Stats())
    notices.ended(CALL, {})
    assert heard == ["call.started", "call.turn", "call.ended"]


def test_the_settings_know_the_same_kinds() -> None:
    assert notice_values.ON_REQUEST == ON_REQUEST


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("BRIDGE_NOTICES", "http://example.com/x", "http address"),
        ("BRIDGE_NOTICES", "https://me:pass@example.com/", "host, path and query"),
        ("BRIDGE_NOTICES", "example.com", "not http or https"),
        ("BRIDGE_NOTICES_SECRET", "whsec_short", "BRIDGE_NOTICES_SECRET"),
        ("BRIDGE_NOTICES_ABOUT", "call.turn, call.everything", "call.everything"),
    ],
)
def test_a_wrong_setting_is_told(name: str, value: str, said: str) -> None:
    given: Any = {name: value}
    with pytest.raises(ConfigError, match=said) as told:
        load_settings(env_file=None, insecure=True, **given)
    assert "pass@" not in str(told.value)


def test_where_notices_lie_by_default(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As `serve` keeps them: beside the journal, and where there is none in memory."""
    from typer.testing import CliRunner

    from bridge.cli import app

    monkeypatch.chdir(tmp_path)
    for name in ("BRIDGE_JOURNAL", "BRIDGE_INSECURE", "PUBLIC_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("COLUMNS", "300")

    def listed(**chosen: str) -> str:
        with monkeypatch.context() as patched:
            for name, value in chosen.items():
                patched.setenv(name, value)
            found = CliRunner().invoke(app, ["notices", "ls"])
        return f"{found.output}{found.exception or ''}"

    assert f"in {tmp_path / 'state' / 'phonebridge' / 'notices'}" in listed(PUBLIC_URL="https://a.example")
    assert f"in {tmp_path / 'kept' / 'notices'}" in listed(BRIDGE_JOURNAL=str(tmp_path / "kept" / "x.jsonl"))
    assert "BRIDGE_JOURNAL is off" in listed(BRIDGE_JOURNAL="off")
    for simulated in ({"BRIDGE_INSECURE": "1"}, {"PUBLIC_URL": "http://127.0.0.1:5050"}):
        assert "calls are simulated here" in listed(**simulated)
    assert "the memory of" not in listed(BRIDGE_INSECURE="1", BRIDGE_JOURNAL=str(tmp_path / "x.jsonl"))
