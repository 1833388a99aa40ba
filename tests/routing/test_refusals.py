"""Timeline 30 of the carrier's reference: five refusals, to the letter, and what they cost."""

from __future__ import annotations

from pathlib import Path

from bridge import Agent
from tests.routing.world import BAR, MAIN, NUMBERS, PUBLIC, SHOP, TOKENS, world

CLOSED = {
    "accounts": {"shop": {"sid": SHOP, "token": TOKENS[SHOP]}, "bar": {"sid": BAR, "token": TOKENS[BAR]}},
    "hours": {"office": {"zone": "Europe/Berlin", "open": ["mon-fri 09:00-12:00"]}},
    "routes": [
        {
            "to": NUMBERS[MAIN],
            "hours": "office",
            "closed": {"voicemail": "We are closed.", "max_s": 60},
        },
        {"to": NUMBERS[SHOP], "account": "shop"},
        {"to": NUMBERS[BAR], "account": "bar"},
    ],
}


def test_a_caller_on_the_block_list(tmp_path: Path) -> None:
    blocked = tmp_path / "blocked.txt"
    blocked.write_text("+15550001111\n")
    with world({"blocked": str(blocked), "routes": [{"to": "*"}]}) as ours:
        assert ours.rings() == "<Response><Reject /></Response>"
        assert (ours.waiting, ours.rejects("blocked")) == (0, 1)
        assert "<Connect" in ours.rings(call=2, From="+15550001112")


def test_no_room_and_a_busy_tone() -> None:
    with world(max_calls=1, busy="reject") as ours:
        assert "<Connect" in ours.rings()
        assert ours.rings(call=2) == '<Response><Reject reason="busy" /></Response>'
        assert (ours.waiting, ours.rejects("full")) == (1, 1)


def test_closed_and_a_voicemail_box() -> None:
    with world(CLOSED) as ours:
        box = (
            '<Response><Say language="en-US" voice="Polly.Joanna">We are closed.</Say>'
            f'<Record action="{PUBLIC}/voicemail" maxLength="60" method="POST" '
            f'recordingStatusCallback="{PUBLIC}/voicemail" recordingStatusCallbackMethod="POST" />'
            "<Hangup /></Response>"
        )
        assert ours.rings() == box  # noon UTC is 13:00 there
        assert (ours.waiting, ours.rejects("closed")) == (0, 1)
        ours.now = ours.now.replace(hour=10, minute=59)
        assert "<Connect" in ours.rings(call=2)
        assert ours.waiting == 1


def test_an_account_that_rings_anothers_number() -> None:
    with world(CLOSED, Agent("You answer.")) as ours:
        assert ours.rings(account=BAR, To=NUMBERS[SHOP]) == "403"
        assert ours.rings(account=BAR, To=NUMBERS[MAIN]) == "403"
        assert ours.rings(account=MAIN, To=NUMBERS[SHOP]) == "403"
        assert (ours.waiting, ours.rejects("route")) == (0, 3)
        assert "<Connect" in ours.rings(account=BAR)


def test_a_question_after_a_stream_that_is_not_signed() -> None:
    with world(CLOSED) as ours:
        answer = ours.client.post("/after-stream", data={"CallSid": f"CA{1:032x}", "AccountSid": MAIN})
        assert (answer.status_code, answer.text) == (403, "")
        assert (ours.waiting, ours.rejects("signature")) == (0, 1)
