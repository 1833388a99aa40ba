"""The table: which row a number has, and every fault of a file at once."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from bridge.agents.agent import Agent
from bridge.agents.turned_away import Forward, Refuse, Voicemail
from bridge.server.routing.reading import make_table, read_table
from bridge.server.routing.rows import WrongTable
from bridge.server.routing.table import RoutingTable
from bridge.settings.settings import Settings, load_settings

MAIN, SHOP, BAR = (f"AC{number:032x}" for number in (1, 2, 3))
SALES, SUPPORT = Agent(name="sales"), Agent(name="support")


def settings(**more: Any) -> Settings:
    given = {
        "twilio_account_sid": MAIN,
        "twilio_auth_token": "main-token",
        "public_url": "https://v.example.com",
    }
    given |= {
        "upstream": "embedded",
        "transfers": "front=+15550007777,night=+15550008888",
        "fallback": "front",
    }
    return load_settings(env_file=None, journal=None, **{**given, **more})


ACCOUNTS = {
    "shop": {"sid": SHOP, "token": "shop-token"},
    "bar": {"sid": BAR, "token": ["bar-token", "bar-token-2"], "rest": "parent"},
}


def table(*rows: dict[str, Any], **more: Any) -> RoutingTable:
    return make_table({"accounts": ACCOUNTS, **more, "routes": list(rows)}, settings(), {})


def faults(*rows: dict[str, Any], environment: dict[str, str] | None = None, **more: Any) -> list[str]:
    with pytest.raises(WrongTable) as wrong:
        make_table({"accounts": ACCOUNTS, **more, "routes": list(rows)}, settings(), environment or {})
    return [str(fault) for fault in wrong.value.faults]


def found(of: RoutingTable, number: str, account: str = MAIN) -> str | None:
    route = of.find(number, account)
    return None if route is None else route.to


def test_the_number_itself_then_the_longest_beginning() -> None:
    rows = table(*({"to": to} for to in ("*", "+1555*", "+1555000*", "+15550002222")))
    assert found(rows, "+15550002222") == "+15550002222"
    assert found(rows, "+15550002223") == "+1555000*"
    assert found(rows, "+15551112223") == "+1555*"
    assert found(rows, "+441632960000") == "*"
    assert found(rows, "sip:desk@example.com") == "*"


def test_a_number_without_a_row_is_the_main_accounts() -> None:
    rows = table({"to": "+15550002222", "agent": SALES})
    other = rows.find("+15550009999", MAIN)
    assert other is rows.otherwise
    assert (other.agent, dict(other.transfers), other.fallback) == (
        None,
        {"front": "+15550007777", "night": "+15550008888"},
        "front",
    )
    assert rows.find("+15550009999", SHOP) is None, "no tenant rings the server's own agent"


def test_a_row_and_its_account_agree() -> None:
    rows = table(
        {"to": "+15550002222", "account": "shop"},
        {"to": "+15550003333", "account": "bar"},
        {"to": "+15550004444"},
        {"to": "+1555*", "account": "bar"},
        {"to": "+1555*", "account": "shop"},
    )
    assert found(rows, "+15550002222", SHOP) == "+15550002222"
    assert found(rows, "+15550002222", BAR) is None, "not even by a row for all that begin alike"
    assert found(rows, "+15550002222", MAIN) is None
    assert found(rows, "+15550004444", SHOP) is None
    assert found(rows, "+15550005555", SHOP) == "+1555*"
    assert rows.find("+15550005555", BAR) is not rows.find("+15550005555", SHOP)
    assert found(rows, "+15550005555", MAIN) == "*"
    assert found(rows, "+15550002222", f"AC{9:032x}") is None
    assert rows.account(f"AC{9:032x}") is None


def test_without_other_accounts_any_is_the_main_one_if_it_is_not_named() -> None:
    rows = make_table([{"to": "*"}], settings(twilio_account_sid=None), {})
    assert found(rows, "+15550002222", SHOP) == "*"


def test_a_rows_own_targets_replace_the_global_ones() -> None:
    rows = table(
        {"to": "+15550000001"},
        {"to": "+15550000002", "transfers": {"sales": "+15550005555"}},
        {"to": "+15550000003", "transfers": "front=+15550006666, sales=+15550005555"},
        {"to": "+15550000004", "transfers": {"sales": "+15550005555"}, "fallback": "sales"},
        {"to": "+15550000005", "transfers": {}},
        {"to": "+15550000006", "fallback": "night"},
    )
    told = []
    for number in range(1, 7):
        route = rows.find(f"+1555000000{number}", MAIN)
        assert route is not None
        told.append((sorted(route.transfers), route.fallback))
    assert told == [
        (["front", "night"], "front"),
        (["sales"], None),  # the fallback is another's number
        (["front", "sales"], "front"),
        (["sales"], "sales"),
        ([], None),
        (["front", "night"], "night"),
    ]


def test_what_a_closed_number_answers() -> None:
    office = {"office": {"zone": "Europe/Berlin", "open": ["mon-fri 09:00-17:00"]}}
    answers: list[Any] = [
        "busy", "rejected", {"say": "We are closed."}, {"forward": "night"}, {"voicemail": "Speak."},
        {"voicemail": "https://example.com/closed.mp3", "max_s": 30}, Refuse(say="No."), SUPPORT,
    ]  # fmt: skip
    rows = [
        {"to": f"+1555000000{place}", "hours": "office", "closed": one} for place, one in enumerate(answers)
    ]
    of = table(*rows, hours=office)
    assert [route.closed for route in of.routes] == [
        Refuse("busy"), Refuse(), Refuse(say="We are closed."), Forward("night"), Voicemail("Speak."),
        Voicemail("https://example.com/closed.mp3", 30), Refuse(say="No."), SUPPORT,
    ]  # fmt: skip


def test_a_file_with_everything(tmp_path: Path) -> None:
    (tmp_path / "blocked.txt").write_text("anonymous\n+1900*\n")
    (tmp_path / "own.txt").write_text("+15550001111\n")
    (tmp_path / "routes.toml").write_text(
        """
        blocked = "blocked.txt"
        caller_calls_a_minute = 4

        [accounts.shop]
        sid = "AC00000000000000000000000000000002"
        token_env = "SHOP_TOKEN"
        max_calls = 10
        day_cost = 20

        [[routes]]
        to = "+1 555 000-2222"
        agent = "tests.routing.agents:sales"
        account = "shop"
        language = "de"
        max_calls = 3
        day_cost = 12.5
        calls_a_minute = 9
        blocked = "own.txt"
        recordings = "kept"

        [[routes]]
        to = "*"
        recordings = false
        """
    )
    of = read_table(tmp_path / "routes.toml", settings(), {"SHOP_TOKEN": "old-one, new-one"})
    route = of.find("+15550002222", SHOP)
    assert route is not None
    assert route.agent is not None
    assert (route.agent.name, route.language, route.max_calls) == ("sales", "de", 3)
    assert (route.day_cost, route.calls_a_minute, route.caller_calls_a_minute) == (12.5, 9, 4)
    assert route.blocked.holds("+15550001111")
    assert not route.blocked.holds("+19005550000")
    assert route.recordings == tmp_path / "kept"
    assert [token.get_secret_value() for token in route.account.tokens] == ["old-one", "new-one"]
    assert (route.account.max_calls, route.account.day_cost) == (10, 20)
    rest = of.find("+15550009999", MAIN)
    assert rest is not None
    assert rest.recordings is False
    assert rest.blocked.holds("")


def test_every_fault_at_once() -> None:
    told = faults(
        {"to": "5550001"},
        {"to": "+15550002222", "max_cals": 3, "language": "german", "day_cost": -1},
        {"to": "+15550002222", "account": "nobody"},
        {"to": "+15550002222", "account": "shop"},
        {"to": "+15550003333", "agent": "no_such_module:agent"},
        {"to": "+15550004444", "agent": "tests.routing.agents:nothing"},
        {"to": "+15550005555", "transfers": {"sales": "555"}},
        {"to": "+15550006666", "fallback": "nobody"},
        {"to": "+15550007777", "hours": "never", "closed": "busy"},
        {"to": "+15550008888", "closed": "busy"},
        {"to": "+15550009999", "hours": "broken", "closed": {"voicemail": "x", "max_s": 1}},
        {"to": "+15550009998", "hours": "broken", "closed": {"forward": "nobody"}},
        {"to": "+15550009997", "blocked": "none.txt"},
        hours={"broken": {"zone": "Mars", "open": ["mon 09:00-10:00"]}},
        blocked="nowhere.txt",
    )
    text = "\n".join(told)
    for words in (
        "hours.broken has an unknown zone",
        "the table: blocked cannot be read",
        "row 1 (…01): to is no number",
        "row 2 (…22): max_cals is unknown: did you mean max_calls?",
        "row 2 (…22): language is no language tag",
        "row 2 (…22): day_cost is out of range",
        "row 3 (…22): account is unknown",
        "row 4 (…22): to has a row already",
        "row 5 (…33): agent is wrong",
        "row 6 (…44): agent is wrong",
        "row 7 (…55): transfers the number of 'sales' is not E.164",
        "row 8 (…66): fallback names no target",
        "row 9 (…77): hours is unknown",
        "row 10 (…88) has one of hours and closed without the other",
        "row 11 (…99): closed is wrong",
        "row 12 (…98): closed forwards to no target",
        "row 13 (…97): blocked cannot be read",
    ):
        assert words in text, f"{words} is not in:\n{text}"
    assert "+1555" not in text.replace("like +1555", ""), "numbers get into no message"


@pytest.mark.parametrize(
    ("accounts", "what"),
    [
        ({"main": {"sid": SHOP, "token": "t-1"}}, "is the name of"),
        ({"a": {"sid": MAIN, "token": "t-1"}}, "has the SID of another"),
        ({"a": {"sid": SHOP, "token": "t-1"}, "b": {"sid": SHOP, "token": "t-2"}}, "has the SID of another"),
        ({"a": {"sid": SHOP, "token": "main-token"}}, "has the token of another"),
        (
            {"a": {"sid": SHOP, "token": "t-1"}, "b": {"sid": BAR, "token": ["t-2", "t-1"]}},
            "has the token of",
        ),
        ({"a": {"sid": SHOP}}, "is written twice or not at all"),
        ({"a": {"sid": SHOP, "token": "t-1", "token_env": "T"}}, "is written twice or not at all"),
        ({"a": {"sid": SHOP, "token_env": "NOT_SET"}}, "is empty"),
        ({"a": {"sid": SHOP, "token": SHOP}}, "is an account SID"),
        ({"a": {"sid": "AC1", "token": "t-1"}}, "is not an account SID"),
        ({"a": {"token": "t-1"}}, "sid is missing"),
        ({"a": "shop"}, "is no table"),
        ({"a": {"sid": SHOP, "token": "t-1", "rest": "mine"}}, "rest is of another kind"),
    ],
)
def test_accounts_that_cannot_work(accounts: dict[str, Any], what: str) -> None:
    [told] = faults(accounts=accounts)
    assert what in told
    assert "t-1" not in told
    assert "main-token" not in told


def test_other_accounts_need_a_main_one() -> None:
    with pytest.raises(WrongTable, match="set TWILIO_ACCOUNT_SID"):
        make_table({"accounts": ACCOUNTS}, settings(twilio_account_sid=None), {})


def test_a_file_that_is_no_table(tmp_path: Path) -> None:
    path = tmp_path / "routes.toml"
    for content, what in (
        (b"to = ", "is not TOML"),
        (b"to = " + b"[" * 5_000, "is not TOML"),
        (b"\xff\xfe", "cannot be read"),
        (b"routes = 3", "another kind"),
    ):
        path.write_bytes(content)
        with pytest.raises(WrongTable, match=what):
            read_table(path, settings(), {})
    with pytest.raises(WrongTable, match="cannot be read"):
        read_table(tmp_path / "none.toml", settings(), {})


def test_a_thousand_rows_are_found_as_fast_as_ten() -> None:
    rows = [{"to": f"+1555{number:07}", "transfers": {"x": f"+1555{number:07}"}} for number in range(1_000)]
    began = time.process_time()
    of = table(*rows, {"to": "+1555*"}, {"to": "*"})
    assert time.process_time() - began < 2, "some tens of milliseconds, and a busy machine"
    assert found(of, "+15550000999") == "+15550000999"
    assert found(of, "+15559999999") == "+1555*"
    few = table(*rows[:10], {"to": "+1555*"}, {"to": "*"})
    assert _lookups(of) < 5 * _lookups(few), "the row is looked up, not looked for"


def _lookups(of: RoutingTable) -> float:
    """The best of five times for the last number of the table and one without a row."""
    times = []
    for _ in range(5):
        began = time.process_time()
        for _ in range(300):
            of.find("+15550000009", MAIN)
            of.find("+33155500000", MAIN)
        times.append(time.process_time() - began)
    return min(times)
