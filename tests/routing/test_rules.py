"""What a row says of its calls: who answers, in which language, where they may be sent, how many may come."""

from __future__ import annotations

import logging
import os
import time
from pathlib import Path
from typing import Any

import pytest

from bridge import Agent, ConfigError, Forward, Refuse, Voicemail, transfer
from bridge.core import messages as m
from bridge.core.stats import Stats
from bridge.doctor.checks import Doctor
from bridge.server.routing.rows import WrongTable
from bridge.settings.settings import load_settings
from tests.routing.world import MAIN, NUMBERS, World, sid, targets, verbs, world

BUSY = '<Response><Reject reason="busy" /></Response>'
HOURS = {"office": {"zone": "UTC", "open": ["mon-fri 09:00-17:00"]}}


def row(**more: Any) -> dict[str, Any]:
    return {"to": NUMBERS[MAIN], **more}


def ends(ours: World, call: int, *, cost_micro_usd: int = 0) -> None:
    """A call that waits is over, and has cost that."""
    runner = ours.service.registry.runner(sid(call))
    assert runner is not None
    runner.call.stats.cost_micro_usd = cost_micro_usd
    ours.run(ours.service.registry.let_go, sid(call))


def test_the_agent_its_language_and_its_targets() -> None:
    table = [
        row(agent=Agent("Sell."), language="de-AT", transfers={"chef": "+15550009999"}),
        {"to": "+15551112222", "agent": Agent("Help.", tools=[transfer])},
        {"to": "*"},
    ]
    with world(table, Agent("Default.", language="fr")) as ours:
        for call, number in enumerate((NUMBERS[MAIN], "+15551112222", "+15559990000"), 1):
            assert "<Connect" in ours.rings(call=call, To=number)
        assert [ours.config(call).instructions for call in (1, 2, 3)] == ["Sell.", "Help.", "Default."]
        assert [ours.config(call).language for call in (1, 2, 3)] == ["de", None, "fr"]
        runner = ours.service.registry.runner(sid(1))
        assert runner is not None
        assert (
            runner.call.config.phrases["busy"].text
            != ours.service.settings.speech().sounds("en")["busy"].text
        )
        [offered] = ours.config(2).tools
        assert "night" in str(offered)
        assert "chef" not in str(offered)


def test_a_resolver_answers_within_its_row() -> None:
    def resolver(fields: Any) -> Any:
        return {"1": Forward("chef"), "2": Forward("night"), "3": {"instructions": "Changed."}}[
            fields["Case"]
        ]

    table = [row(agent=Agent("Sell.", resolver=resolver, name="seller"), transfers={"chef": "+15550009999"})]
    with world(table, resolver_fails="refuse") as ours:
        assert targets(ours.rings(call=1, Case="1")) == ["+15550009999"]
        assert ours.rings(call=2, Case="2") == BUSY, "night is a target of other numbers"
        assert "<Connect" in ours.rings(call=3, Case="3")
        assert ours.config(3).instructions == "Changed."


def test_a_resolver_that_fails_sends_to_the_rows_own_fallback() -> None:
    def raises(_fields: object) -> None:
        raise RuntimeError("database")

    own = row(agent=Agent(resolver=raises), transfers={"chef": "+15550009999"}, fallback="chef")
    without = {"to": "+15551112222", "agent": Agent(resolver=raises), "transfers": {"chef": "+15550009999"}}
    other = {"to": "*", "agent": Agent(resolver=raises)}
    with world([own, without, other], resolver_fails="fallback", fallback="night") as ours:
        assert targets(ours.rings(call=1)) == ["+15550009999"]
        assert ours.rings(call=2, To="+15551112222") == BUSY, "no caller goes to another number's fallback"
        assert targets(ours.rings(call=3, To="+15559990000")) == ["+15550008888"]


def test_a_fallback_for_the_day_without_a_model_is_the_rows_own() -> None:
    table = [row(transfers={"chef": "+15550009999"}, fallback="chef"), {"to": "*", "transfers": {}}]
    with world(table, fallback="night") as ours:
        ours.service.services.health.breaker.refused("no such model")
        assert targets(ours.rings(call=1)) == ["+15550009999"]
        assert verbs(ours.rings(call=2, To="+15559990000")) == ["Say", "Hangup"]


@pytest.mark.parametrize(
    ("closed", "expected"),
    [
        ("busy", ["Reject"]),
        ("rejected", ["Reject"]),
        ({"say": "We are closed."}, ["Say", "Hangup"]),
        ({"forward": "night"}, ["Dial"]),
        ({"voicemail": "Speak."}, ["Say", "Record", "Hangup"]),
        (Voicemail("https://example.com/closed.mp3"), ["Play", "Record", "Hangup"]),
        (Agent("You are the night watch."), ["Connect"]),
    ],
)
def test_what_a_closed_number_answers(closed: Any, expected: list[str]) -> None:
    with world({"hours": HOURS, "routes": [row(hours="office", closed=closed, agent=Agent("Day."))]}) as ours:
        assert verbs(ours.rings(call=1)) == ["Connect"]
        ours.now = ours.now.replace(hour=17)
        assert verbs(ours.rings(call=2)) == expected
        if expected == ["Connect"]:
            assert ours.config(2).instructions == "You are the night watch."
        else:
            assert (ours.waiting, ours.rejects("closed")) == (1, 1)
        assert verbs(ours.rings(call=1)) == ["Connect"], "one that waits already is let in"


def test_a_number_has_its_room_and_so_has_an_account() -> None:
    table = {
        "accounts": {"shop": {"sid": f"AC{2:032x}", "token": "shop-token-2", "max_calls": 2}},
        "routes": [
            row(max_calls=1),
            {"to": "+15550003333", "account": "shop", "max_calls": 5},
            {"to": "+15550003334", "account": "shop"},
        ],
    }
    shop = f"AC{2:032x}"
    with world(table, busy="reject") as ours:
        assert "<Connect" in ours.rings(call=1)
        assert ours.rings(call=2) == BUSY
        assert "<Connect" in ours.rings(call=1), "the same webhook again takes no second place"
        assert "<Connect" in ours.rings(call=3, To="+15559990000"), "another number has its own room"
        ends(ours, 1)
        assert "<Connect" in ours.rings(call=4)
        assert "<Connect" in ours.rings(call=5, account=shop)
        assert "<Connect" in ours.rings(call=6, account=shop, To="+15550003334")
        assert ours.rings(call=7, account=shop) == BUSY
        assert (ours.rejects("number full"), ours.rejects("account full")) == (1, 1)


def test_busy_is_said_where_the_settings_say_so() -> None:
    with world([row(max_calls=1)]) as ours:
        ours.rings(call=1)
        assert verbs(ours.rings(call=2)) == ["Say", "Hangup"]


def test_the_days_money_of_a_number() -> None:
    with world([row(day_cost=0.5), {"to": "*"}], busy="reject") as ours:
        for call, cost in ((1, 300_000), (2, 199_999)):
            assert "<Connect" in ours.rings(call=call)
            ends(ours, call, cost_micro_usd=cost)
        assert "<Connect" in ours.rings(call=3)
        ends(ours, 3, cost_micro_usd=1)
        assert ours.rings(call=4) == BUSY
        assert "<Connect" in ours.rings(call=5, To="+15559990000")
        assert ours.rejects("number money") == 1


def test_calls_a_minute_of_a_caller_and_of_a_number() -> None:
    table = {"caller_calls_a_minute": 2, "routes": [row(calls_a_minute=3), {"to": "*"}]}
    with world(table) as ours:
        assert ["<Connect" in ours.rings(call=call) for call in (1, 2, 3)] == [True, True, False]
        assert ours.rings(call=3) == BUSY, "not billed, whatever BRIDGE_BUSY says"
        assert ours.rings(call=4, To="+15559990000") == BUSY, "a caller is counted over all numbers"
        assert "<Connect" in ours.rings(call=5, From="+15550001112")
        assert ours.rings(call=6, From="+15550001113") == BUSY, "the number was called three times"
        assert (ours.rejects("caller rate"), ours.rejects("number rate")) == (3, 1)
        ours.clock_s = 60.0
        assert "<Connect" in ours.rings(call=7)


def test_the_rules_go_in_their_order(tmp_path: Path) -> None:
    """Who may never come in is asked first, and nothing is counted of who is turned away."""
    (tmp_path / "blocked.txt").write_text("+15550001111\n")
    table = {
        "blocked": str(tmp_path / "blocked.txt"),
        "caller_calls_a_minute": 1,
        "hours": HOURS,
        "routes": [row(hours="office", closed={"say": "Closed."}, max_calls=1)],
    }
    with world(table, busy="reject", max_calls=2) as ours:
        ours.now = ours.now.replace(hour=20)
        assert verbs(ours.rings(call=1)) == ["Reject"], "blocked before closed"
        assert verbs(ours.rings(call=2, From="+15550002000")) == ["Say", "Hangup"], "closed before full"
        ours.now = ours.now.replace(hour=12)
        assert "<Connect" in ours.rings(call=3, From="+15550002000"), "the refused call was not counted"
        for _ in range(3):
            assert ours.rings(call=4, From="+15550002000") == BUSY
        found = {gate: ours.rejects(gate) for gate in ("blocked", "closed", "number full", "caller rate")}
        assert found == {"blocked": 1, "closed": 1, "number full": 3, "caller rate": 0}
        assert ours.waiting == 1


def test_recordings_of_a_row(tmp_path: Path) -> None:
    table = [
        row(recordings=False),
        {"to": "+15551112222", "recordings": str(tmp_path / "own")},
        {"to": "*"},
    ]
    with world(table, recordings=str(tmp_path / "all")) as ours:
        for call, number in enumerate((NUMBERS[MAIN], "+15551112222", "+15559990000"), 1):
            ours.rings(call=call, To=number)
    kept = {
        folder: [path.name for path in (tmp_path / folder).glob("*.call.jsonl")] for folder in ("own", "all")
    }
    assert {folder: len(names) for folder, names in kept.items()} == {"own": 1, "all": 1}
    assert sid(2)[-6:] in kept["own"][0]
    assert sid(3)[-6:] in kept["all"][0]


def test_a_table_read_again_is_for_calls_to_come(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    path = tmp_path / "routes.toml"
    shop = '[accounts.shop]\nsid = "AC00000000000000000000000000000002"\ntoken = "shop-token-2"\n'
    first = f'[[routes]]\nto = "{NUMBERS[MAIN]}"\nagent = "tests.routing.agents:sales"\nmax_calls = 1\n'
    path.write_text(first)
    with world(None, BRIDGE_ROUTES=str(path), busy="reject") as ours:
        again = ours.service.routing.read_again
        assert "<Connect" in ours.rings(call=1)
        assert ours.rings(call=20, account=f"AC{2:032x}") == "403"

        path.write_text(first + "max_cals = 3\n[[routes]]\nto = 'x'\n[[routes]]\nto = 'y'\n")
        assert ours.run(again) is False
        told = caplog.messages[-1]
        assert all(words in told for words in ("row 1", "max_cals is unknown", "row 2", "row 3"))
        assert ours.rings(call=2) == BUSY, "the old table stays, with what it has counted"

        path.write_text(shop + first.replace("sales", "support").replace("= 1", "= 2"))
        assert ours.run(again) is True
        assert ours.config(1).instructions == "You sell.", "a call keeps its row"
        assert "<Connect" in ours.rings(call=3)
        assert ours.config(3).instructions == "You help."
        assert ours.rings(call=4) == BUSY, "the first call is still counted"
        assert ours.rings(call=20, account=f"AC{2:032x}") == "403", "its number has no row"
        path.unlink()
        assert ours.run(again) is False
        assert "cannot be read" in caplog.messages[-1]
    assert "shop-token-2" not in caplog.text


def test_a_wrong_table_is_refused_at_start(tmp_path: Path) -> None:
    path = tmp_path / "routes.toml"
    path.write_text('[[routes]]\nto = "x"\n[[routes]]\nto = "+15550001111"\nagent = "nowhere:agent"\n')
    with pytest.raises(WrongTable) as wrong, world(None, BRIDGE_ROUTES=str(path)):
        pass
    assert len(wrong.value.faults) == 2
    with pytest.raises(ConfigError, match="leave one of them"), world([row()], BRIDGE_ROUTES=str(path)):
        pass
    with (
        pytest.raises(WrongTable, match="names no target"),
        world([row(agent=Agent(tools=[transfer]))], transfers={}),
    ):
        pass


def test_a_table_of_a_thousand_rows_answers_and_is_read_again_soon(tmp_path: Path) -> None:
    path = tmp_path / "routes.toml"
    rows = [
        f'[[routes]]\nto = "+1555{number:07}"\nlanguage = "{("de", "en", "fr")[number % 3]}"\n'
        f'agent = "tests.routing.agents:{("sales", "support")[number % 2]}"\n'
        f'transfers = {{ desk = "+1555{number:07}" }}\n'
        for number in range(1_000)
    ]
    path.write_text("\n".join(rows))
    with world(None, BRIDGE_ROUTES=str(path)) as ours:
        began = time.process_time()
        assert ours.run(ours.service.routing.read_again) is True
        assert time.process_time() - began < 3, "a tenth of it, and a busy machine"
        assert "<Connect" in ours.rings(call=1, To="+15550000998")
        assert (ours.config(1).instructions, ours.config(1).language) == ("You sell.", "fr")
        assert dict(ours.router.of(sid(1)).route.transfers) == {"desk": "+15550000998"}


def test_an_agent_may_bring_the_table() -> None:
    rows = [row(agent=Agent("Sell."))]
    with world(None, Agent("Help.", routes=rows)) as ours:
        assert "<Connect" in ours.rings(call=1)
        assert "<Connect" in ours.rings(call=2, To="+15559990000")
        assert [ours.config(call).instructions for call in (1, 2)] == ["Sell.", "Help."]
    with pytest.raises(ConfigError, match="routes is rows"):
        Agent(routes="routes.toml")  # type: ignore[arg-type]


def test_the_doctor_says_each_fault_of_the_table(tmp_path: Path) -> None:
    path = tmp_path / "routes.toml"
    path.write_text('[[routes]]\nto = "x"\n[[routes]]\nto = "+15550001111"\nagent = "nowhere:agent"\n')
    settings = load_settings(env_file=None, demo=True, insecure=True, BRIDGE_ROUTES=str(path))
    doctor = Doctor(settings)
    vars(Doctor)["_agent"](doctor)
    told = [one for one in doctor.checks if one.name == "BRIDGE_ROUTES"]
    assert [one.ok for one in told] == [False, False]
    assert "row 1" in told[0].what
    path.write_text('[[routes]]\nto = "*"\n')
    doctor = Doctor(settings)
    vars(Doctor)["_agent"](doctor)
    assert [(one.name, one.ok) for one in doctor.checks] == [("BRIDGE_ROUTES", True)]


def test_without_a_table_nothing_is_read_again() -> None:
    with world() as ours:
        assert ours.run(ours.service.routing.read_again) is False
        assert "<Connect" in ours.rings(account=MAIN, To="+15559990000")


def test_a_token_may_stand_in_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path(".env").write_text("SHOP_TOKEN=from-the-file\n")
    accounts = {"shop": {"sid": f"AC{2:032x}", "token_env": "SHOP_TOKEN"}}
    table = {"accounts": accounts, "routes": [{"to": "+15550003333", "account": "shop"}]}
    for value in (None, "from-the-environment"):
        if value is not None:
            monkeypatch.setitem(os.environ, "SHOP_TOKEN", value)
        with world(table) as ours:
            token = value or "from-the-file"
            assert "<Connect" in ours.rings(account=f"AC{2:032x}", token=token)


def test_simulated_calls_have_any_account() -> None:
    table = {
        "accounts": {"shop": {"sid": f"AC{2:032x}", "token": "shop-token-2"}},
        "routes": [{"to": "+15550003333", "account": "shop", "agent": Agent("You are the shop.")}],
    }
    settings: dict[str, Any] = {"public_url": None, "insecure": True}
    with world(table, **settings) as ours:
        assert "<Connect" in ours.rings(account="anything", token="none", To="+15550003333")
        assert ours.config().instructions == "You are the shop."


def test_counts_end_with_their_calls() -> None:
    with world([row(max_calls=3)]) as ours:
        for call in range(1, 4):
            ours.rings(call=call)
        for call in range(1, 4):
            ends(ours, call)
        assert not vars(ours.router)["_live"]
        assert not +vars(ours.router)["_in_use"]
        ours.router.call_ended(sid(99), m.Ended(m.Reason.CALLER_HUNG_UP), Stats())  # of no call of ours


def test_refuse_is_what_a_closed_number_may_be_in_python() -> None:
    with world({"hours": HOURS, "routes": [row(hours="office", closed=Refuse(say="No."))]}) as ours:
        ours.now = ours.now.replace(hour=3)
        assert verbs(ours.rings()) == ["Say", "Hangup"]
