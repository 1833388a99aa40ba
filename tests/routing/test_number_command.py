"""`phonebridge number`, against the simulated carrier's API: it shows first, and changes when it is told."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from bridge.cli import app
from bridge.cli import number as command
from bridge.doubles.number_resource import updated
from bridge.errors import ConfigError
from bridge.server.phone_numbers.leading import NotRead
from bridge.server.phone_numbers.plan import OVERRIDES
from bridge.server.phone_numbers.rest import RestError
from bridge.simulators import rest_numbers
from bridge.simulators.rest_api import CarrierApi
from tests.calls import ACCOUNT, TOKEN

PUBLIC = "https://voice.example.com"
WEBHOOK = f"{PUBLIC}/incoming-call{OVERRIDES}"
OURS, SHOPS = "+15550002222", "+15550003333"
SHOP = f"AC{2:032x}"
DEMO = "https://demo.example.com/welcome?secret=1"


class Carrier:
    """The API on a thread of its own, and the command beside it."""

    def __init__(self, api: CarrierApi, folder: Path) -> None:
        self.api, self.folder = api, folder

    def leads(self, **fields: Any) -> None:
        """The main account's number, as it is now."""
        self.api.numbers[:] = [{"sid": f"PN{7:032x}", "phone_number": OURS, **fields}]

    @property
    def number(self) -> dict[str, Any]:
        return self.api.numbers[0]

    def runs(self, *words: str, code: int = 0, typed: str | None = None) -> Any:
        """What it prints, as JSON where that is asked for."""
        found = CliRunner().invoke(app, ["number", *words], input=typed)
        if found.exception is not None and not isinstance(found.exception, SystemExit):
            raise found.exception
        assert found.exit_code == code, found.output
        return json.loads(found.stdout) if "--json" in words else found.output


@pytest.fixture(scope="module")
def served() -> Iterator[CarrierApi]:
    api, ready, done = CarrierApi((TOKEN,)), threading.Event(), asyncio.Event()
    loop = asyncio.new_event_loop()

    async def serve() -> None:
        async with api.serve():
            ready.set()
            await done.wait()

    thread = threading.Thread(target=lambda: loop.run_until_complete(serve()))
    thread.start()
    assert ready.wait(5)
    yield api
    loop.call_soon_threadsafe(done.set)
    thread.join(5)
    loop.close()


@pytest.fixture
def carrier(served: CarrierApi, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Carrier:
    monkeypatch.chdir(tmp_path)
    for name, value in {
        "PUBLIC_URL": PUBLIC, "TWILIO_AUTH_TOKEN": TOKEN, "TWILIO_ACCOUNT_SID": ACCOUNT,
        "BRIDGE_TWILIO_API_URL": served.url, "BRIDGE_JOURNAL": str(tmp_path / "state" / "intents.jsonl"),
    }.items():  # fmt: skip
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)  # no number needs a model
    served.accounts.clear()
    served.applications.clear()
    served.status = "active"
    found = Carrier(served, tmp_path)
    found.leads()
    return found


def test_what_it_shows_before_it_changes_anything(carrier: Carrier) -> None:
    carrier.leads(voice_url=DEMO, status_callback="https://crm.example.com/told")
    told = carrier.runs("set", OURS, "--json", code=1)
    assert {one["field"]: (one["old"], one["new"]) for one in told["changes"]} == {
        "voice_url": (DEMO, WEBHOOK),
        "status_callback": ("https://crm.example.com/told", f"{PUBLIC}/call-status"),
    }
    assert told["breaks"] == [
        "the webhook https://demo.example.com/welcome is asked no more",
        "https://crm.example.com/told is told of its calls no more",
    ]
    assert any("no fallback is set" in remark for remark in told["remarks"])
    assert told["changed"] is False
    assert carrier.number["voice_url"] == DEMO
    words = carrier.runs("set", OURS, code=1)
    assert "nothing was changed" in words
    assert not (carrier.folder / "state").exists()


def test_set_and_back_again(carrier: Carrier) -> None:
    carrier.leads(voice_url=DEMO, voice_method="GET", status_callback="https://crm.example.com/told")
    before = dict(carrier.number)
    fallback = "https://other.example.com/sorry"
    assert "changed, and read back" in carrier.runs("set", OURS, "--fallback", fallback, "--yes")
    assert carrier.number["voice_url"] == WEBHOOK
    assert carrier.number["voice_method"] == "POST"
    assert carrier.number["voice_fallback_url"] == fallback
    assert carrier.number["status_callback"] == f"{PUBLIC}/call-status"
    assert carrier.runs("set", OURS, "--json")["changes"] == []
    told = carrier.runs("unset", OURS, "--yes", "--json")
    assert told["changed"] is True
    assert {name: carrier.number[name] for name in before} == before
    assert carrier.number["voice_fallback_url"] == ""
    assert carrier.runs("unset", OURS, "--json", code=0)["changes"] == []


@pytest.mark.hostile  # for its time
def test_two_changes_in_a_row_are_taken_back_to_before_the_first(carrier: Carrier) -> None:
    carrier.leads(voice_url=DEMO)
    carrier.runs("set", OURS, "--yes")
    carrier.runs("set", "+1 (555) 000-2222", "--fallback", "https://other.example.com/", "--yes")
    carrier.runs("unset", OURS, "--yes")
    assert (carrier.number["voice_url"], carrier.number["voice_fallback_url"]) == (DEMO, "")


@pytest.mark.hostile  # for its time
@pytest.mark.parametrize(
    ("before", "breaks"),
    [
        ({"voice_application_sid": f"AP{1:032x}"}, "answers it no more"),
        ({"trunk_sid": f"TK{1:032x}"}, "loses this number"),
        ({"voice_receive_mode": "fax"}, "receives faxes no more"),
        ({"voice_url": "https://abc.ngrok-free.app/voice"}, "(a tunnel) is asked no more"),
    ],
)
def test_what_would_break(carrier: Carrier, before: dict[str, str], breaks: str) -> None:
    carrier.api.applications[f"AP{1:032x}"] = "https://app.example.com/voice"
    carrier.leads(**before)
    told = carrier.runs("set", OURS, "--yes", "--json")
    assert any(breaks in sentence for sentence in told["breaks"]), told
    assert carrier.number["voice_application_sid"] in ("", None)
    assert carrier.number["trunk_sid"] is None
    assert carrier.number["voice_receive_mode"] == "voice"
    carrier.runs("unset", OURS, "--yes")
    for name, value in before.items():
        assert carrier.number[name] == value


@pytest.mark.hostile  # for its time
def test_what_somebody_else_has_changed_since_is_told(carrier: Carrier) -> None:
    carrier.leads(voice_url=DEMO)
    carrier.runs("set", OURS, "--yes")
    carrier.number["voice_url"] = "https://new.example.com/voice"
    told = carrier.runs("unset", OURS, "--json", code=1)
    assert told["breaks"] == ["voice_url was changed since: https://new.example.com/voice would be lost"]


@pytest.mark.hostile  # for its time
def test_a_number_of_which_nothing_is_known_leads_nowhere_afterwards(carrier: Carrier) -> None:
    carrier.leads(voice_url=f"{PUBLIC}/incoming-call", voice_fallback_url="https://other.example.com/")
    told = carrier.runs("unset", OURS, "--yes", "--json")
    assert told["remarks"] == ["nothing is known of where it led before: it will lead nowhere"]
    assert (carrier.number["voice_url"], carrier.number["voice_fallback_url"]) == ("", "")
    carrier.leads(voice_url=DEMO)
    assert carrier.runs("unset", OURS, "--json")["changes"] == [], "another's webhook is left alone"


def test_a_list_of_all_accounts(carrier: Carrier, monkeypatch: pytest.MonkeyPatch) -> None:
    shop = carrier.api.account(SHOP, "shop-token-2", parent=ACCOUNT)
    shop.numbers.append({"phone_number": SHOPS, "voice_url": f"{PUBLIC}/incoming-call#rc=2"})
    carrier.leads(trunk_sid=f"TK{1:032x}")
    routes = carrier.folder / "routes.toml"
    routes.write_text(
        f'[accounts.shop]\nsid = "{SHOP}"\ntoken = "shop-token-2"\n'
        f'[[routes]]\nto = "{SHOPS}"\naccount = "shop"\nagent = "not_there:agent"\n'
    )
    monkeypatch.setenv("BRIDGE_ROUTES", str(routes))
    assert [(one["number"], one["account"], one["here"]) for one in carrier.runs("list", "--json")] == [
        (OURS, "main", False),
        (SHOPS, "shop", True),
    ]
    words = carrier.runs("list")
    assert "the SIP trunk" in words
    assert "shop-token-2" not in words
    carrier.runs("set", SHOPS, "--yes")
    assert shop.numbers[0]["voice_url"] == WEBHOOK


@pytest.mark.hostile  # for its time
def test_a_subaccount_is_asked_with_the_parents_token_where_that_is_said(
    carrier: Carrier, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop = carrier.api.account(SHOP, "another-token", parent=ACCOUNT)
    shop.numbers.append({"phone_number": SHOPS})
    routes = carrier.folder / "routes.toml"
    monkeypatch.setenv("BRIDGE_ROUTES", str(routes))
    account = f'[accounts.shop]\nsid = "{SHOP}"\ntoken = "not-its-own"\n'
    routes.write_text(account)
    with pytest.raises(RestError, match="refuses the token of the account shop"):
        carrier.runs("list")
    routes.write_text(f'{account}rest = "parent"\n')
    assert len(carrier.runs("list", "--json")) == 2


@pytest.mark.hostile  # for its time
def test_it_is_asked_at_a_terminal(carrier: Carrier, monkeypatch: pytest.MonkeyPatch) -> None:
    answers = iter([False, True])
    monkeypatch.setattr(command, "_confirmed", lambda: next(answers))
    carrier.runs("set", OURS, code=1)
    assert carrier.number.get("voice_url", "") == ""
    assert "changed, and read back" in carrier.runs("set", OURS)
    assert carrier.number["voice_url"] == WEBHOOK


@pytest.mark.hostile  # for its time
@pytest.mark.parametrize(
    ("account", "remark"),
    [("suspended", "the account is suspended"), ("active", "")],
)
def test_what_is_worth_knowing(carrier: Carrier, account: str, remark: str) -> None:
    carrier.api.status = account
    remarks = " ".join(carrier.runs("set", OURS, "--json", code=1)["remarks"])
    assert remark in remarks
    assert ("the account is" in remarks) is bool(remark)


@pytest.mark.hostile  # for its time
def test_a_fallback_beside_what_it_is_for(carrier: Carrier) -> None:
    told = carrier.runs("set", OURS, "--fallback", f"{PUBLIC}/sorry", "--json", code=1)
    assert any("so is its fallback" in remark for remark in told["remarks"])


@pytest.mark.hostile  # for its time
def test_a_carrier_that_keeps_another_value(carrier: Carrier, monkeypatch: pytest.MonkeyPatch) -> None:
    def forgets(number: dict[str, Any], form: dict[str, str]) -> object:
        found = updated(number, form)
        return {**found, "status_callback": ""} if isinstance(found, dict) else found

    monkeypatch.setattr(rest_numbers, "updated", forgets)
    with pytest.raises(NotRead, match="status_callback"):
        carrier.runs("set", OURS, "--yes")


@pytest.mark.hostile  # for its time
@pytest.mark.parametrize("number", ["5550001", "+1555000999999999999", "+15550009998", "sip:a@b"])
def test_numbers_that_are_none_or_of_nobody(carrier: Carrier, number: str) -> None:
    with pytest.raises(ConfigError, match=r"is no number|in none of the accounts"):
        carrier.runs("set", number)


@pytest.mark.hostile  # for its time
@pytest.mark.parametrize("missing", ["TWILIO_ACCOUNT_SID"])
def test_credentials_that_are_missing(
    carrier: Carrier, monkeypatch: pytest.MonkeyPatch, missing: str
) -> None:
    monkeypatch.delenv(missing)
    with pytest.raises(ConfigError, match=missing):
        carrier.runs("list")


@pytest.mark.hostile  # for its time
def test_a_cut_line_of_the_undo_file_costs_nothing(carrier: Carrier) -> None:
    carrier.leads(voice_url=DEMO)
    carrier.runs("set", OURS, "--yes")
    file = carrier.folder / "state" / "numbers.jsonl"
    assert file.stat().st_mode & 0o777 == 0o600
    with file.open("ab") as lines:
        lines.write(b'{"sid": "PN\xff\n[1]\n{"sid": 3}\n')
    carrier.runs("unset", OURS, "--yes")
    assert carrier.number["voice_url"] == DEMO


@pytest.mark.hostile  # for its time
def test_a_number_is_checked_without_a_call(carrier: Carrier) -> None:
    told = carrier.runs("test", OURS, "--json", code=1)
    wrong = [one["what"] for one in told["checks"] if not one["ok"]]
    assert wrong[0] == f"{OURS}: nothing"
    assert any("cannot be reached" in what for what in wrong)
    assert not carrier.api.placed


def test_a_paid_call_is_placed_only_when_that_is_told(carrier: Carrier) -> None:
    with pytest.raises(ConfigError, match="no second number"):
        carrier.runs("test", OURS, "--call")
    carrier.api.numbers.append({"sid": f"PN{8:032x}", "phone_number": SHOPS})
    with pytest.raises(ConfigError, match="does not lead here"):
        carrier.runs("test", OURS, "--call", "--yes")
    carrier.runs("set", OURS, "--yes")
    with pytest.raises(ConfigError, match="--yes places it"):
        carrier.runs("test", OURS, "--call")
    with pytest.raises(ConfigError, match="in none of the accounts"):
        carrier.runs("test", OURS, "--call", "--from", "+15550009999")
    assert not carrier.api.placed


@pytest.mark.hostile  # for its time
def test_what_a_paid_call_has_seen_is_written_down(carrier: Carrier, monkeypatch: pytest.MonkeyPatch) -> None:
    async def tried(*_given: object) -> dict[str, object]:
        return {"format": "phonebridge-trial-1", "connect_action_ms": 112}

    monkeypatch.setattr("bridge.server.phone_numbers.trial.try_call", tried)
    carrier.leads(voice_url=WEBHOOK)
    carrier.api.numbers.append({"sid": f"PN{8:032x}", "phone_number": SHOPS})
    words = carrier.runs("test", OURS, "--call", "--yes", "--out", "seen.json")
    assert "billed" in words
    assert json.loads((carrier.folder / "seen.json").read_text())["connect_action_ms"] == 112
