"""Whether a call is let in by what the carrier says of it, or by there being no word of the carrier's."""

from __future__ import annotations

import asyncio
import logging

import pytest

from bridge.ops.metrics import UNVERIFIED, Metrics
from bridge.server.twilio_rest import Standing
from bridge.server.verification import Mode, Verification, refusal

NO_WORD = [one for one in Standing if one.name.lower() in UNVERIFIED]


class Rest:
    """Gives one answer, after a moment."""

    def __init__(self, standing: Standing) -> None:
        self.says = standing
        self.asked: list[tuple[str, str]] = []

    async def standing(self, call_sid: str, account_sid: str) -> Standing:
        self.asked.append((call_sid, account_sid))
        await asyncio.sleep(0)
        return self.says


def asking(rest: Rest, mode: Mode = "auto") -> tuple[Verification, Metrics]:
    metrics = Metrics()
    return Verification(rest, metrics, mode), metrics  # type: ignore[arg-type]


@pytest.mark.parametrize("mode", ["auto", "always"])
@pytest.mark.parametrize("remembered", [True, False])
def test_a_word_of_the_carrier_s_decides(mode: Mode, remembered: bool) -> None:
    assert refusal(Standing.GOES_ON, mode, remembered=remembered) is None
    assert refusal(Standing.OVER, mode, remembered=remembered) == "ended"
    assert refusal(Standing.FOREIGN, mode, remembered=remembered) == "account"


def test_without_one_only_what_is_new_is_let_in_unless_a_word_is_wanted_always() -> None:
    assert len(NO_WORD) == len(UNVERIFIED) == 5
    for standing in NO_WORD:
        assert refusal(standing, "auto", remembered=False) is None
        assert refusal(standing, "auto", remembered=True) == "replay"
        assert refusal(standing, "always", remembered=False) == "unverified"


@pytest.mark.parametrize("standing", NO_WORD)
def test_who_is_let_in_without_is_counted_and_logged(
    standing: Standing, caplog: pytest.LogCaptureFixture
) -> None:
    verification, metrics = asking(Rest(standing))
    assert asyncio.run(verification.refusal("CA1", "AC1")) is None
    counted = f'phonebridge_calls_unverified_total{{why="{standing.name.lower()}"}} 1.0'
    assert counted in metrics.render()[0].decode()
    [line] = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert (line.call_sid, standing.value in line.message) == ("CA1", True)  # type: ignore[attr-defined]


def test_off_never_asks() -> None:
    rest = Rest(Standing.OVER)
    verification, _ = asking(rest, "off")
    assert asyncio.run(verification.refusal("CA1", "AC1")) is None
    assert rest.asked == []


def test_the_same_webhook_many_times_at_once_is_one_question() -> None:
    rest = Rest(Standing.OVER)

    async def main() -> None:
        verification, _ = asking(rest)
        found = await asyncio.gather(*(verification.refusal("CA1", "AC1") for _ in range(20)))
        assert found == ["ended"] * 20
        await verification.refusal("CA2", "AC1")

    asyncio.run(main())
    assert rest.asked == [("CA1", "AC1"), ("CA2", "AC1")]
