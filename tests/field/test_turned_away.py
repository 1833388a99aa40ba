"""A resolver refuses a call or sends it on: before a model is dialled, and unbilled where the carrier allows.
Seen elsewhere: a blocked number, closed hours and a machine that answered each cost a session of the model.
"""

from __future__ import annotations

import contextlib
import threading
import xml.etree.ElementTree as ET
from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any
from urllib.parse import urlsplit

import pytest
from starlette.testclient import TestClient
from starlette.websockets import WebSocketDisconnect
from twilio.request_validator import RequestValidator

from bridge import Agent, ConfigError, Forward, Refuse
from bridge.doubles.carrier_frames import CarrierFrames
from bridge.server import calls as registry_of_calls
from bridge.server.service import Service, create_app
from bridge.settings.rules import WrongSettings
from bridge.settings.settings import load_settings
from tests.calls import ACCOUNT, TOKEN
from tests.long_form import some_of

PUBLIC = "https://voice.example.com"
DESK, NIGHT = "+15550004444", "+15550005555"
SPOKEN = {"language": "en-US", "voice": "Polly.Joanna"}
CALL = f"CA{22:032x}"


class Bridge:
    """The application, asked as the carrier asks it. Its model cannot be reached."""

    def __init__(self, client: TestClient, service: Service, insecure: bool) -> None:
        self.client, self.service, self.insecure = client, service, insecure

    def asks(self, path: str, **fields: str) -> list[tuple[str, dict[str, str], str]]:
        """A webhook of the carrier's: the verbs it is answered with."""
        form = {
            "CallSid": CALL,
            "AccountSid": ACCOUNT,
            "CallStatus": "ringing",
            "From": "+15550100",
            **fields,
        }
        headers = {"X-Twilio-Signature": RequestValidator(TOKEN).compute_signature(f"{PUBLIC}{path}", form)}
        answer = self.client.post(path, data=form, headers=headers)
        assert answer.status_code == 200, answer.text
        return [
            (verb.tag, dict(verb.attrib), (verb.text or "") + "".join(part.text or "" for part in verb))
            for verb in ET.fromstring(answer.text)
        ]

    def rings(self, **fields: str) -> list[tuple[str, dict[str, str], str]]:
        return self.asks("/incoming-call", **fields)

    def stream(self) -> int:
        """A stream for which no webhook came: the code it is closed with."""
        frames = CarrierFrames(CALL, ACCOUNT, f"MZ{22:032x}")
        headers = {"host": "127.0.0.1:8080"}
        with self.client.websocket_connect("/media-stream", headers=headers) as websocket:
            websocket.send_text(frames.connected())
            websocket.send_text(frames.start({"From": "+15550100"}))
            with pytest.raises(WebSocketDisconnect) as closed:
                websocket.receive_text()
        return closed.value.code

    @property
    def calls(self) -> int:
        """Those that wait, with a model that is being dialled."""
        return len(self.service.registry)

    def rejects(self, gate: str) -> float | None:
        samples = self.service.services.metrics.registry
        return samples.get_sample_value("phonebridge_rejects_total", {"gate": gate})


@contextlib.contextmanager
def bridge(
    answer: Any, *, insecure: bool = False, agent: Mapping[str, Any] | None = None, **given: Any
) -> Iterator[Bridge]:
    """A bridge whose resolver answers that; or is that, where it is a function."""
    resolver = answer if callable(answer) else lambda _fields: answer
    doors: dict[str, Any] = (
        {"insecure": True} if insecure else {"public_url": PUBLIC, "twilio_auth_token": TOKEN}
    )
    settings = load_settings(
        env_file=None,
        upstream="openai",
        upstream_url="ws://127.0.0.1:9",
        journal=None,
        verify_calls="off",
        twilio_api_url="http://127.0.0.1:9",
        transfers=f"front desk={DESK},night={NIGHT}",
        **{**doors, **given},
    )
    app = create_app(settings, Agent("Default.", resolver=resolver, **(agent or {})))
    with TestClient(app, base_url="http://127.0.0.1:8080") as client:
        assert client.portal is not None
        yield Bridge(client, app.state.service, insecure)
        client.portal.call(app.state.service.registry.shut_down)
        client.portal.call(partial(app.state.service.registry.drained, 1.0))
        app.state.service.close()


REFUSALS = [
    (Refuse(), [("Reject", {}, "")]),
    (Refuse("rejected"), [("Reject", {}, "")]),
    (Refuse("busy"), [("Reject", {"reason": "busy"}, "")]),
    (
        Refuse(say="We are <closed> & asleep."),
        [("Say", SPOKEN, "We are <closed> & asleep."), ("Hangup", {}, "")],
    ),
]


@pytest.mark.parametrize(("refusal", "verbs"), REFUSALS)
@pytest.mark.parametrize("insecure", some_of([False, True], every=2))
def test_a_call_that_is_refused_gets_its_words_and_no_model(
    refusal: Refuse, verbs: list[Any], insecure: bool
) -> None:
    with bridge(
        lambda fields: refusal if fields["From"] == "+15550100" else None, insecure=insecure
    ) as asked:
        assert asked.rings() == verbs
        assert asked.calls == 0
        assert asked.rejects("refused") == 1
        [connect] = asked.rings(CallSid=f"CA{23:032x}", From="+15550101")
        assert connect[0] == "Connect"
        assert asked.calls == 1


def test_an_answering_machine_is_refused_by_the_fields_of_its_webhook() -> None:
    def resolver(fields: Mapping[str, str]) -> Refuse | None:
        return Refuse("rejected") if fields.get("AnsweredBy", "").startswith("machine") else None

    with bridge(resolver) as asked:
        assert asked.rings(AnsweredBy="machine_start", CallStatus="in-progress") == [("Reject", {}, "")]
        assert asked.rings(CallSid=f"CA{23:032x}", AnsweredBy="human")[0][0] == "Connect"


def test_an_async_resolver_and_a_webhook_that_comes_twice() -> None:
    async def resolver(_fields: Mapping[str, str]) -> Refuse:
        return Refuse("busy")

    with bridge(resolver) as asked:
        assert asked.rings() == asked.rings() == [("Reject", {"reason": "busy"}, "")]


@pytest.mark.parametrize("insecure", [False, True])
def test_a_call_that_is_sent_on_rings_at_its_target_and_no_model_is_dialled(insecure: bool) -> None:
    with bridge(Forward("front desk"), insecure=insecure, fallback="night") as asked:
        [(verb, attributes, number)] = asked.rings()
        assert (verb, number) == ("Dial", DESK)
        assert attributes["answerOnBridge"] == "true"
        assert asked.calls == 0
        action = urlsplit(attributes["action"])
        after = f"{action.path}?{action.query}" if action.query else action.path
        assert asked.asks(after, CallStatus="in-progress", DialCallStatus="no-answer")[-1][2] == NIGHT
        assert asked.asks(after, CallStatus="in-progress", DialCallStatus="completed") == [("Hangup", {}, "")]


def test_a_target_that_does_not_answer_and_no_fallback_is_an_end_in_words() -> None:
    with bridge(Forward("night")) as asked:
        [(_, attributes, _)] = asked.rings()
        action = urlsplit(attributes["action"])
        verbs = asked.asks(f"{action.path}?{action.query}", CallStatus="in-progress", DialCallStatus="busy")
        assert [verb[0] for verb in verbs] == ["Say", "Hangup"]


def _raises(_fields: Mapping[str, str]) -> None:
    raise LookupError("the table is gone")


FAILURES = [_raises, "Speak German.", {"voise": "marin"}, Forward("nowhere")]


@pytest.mark.parametrize(
    ("failure", "given", "verb", "detail"),
    [
        *((failure, {}, "Connect", "") for failure in FAILURES),
        (_raises, {"resolver_fails": "agent"}, "Connect", ""),
        (_raises, {"resolver_fails": "refuse"}, "Reject", ""),
        (Forward("nowhere"), {"resolver_fails": "refuse"}, "Reject", ""),
        (_raises, {"resolver_fails": "fallback", "fallback": "night"}, "Dial", NIGHT),
    ],
)
def test_a_resolver_that_fails_turns_a_call_away_only_where_it_is_told_to(
    failure: Any, given: dict[str, Any], verb: str, detail: str, caplog: pytest.LogCaptureFixture
) -> None:
    with bridge(failure, **given) as asked:
        [(found, _, text)] = asked.rings()
    assert (found, text if verb == "Dial" else "") == (verb, detail)
    assert "the resolver raised" in caplog.text


@pytest.mark.parametrize(("given", "verb"), [({}, "Connect"), ({"resolver_fails": "refuse"}, "Reject")])
def test_so_does_one_that_is_late(given: dict[str, Any], verb: str) -> None:
    release = threading.Event()

    def resolver(_fields: Mapping[str, str]) -> Refuse:
        release.wait(10)
        return Refuse()

    with bridge(resolver, agent={"resolver_ms": 10}, **given) as asked:
        assert asked.rings()[0][0] == verb
        release.set()


def test_a_fallback_that_is_not_configured_is_refused_at_start() -> None:
    with pytest.raises(WrongSettings, match="BRIDGE_RESOLVER_FAILS is fallback, and BRIDGE_FALLBACK is not"):
        load_settings(env_file=None, insecure=True, resolver_fails="fallback")
    with pytest.raises(WrongSettings, match="BRIDGE_RESOLVER_FAILS"):
        load_settings(env_file=None, insecure=True, resolver_fails="apology")


@pytest.mark.parametrize("code", [Refuse("busy"), Forward("night")], ids=["refuse", "forward"])
def test_where_no_webhook_came_the_stream_is_turned_away(code: Any) -> None:
    """Other people's simulators open a stream at once."""
    with bridge(code, insecure=True) as asked:
        assert asked.stream() == (1000 if isinstance(code, Forward) else 1008)
        assert asked.calls == 0
        verbs = asked.asks("/after-stream", CallStatus="in-progress")
        assert [verb[0] for verb in verbs] == ["Dial" if isinstance(code, Forward) else "Hangup"]


@pytest.mark.parametrize(
    ("intent", "asked_with"),
    [("", {}), ("transfer:front desk", {"DialCallStatus": "no-answer"})],
    ids=["resumed", "returned"],
)
def test_a_call_that_goes_on_is_not_refused_in_its_middle(
    intent: str, asked_with: dict[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    closed: list[bool] = []
    with bridge(lambda _fields: Refuse() if closed else None) as asked, caplog.at_level("INFO"):
        [(_, attributes, _)] = asked.rings()
        asked.service.services.control.intents.began(CALL, 1)
        assert asked.client.portal is not None
        asked.client.portal.call(asked.service.registry.let_go, CALL)
        asked.service.services.control.note(CALL, intent)
        closed.append(True)
        action = urlsplit(attributes["action"])
        verbs = asked.asks(f"{action.path}?{action.query}", CallStatus="in-progress", **asked_with)
        assert [verb[0] for verb in verbs] == ["Connect"]
    assert "the call goes on, whatever its resolver says now" in caplog.text


def test_a_call_is_refused_though_many_others_wait_for_their_streams(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry_of_calls, "MAX_WAITING", 1)
    asked_about: list[str] = []

    def resolver(fields: Mapping[str, str]) -> Refuse | None:
        asked_about.append(fields["CallSid"])
        return Refuse() if fields["From"] == "+15550100" else None

    with bridge(resolver, insecure=True) as asked:
        for number in range(3):
            assert asked.rings(CallSid=f"CA{number:032x}", From="+15550101")[0][0] == "Connect"
        assert asked.calls == 1  # the others are dialled when their stream comes
        assert asked.rings() == [("Reject", {}, "")]
    assert len(asked_about) == 4


@pytest.mark.parametrize(
    ("given", "fields", "verbs"),
    [
        ({}, {}, ["Say", "Hangup"]),
        ({"busy": "say"}, {}, ["Say", "Hangup"]),
        ({"busy": "reject"}, {}, ["Reject"]),
        ({"busy": "reject"}, {"CallStatus": "in-progress"}, ["Say", "Hangup"]),  # it was answered before
    ],
)
@pytest.mark.parametrize("why", some_of(["full", "draining"], every=2))
def test_a_busy_bridge_says_so_or_does_not_answer(
    given: dict[str, Any], fields: dict[str, str], verbs: list[str], why: str
) -> None:
    with bridge(None, max_calls=1, **given) as asked:
        if why == "full":
            asked.rings(CallSid=f"CA{23:032x}")
        else:
            asked.service.registry.draining = True
        found = asked.rings(**fields)
        assert [verb[0] for verb in found] == verbs
        if verbs == ["Reject"]:
            assert found[0][1] == {"reason": "busy"}


@pytest.mark.parametrize(
    "make",
    [
        lambda: Refuse("closed"),  # type: ignore[arg-type]
        lambda: Refuse(say=""),
        lambda: Refuse(say=" \n"),
        lambda: Refuse(say="x" * 4_097),
        lambda: Refuse(say=5),  # type: ignore[arg-type]
        lambda: Refuse("busy", say="We are closed."),
        lambda: Forward(""),
        lambda: Forward(None),  # type: ignore[arg-type]
    ],
)
def test_a_refusal_that_cannot_be_is_refused_where_it_is_made(make: Any) -> None:
    with pytest.raises(ConfigError):
        make()
