"""Ending calls and sending them on by REST, against an API on loopback that can fail in every way."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import logging
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs

import pytest

from bridge.server import twilio_rest as carrier_rest
from bridge.server.twilio_rest import CarrierRest, Outcome, Standing
from bridge.settings.settings import Settings

ACCOUNT = "AC" + "0" * 32
CALL = "CA" + "1" * 32
NUMBER = "+15550001111"
OK = (200, {"sid": CALL, "status": "completed"})
GONE = (404, {"code": 20404, "message": "The requested resource was not found", "status": 404})
NOT_LIVE = (400, {"code": 21220, "message": "Call is not in-progress. Cannot redirect.", "status": 400})
UNKNOWN_TOKEN = (401, {"code": 20003, "message": "Authenticate", "status": 401})
FAULT = (503, {"code": 20503, "message": "Service unavailable", "status": 503})

Answer = tuple[int, Any]


@dataclass
class Api:
    """What was asked of it, and what it answers: the scripted answers first, then `always`."""

    url: str = ""
    script: list[Answer] = field(default_factory=list)
    always: Answer = OK
    delay_s: float = 0.0
    asked: list[tuple[str, str, dict[str, str]]] = field(default_factory=list)
    at_once: int = 0
    most_at_once: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def answer(self, user: str, path: str, form: dict[str, str]) -> Answer:
        with self.lock:
            self.asked.append((user, path, form))
            self.at_once += 1
            self.most_at_once = max(self.most_at_once, self.at_once)
            answer = self.script.pop(0) if self.script else self.always
        time.sleep(self.delay_s)
        with self.lock:
            self.at_once -= 1
        return answer


@pytest.fixture
def api(monkeypatch: pytest.MonkeyPatch) -> Iterator[Api]:
    api = Api()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            user = base64.b64decode(self.headers["Authorization"].removeprefix("Basic ")).decode()
            body = self.rfile.read(int(self.headers["Content-Length"])).decode()
            form = {name: values[0] for name, values in parse_qs(body).items()}
            self.give(*api.answer(user, self.path, form))

        def do_GET(self) -> None:
            user = base64.b64decode(self.headers["Authorization"].removeprefix("Basic ")).decode()
            self.give(*api.answer(user, self.path, {}))

        def give(self, status: int, payload: Any) -> None:
            raw = payload.encode() if isinstance(payload, str) else json.dumps(payload).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(raw)))
            self.end_headers()
            self.wfile.write(raw)

        def log_message(self, *_args: object) -> None:
            pass

    monkeypatch.setattr(carrier_rest, "RETRY_S", 0.001)
    # Neither a proxy nor a region of the vendor's may come between.
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("TWILIO_REGION", "ie1")
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        api.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield api
        server.shutdown()
        thread.join()


def settings(api: Api | None, **more: Any) -> Settings:
    wanted = {
        "public_url": "http://127.0.0.1:5050",
        "twilio_account_sid": ACCOUNT,
        "twilio_auth_token": "old",
        "twilio_api_url": api.url if api else None,
        "transfers": f"billing={NUMBER}",
    }
    return Settings(_env_file=None, demo=True, **{**wanted, **more})


def run(rest: CarrierRest, *requests: tuple[str, ...]) -> list[Outcome]:
    """Do all of it at once: (`hang_up`, call) or (`transfer`, call, name)."""

    async def everything() -> list[Outcome]:
        return await asyncio.gather(*(getattr(rest, name)(*given) for name, *given in requests))

    try:
        return asyncio.run(everything())
    finally:
        rest.close()


def hang_up(api: Api, **more: Any) -> Outcome:
    (outcome,) = run(CarrierRest(settings(api, **more), chance=lambda: 0.0), ("hang_up", CALL))
    return outcome


# -- what is asked


def test_a_call_is_hung_up(api: Api) -> None:
    assert hang_up(api) is Outcome.DONE
    path = f"/2010-04-01/Accounts/{ACCOUNT}/Calls/{CALL}.json"
    assert api.asked == [(f"{ACCOUNT}:old", path, {"Status": "completed"})]


def test_a_call_is_sent_to_a_target_by_its_name(api: Api) -> None:
    rest = CarrierRest(
        settings(api), action_url=lambda call: f"https://voice.example.com/after-stream?of={call}"
    )
    assert run(rest, ("transfer", CALL, "billing")) == [Outcome.DONE]
    ((_, _, form),) = api.asked
    assert list(form) == ["Twiml"]
    assert f'timeout="30"><Number>{NUMBER}</Number></Dial></Response>' in form["Twiml"]
    assert f'action="https://voice.example.com/after-stream?of={CALL}"' in form["Twiml"]
    assert len(form["Twiml"]) < 4000


@pytest.mark.parametrize("name", ["", "attic", NUMBER, "+19005550111", "billing\n", "911"])
def test_a_name_that_is_not_configured_is_dialled_by_nobody(api: Api, name: str) -> None:
    assert run(CarrierRest(settings(api)), ("transfer", CALL, name)) == [Outcome.UNKNOWN_TARGET]
    assert api.asked == []


def test_the_account_may_come_with_the_call(api: Api) -> None:
    rest = CarrierRest(settings(api, twilio_account_sid=None))
    other = "AC" + "9" * 32
    assert run(rest, ("hang_up", CALL, other)) == [Outcome.DONE]
    assert api.asked[0][:2] == (f"{other}:old", f"/2010-04-01/Accounts/{other}/Calls/{CALL}.json")


def test_the_call_of_a_subaccount_is_ended_there_with_the_main_account_s_credentials(api: Api) -> None:
    sub = "AC" + "9" * 32
    assert run(CarrierRest(settings(api)), ("hang_up", CALL, sub)) == [Outcome.DONE]
    assert api.asked[0][:2] == (f"{ACCOUNT}:old", f"/2010-04-01/Accounts/{sub}/Calls/{CALL}.json")


@pytest.mark.parametrize("call", ["", "../Recordings", "CA1/../..", "CA1?x=1", "CA1 ", "CÄ1", "CA1\n"])
def test_an_id_that_could_be_a_path_is_none(api: Api, call: str) -> None:
    assert run(CarrierRest(settings(api)), ("hang_up", call)) == [Outcome.REFUSED]
    assert api.asked == []


# -- what is achieved


@pytest.mark.parametrize("answer", [GONE, NOT_LIVE])
def test_a_call_that_is_over_already_is_hung_up(api: Api, answer: Answer) -> None:
    api.always = answer
    outcome = hang_up(api)
    assert outcome is Outcome.ALREADY_OVER
    assert outcome.achieved
    assert len(api.asked) == 1


@pytest.mark.parametrize(
    "answer",
    [
        (404, "<html>nginx</html>"),
        (404, {"code": 20003}),
        (400, {"code": 21211, "message": f"The number {NUMBER} is not valid", "status": 400}),
        (403, {}),
        (302, ""),
    ],
    ids=["404 of a proxy", "other 404", "other 400", "403", "302"],
)
def test_what_the_carrier_refuses_is_not_asked_again(api: Api, answer: Answer) -> None:
    api.always = answer
    outcome = hang_up(api)
    assert outcome is Outcome.REFUSED
    assert not outcome.achieved
    assert len(api.asked) == 1


@pytest.mark.parametrize(
    "answer", [FAULT, (500, "oops"), (429, {"code": 20429, "status": 429}), (200, "<html>")]
)
def test_a_fault_is_tried_three_times(api: Api, answer: Answer) -> None:
    api.always = answer
    assert hang_up(api) is Outcome.FAILED
    assert len(api.asked) == 3


def test_a_fault_that_passes_costs_nothing_but_time(api: Api) -> None:
    api.script = [FAULT, (500, {})]
    assert hang_up(api) is Outcome.DONE
    assert len(api.asked) == 3


def test_a_problem_in_the_newer_form_of_the_api_is_understood(api: Api) -> None:
    problem = {"type": "about:blank", "title": "Not found", "status": 404, "code": 20404}
    api.always = (404, problem)
    assert hang_up(api) is Outcome.ALREADY_OVER


# -- tokens


def test_on_a_401_the_other_token_is_tried_and_kept(api: Api) -> None:
    api.script = [UNKNOWN_TOKEN]
    rest = CarrierRest(settings(api, twilio_auth_token="old,new"))

    async def twice() -> list[Outcome]:
        return [await rest.hang_up(CALL), await rest.hang_up("CA2")]

    assert asyncio.run(twice()) == [Outcome.DONE, Outcome.DONE]
    rest.close()
    assert [user for user, _, _ in api.asked] == [f"{ACCOUNT}:old", f"{ACCOUNT}:new", f"{ACCOUNT}:new"]


def test_when_no_token_is_good_the_carrier_has_refused(api: Api) -> None:
    api.always = UNKNOWN_TOKEN
    assert hang_up(api, twilio_auth_token="old,new") is Outcome.REFUSED
    assert len(api.asked) == 2


def test_a_fault_then_a_401_then_a_fault_still_gets_there(api: Api) -> None:
    api.script = [FAULT, UNKNOWN_TOKEN, FAULT]
    assert hang_up(api, twilio_auth_token="old,new") is Outcome.DONE
    assert [user.partition(":")[2] for user, _, _ in api.asked] == ["old", "old", "new", "new"]


def test_without_credentials_nothing_is_asked(api: Api) -> None:
    rest = CarrierRest(Settings(_env_file=None, insecure=True, twilio_api_url=api.url))
    assert not rest.available
    assert run(rest, ("hang_up", CALL)) == [Outcome.NO_CREDENTIALS]
    nobody = CarrierRest(settings(api, twilio_account_sid=None))
    assert run(nobody, ("hang_up", CALL)) == [Outcome.NO_CREDENTIALS]
    assert api.asked == []


def test_a_simulated_call_is_no_business_of_the_vendor_s() -> None:
    rest = CarrierRest(settings(None))
    assert not rest.available
    assert run(rest, ("hang_up", CALL)) == [Outcome.NO_CREDENTIALS]


# -- networks


def test_an_api_that_nobody_runs_is_a_failure() -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        url = f"http://127.0.0.1:{closed.getsockname()[1]}"
    rest = CarrierRest(settings(Api(url)), chance=lambda: 0.0)
    assert run(rest, ("hang_up", CALL)) == [Outcome.FAILED]


def test_an_api_that_never_answers_is_a_failure_in_time(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(carrier_rest, "REQUEST_S", 0.05)
    api.delay_s = 0.3
    began = time.monotonic()
    assert hang_up(api) is Outcome.FAILED
    assert len(api.asked) == 3
    assert time.monotonic() - began < 2


def test_all_of_it_has_one_deadline(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(carrier_rest, "TOTAL_S", 0.1)
    api.delay_s = 0.3
    began = time.monotonic()
    outcomes = run(CarrierRest(settings(api)), *(("hang_up", f"CA{n}") for n in range(20)))
    assert outcomes == [Outcome.FAILED] * 20
    assert time.monotonic() - began < 1.5
    assert len(api.asked) <= 4  # what waited for a thread was not sent


def test_a_slow_api_delays_nobody_else_on_the_loop(api: Api) -> None:
    api.delay_s = 0.2
    rest = CarrierRest(settings(api))

    async def beats_meanwhile() -> int:
        request = asyncio.create_task(rest.hang_up(CALL))
        beats = 0
        while not request.done():
            await asyncio.sleep(0.005)
            beats += 1
        return beats

    assert asyncio.run(beats_meanwhile()) >= 10
    rest.close()


def test_requests_about_one_call_wait_for_each_other_and_others_do_not(api: Api) -> None:
    api.delay_s = 0.1
    run(CarrierRest(settings(api)), *[("hang_up", CALL)] * 3)
    assert api.most_at_once == 1
    rest = CarrierRest(settings(api))
    run(rest, *[("hang_up", f"CA{n}") for n in range(3)])
    assert api.most_at_once == 3
    assert len(rest._turns) == 0


# -- what is said about it


def test_neither_token_nor_number_gets_into_the_log(api: Api, caplog: pytest.LogCaptureFixture) -> None:
    api.always = (400, {"code": 21211, "message": f"The number {NUMBER} is not valid", "status": 400})
    with caplog.at_level(logging.DEBUG):
        rest = CarrierRest(settings(api, twilio_auth_token="hunter2"))
        assert run(rest, ("transfer", CALL, "billing")) == [Outcome.REFUSED]
    ours = [record for record in caplog.records if record.name.startswith("bridge")]
    assert [(record.levelname, record.getMessage()) for record in ours] == [
        ("INFO", "HTTP 400, code 21211"),
        ("WARNING", "twiml by REST: the carrier refused"),
    ]
    assert {vars(record)["call_sid"] for record in ours} == {CALL}
    assert "hunter2" not in caplog.text
    assert "5550001111" not in caplog.text
    assert not [record for record in caplog.records if "Twilio API" in record.getMessage()]


# -- how a call is


def standing(api: Api, account: str = ACCOUNT, **more: Any) -> Standing:
    rest = CarrierRest(settings(api, **more))
    try:
        return asyncio.run(rest.standing(CALL, account))
    finally:
        rest.close()


def call(status: Any, account: str = ACCOUNT) -> Answer:
    return (200, {"sid": CALL, "account_sid": account, "status": status})


@pytest.mark.parametrize(
    ("script", "found", "asked"),
    [
        *(([call(status)], Standing.GOES_ON, 1) for status in ("queued", "ringing", "in-progress", "new")),
        *(
            ([call(status)], Standing.OVER, 1)
            for status in ("completed", "busy", "failed", "no-answer", "canceled")
        ),
        ([call("ringing", "AC" + "9" * 32)], Standing.FOREIGN, 1),
        ([GONE, GONE], Standing.FOREIGN, 2),
        ([GONE, call("ringing")], Standing.GOES_ON, 2),
        ([GONE, FAULT], Standing.FAULTY, 2),
        ([FAULT], Standing.FAULTY, 1),
        ([UNKNOWN_TOKEN], Standing.NOT_ALLOWED, 1),
        ([(429, {"code": 20429, "status": 429})], Standing.TOO_MANY, 1),
        ([call(None)], Standing.FAULTY, 1),
        ([call(5)], Standing.FAULTY, 1),
        ([(200, "no JSON")], Standing.FAULTY, 1),
        ([(200, [])], Standing.FAULTY, 1),
    ],
)
def test_how_a_call_is_by_the_carrier_s_word(
    api: Api, script: list[Answer], found: Standing, asked: int
) -> None:
    api.script = list(script)
    assert standing(api) is found
    path = f"/2010-04-01/Accounts/{ACCOUNT}/Calls/{CALL}.json"
    assert [one[1] for one in api.asked] == [path] * asked


def test_while_tokens_rotate_the_other_one_asks_as_well(api: Api) -> None:
    api.script = [UNKNOWN_TOKEN, call("ringing")]
    assert standing(api, twilio_auth_token="old,new") is Standing.GOES_ON
    assert [user for user, _, _ in api.asked] == [f"{ACCOUNT}:old", f"{ACCOUNT}:new"]


def test_nobody_waits_longer_than_a_second_for_a_word(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(carrier_rest, "ASK_S", 0.1)
    api.delay_s = 0.5
    began_s = time.monotonic()
    rest = CarrierRest(settings(api))
    assert asyncio.run(rest.standing(CALL, ACCOUNT)) is Standing.NO_ANSWER
    assert time.monotonic() - began_s < 0.45
    rest.close()


def test_what_cannot_be_asked(api: Api) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{closed.getsockname()[1]}"
        assert standing(Api(url)) is Standing.NO_ANSWER
    rest = CarrierRest(settings(None))
    assert asyncio.run(rest.standing(CALL, ACCOUNT)) is Standing.NO_CREDENTIALS
    rest = CarrierRest(settings(api))
    assert asyncio.run(rest.standing("../Calls", ACCOUNT)) is Standing.FOREIGN
    assert api.asked == []


async def test_a_goodbye_does_not_wait_behind_questions(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """The threads that ask are others than those that end calls."""
    monkeypatch.setattr(carrier_rest, "_ASKING_THREADS", 1)
    asked = threading.Event()

    rest = CarrierRest(settings(api))
    monkeypatch.setattr(rest, "_fetch", lambda *_: asked.wait(5))
    questions = [asyncio.create_task(rest.standing(CALL, ACCOUNT)) for _ in range(20)]
    await asyncio.sleep(0)
    assert await rest.hang_up(CALL) is Outcome.DONE
    asked.set()
    for question in questions:
        question.cancel()
    rest.close()


# --- a peer that is not the carrier's API, or a very bad one


@pytest.mark.parametrize(
    "answer",
    [
        "[" * 200_000, '{"a":' * 5_000 + "1" + "}" * 5_000, "9" * 5_000, '{"status":' + "9" * 5_000 + "}",
        "\x00", '"text"', "null", "1e400", "<html>", "", '{"date_created": {"a": 1}, "status": []}',
        '{"status": {}}',
    ],
    ids=lambda text: f"{text[:20]}…{len(text)}",
)  # fmt: skip
@pytest.mark.parametrize("status", [200, 404, 500])
def test_whatever_an_api_answers_is_a_fault_and_no_more(
    api: Api, answer: str, status: int, caplog: pytest.LogCaptureFixture
) -> None:
    api.always = (status, answer)
    assert standing(api) in ((Standing.FOREIGN,) if status == 404 else (Standing.FAULTY,))
    caplog.clear()
    rest = CarrierRest(settings(api), chance=lambda: 0.0)
    for outcome in run(rest, ("hang_up", CALL), ("transfer", CALL, "billing")):
        assert outcome in (Outcome.FAILED, Outcome.REFUSED, Outcome.DONE)
    stacks = [record for record in caplog.records if "Traceback" in record.getMessage()]
    assert len(stacks) <= 2  # one of a kind


def test_the_stack_of_such_an_answer_is_logged_once(api: Api, caplog: pytest.LogCaptureFixture) -> None:
    api.always = (200, "[" * 200_000)
    rest = CarrierRest(settings(api))

    async def ask() -> list[Standing]:
        return [await rest.standing(CALL, ACCOUNT) for _ in range(5)]

    assert asyncio.run(ask()) == [Standing.FAULTY] * 5
    rest.close()
    [record] = [record for record in caplog.records if "cannot be read" in record.getMessage()]
    assert "RecursionError" in record.getMessage()
    assert record.getMessage().count("\n") < 40


def test_an_answer_has_a_size(api: Api) -> None:
    filled = {"status": "in-progress", "account_sid": ACCOUNT}
    api.always = (200, {**filled, "annotation": "x" * 200_000})
    assert standing(api) is Standing.GOES_ON
    api.always = (200, {**filled, "annotation": "x" * 300_000})
    assert standing(api) in (Standing.NO_ANSWER, Standing.FAULTY)


HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 5000\r\n\r\n"


@contextlib.contextmanager
def dripping(first: bytes) -> Iterator[tuple[str, list[bool]]]:
    """An API that sends so much at once and then a byte each 50 ms, until it is told to answer well."""
    well: list[bool] = []
    body = json.dumps({"status": "in-progress", "account_sid": ACCOUNT}).encode()
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s" % (len(body), body)

    def serve(peer: socket.socket) -> None:
        with peer, contextlib.suppress(OSError):
            peer.recv(65_536)
            if well:
                peer.sendall(answer)
                return
            peer.sendall(first)
            while True:
                peer.sendall(b" " if first else b"H")
                time.sleep(0.05)

    with socket.create_server(("127.0.0.1", 0)) as server:

        def accept() -> None:
            with contextlib.suppress(OSError):
                while True:
                    threading.Thread(target=serve, args=(server.accept()[0],), daemon=True).start()

        threading.Thread(target=accept, daemon=True).start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}", well
        server.shutdown(socket.SHUT_RDWR)


@pytest.mark.parametrize("first", [HEAD, HEAD[:40], b""], ids=["body", "head", "status"])
def test_an_api_that_drips_keeps_no_thread_when_it_is_well_again(
    first: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(carrier_rest, "ASK_S", 0.3)
    monkeypatch.setattr(carrier_rest, "TOTAL_S", 0.3)

    async def main(rest: CarrierRest, well: list[bool]) -> None:
        calls = [f"CA{number:032x}" for number in range(24)]
        asked = await asyncio.gather(*(rest.standing(call, ACCOUNT) for call in calls))
        assert asked == [Standing.NO_ANSWER] * 24
        assert await asyncio.gather(*map(rest.hang_up, calls)) == [Outcome.FAILED] * 24
        well.append(True)
        began_s = time.monotonic()
        assert await rest.standing(CALL, ACCOUNT) is Standing.GOES_ON
        assert await rest.hang_up(CALL) is Outcome.DONE
        assert time.monotonic() - began_s < 0.3

    with dripping(first) as (url, well):
        rest = CarrierRest(settings(None, twilio_api_url=url))
        asyncio.run(main(rest, well))
        rest.close()
