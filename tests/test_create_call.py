"""Asking the carrier's REST API for a call: once, and with an honest answer about what became of it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import socket
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, TypeVar
from urllib.parse import parse_qs, urlsplit

import pytest

from bridge.server import twilio_rest
from bridge.server.new_calls import Advice, Ambiguous, NewCall, Placed, Refused
from bridge.server.twilio_rest import CarrierRest, Outcome
from bridge.settings.settings import Settings

_T = TypeVar("_T")
ACCOUNT = "AC" + "0" * 31 + "1"
CALL = "CA" + "0" * 31 + "1"
PERSON, NUMBER = "+15550001111", "+15550002222"
CREATED = (201, {"sid": CALL, "status": "queued", "queue_time": "1500", "to": PERSON, "from": NUMBER})
PATH = f"/2010-04-01/Accounts/{ACCOUNT}/Calls"
WANTED = NewCall(
    to=PERSON,
    from_=NUMBER,
    url="https://voice.example.com/outbound-call?ref=R1",
    status_callback="https://voice.example.com/call-status?ref=R1",
    amd_callback="https://voice.example.com/amd?ref=R1",
    ring_s=30,
    time_limit_s=630,
    ref="R1",
)


@dataclass
class Api:
    """Answers what stands in `script`, then `always`; None closes the connection without a word."""

    url: str = ""
    script: list[tuple[int, Any] | None] = field(default_factory=list)
    always: tuple[int, Any] | None = CREATED
    delay_s: float = 0.0
    asked: list[tuple[str, dict[str, list[str]], dict[str, str]]] = field(default_factory=list)


@pytest.fixture
def api() -> Iterator[Api]:
    api = Api()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.answer(self.rfile.read(int(self.headers["Content-Length"])).decode())

        def do_GET(self) -> None:
            self.answer(urlsplit(self.path).query)

        def answer(self, form: str) -> None:
            api.asked.append((urlsplit(self.path).path, parse_qs(form), dict(self.headers.items())))
            answer = api.script.pop(0) if api.script else api.always
            time.sleep(api.delay_s)
            if answer is None:
                self.connection.shutdown(socket.SHUT_RDWR)
                return
            raw = answer[1].encode() if isinstance(answer[1], str) else json.dumps(answer[1]).encode()
            self.send_response(answer[0])
            self.send_header("Content-Length", str(len(raw)))
            self.end_headers()
            self.wfile.write(raw)

        def log_message(self, *_args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        api.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield api
        server.shutdown()
        thread.join()


def settings(api: Api, token: str = "old") -> Settings:
    return Settings(
        _env_file=None,
        demo=True,
        public_url="http://127.0.0.1:5050",
        twilio_account_sid=ACCOUNT,
        twilio_auth_token=token,
        twilio_api_url=api.url,
    )


def asked(api: Api, request: Callable[[CarrierRest], Awaitable[_T]], token: str = "old") -> _T:
    async def alone() -> _T:
        with contextlib.closing(CarrierRest(settings(api, token))) as rest:
            return await request(rest)

    return asyncio.run(alone())


def create(api: Api, token: str = "old", wanted: NewCall = WANTED) -> Any:
    return asked(api, lambda rest: rest.create_call(wanted), token)


def test_a_call_is_asked_for_with_everything_it_needs(api: Api) -> None:
    assert create(api) == Placed(CALL, 1500)
    ((path, form, headers),) = api.asked
    assert path == f"{PATH}.json"
    assert form == {
        "To": [PERSON],
        "From": [NUMBER],
        "Url": ["https://voice.example.com/outbound-call?ref=R1"],
        "Method": ["POST"],
        "StatusCallback": ["https://voice.example.com/call-status?ref=R1"],
        "StatusCallbackMethod": ["POST"],
        "StatusCallbackEvent": ["initiated", "ringing", "answered", "completed"],
        "MachineDetection": ["DetectMessageEnd"],
        "AsyncAmd": ["true"],
        "AsyncAmdStatusCallback": ["https://voice.example.com/amd?ref=R1"],
        "AsyncAmdStatusCallbackMethod": ["POST"],
        "Timeout": ["30"],
        "TimeLimit": ["630"],
    }
    assert headers["I-Twilio-Idempotency-Token"] == "R1"


def test_what_is_not_wanted_is_not_in_the_request(api: Api) -> None:
    bare = NewCall(
        to="sip:desk@example.com", from_=NUMBER, url="https://voice.example.com/x", send_digits="ww1"
    )
    assert isinstance(create(api, wanted=bare), Placed)
    ((_, form, headers),) = api.asked
    assert set(form) == {"To", "From", "Url", "Method", "SendDigits"}
    assert "I-Twilio-Idempotency-Token" not in headers


@pytest.mark.parametrize(
    ("status", "code", "advice"),
    [
        (400, 21211, Advice.FINAL),
        (400, 21214, Advice.FINAL),
        (400, 21210, Advice.STOP),
        (400, 21215, Advice.STOP_COUNTRY),
        (400, 21216, Advice.STOP),
        (400, 10004, Advice.FEWER),
        (429, 20429, Advice.WAIT),
        (429, 0, Advice.WAIT),
        (401, 20003, Advice.STOP),
        (403, 0, Advice.STOP),
        (400, 29999, Advice.BUG),
        (400, 573002, Advice.STOP),
        (400, 22005, Advice.STOP),
    ],
)
def test_a_refusal_has_a_meaning_and_is_not_asked_again(
    api: Api, status: int, code: int, advice: Advice
) -> None:
    api.always = (status, {"code": code, "message": f"no {PERSON}", "status": status})
    refused = create(api)
    assert isinstance(refused, Refused)
    assert (refused.status, refused.code, refused.advice) == (status, code, advice)
    assert PERSON not in refused.meaning
    assert len(api.asked) == 1


@pytest.mark.parametrize(
    "answer",
    [
        None,
        (503, {"code": 20503}),
        (500, "oops"),
        (201, "<html>"),
        (201, {}),
        (201, {"sid": 7}),
        (302, ""),
        (408, ""),
    ],
)
def test_an_answer_that_cannot_be_read_leaves_it_open_and_is_not_asked_again(
    api: Api, answer: tuple[int, Any] | None
) -> None:
    api.always = answer
    assert isinstance(create(api), Ambiguous)
    assert len(api.asked) == 1


def test_an_api_that_does_not_answer_in_time_leaves_it_open(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(twilio_rest, "CREATE_S", 0.1)
    api.delay_s = 0.2
    assert isinstance(create(api), Ambiguous)
    assert len(api.asked) == 1


def test_where_no_connection_comes_about_nothing_was_placed() -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        url = f"http://127.0.0.1:{closed.getsockname()[1]}"
    refused = create(Api(url))
    assert isinstance(refused, Refused)
    assert refused.advice is Advice.WAIT


def test_a_token_that_is_turned_away_places_nothing_and_the_other_is_tried(api: Api) -> None:
    api.script = [(401, {"code": 20003, "status": 401})]
    assert create(api, "old,new") == Placed(CALL, 1500)
    assert len(api.asked) == 2


def test_a_ringing_call_is_cancelled(api: Api) -> None:
    api.always = (200, {"sid": CALL, "status": "canceled"})
    assert asked(api, lambda rest: rest.cancel(CALL)) is Outcome.DONE
    ((path, form, _),) = api.asked
    assert (path, form) == (f"{PATH}/{CALL}.json", {"Status": ["canceled"]})


def test_calls_between_two_numbers_since_a_moment_are_listed(api: Api) -> None:
    now = datetime.now(UTC).replace(microsecond=0)
    rows = [
        {"sid": CALL, "status": "queued", "date_created": format_datetime(now)},
        {
            "sid": "CA" + "2" * 32,
            "status": "completed",
            "date_created": format_datetime(now - timedelta(hours=1)),
        },
    ]
    api.always = (200, {"calls": rows, "page": 0, "next_page_uri": None})
    found = asked(api, lambda rest: rest.list_calls(PERSON, NUMBER, now))
    assert found is not None
    assert [(one.sid, one.status) for one in found] == [(CALL, "queued")]
    ((path, form, _),) = api.asked
    assert path == f"{PATH}.json"
    assert (form["To"], form["From"]) == ([PERSON], [NUMBER])


@pytest.mark.parametrize("answer", [None, (500, ""), (200, "<html>"), (404, {})])
def test_a_list_that_cannot_be_had_is_no_empty_list(api: Api, answer: tuple[int, Any] | None) -> None:
    api.always = answer
    assert asked(api, lambda rest: rest.list_calls(PERSON, NUMBER, datetime.now(UTC))) is None


def test_the_person_s_number_gets_into_no_log(api: Api, caplog: pytest.LogCaptureFixture) -> None:
    api.always = (400, {"code": 21211, "message": f"The number {PERSON} is not valid", "status": 400})
    with caplog.at_level(logging.DEBUG):
        create(api)
    assert "the number to call is not valid" in caplog.text
    assert PERSON not in caplog.text
