"""What a call costs: cached tokens are a subset, dates decide, and nothing unknown is guessed."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from pathlib import Path

import pytest

from bridge.agents.prices import Bill, Cost, Price, Prices, Rate
from bridge.core.messages import SessionConfig, Usage
from bridge.errors import ConfigError

TODAY = dt.date(2026, 11, 20)


def price(**rates: Rate) -> Price:
    return Price("m", dt.date.min, **rates)  # type: ignore[arg-type]


def test_a_response_as_the_vendor_reports_it_costs_what_the_costs_guide_says() -> None:
    usage = Usage(text_in=400, audio_in=600, cached_text=320, cached_audio=512, text_out=40, audio_out=160)
    listed = Prices.load().of("gpt-realtime-2.1", TODAY)
    assert listed is not None
    # 80 fresh and 320 cached text, 88 fresh and 512 cached audio, 40 text and 160 audio out; per million.
    dollars = 80 * 4 + Decimal("0.40") * 320 + 88 * 32 + Decimal("0.40") * 512 + 40 * 24 + 160 * 64
    assert listed.of_tokens(usage) == dollars / 1_000_000 == Decimal("0.0146688")


def test_cached_tokens_are_taken_out_of_the_input_not_added_to_it() -> None:
    text = Rate(into=Decimal(10), cached=Decimal(1))
    assert price(text=text).of_tokens(Usage(text_in=1_000_000, cached_text=1_000_000)) == 1
    assert price(text=text).of_tokens(Usage(text_in=1_000_000)) == 10


def test_more_cached_than_read_is_a_server_that_errs_and_never_earns_money() -> None:
    text = Rate(into=Decimal(10), cached=Decimal(1))
    assert price(text=text).of_tokens(Usage(text_in=1_000_000, cached_text=9_000_000)) == 1


def test_cached_tokens_without_a_price_of_their_own_cost_what_any_input_costs() -> None:
    assert price(text=Rate(into=Decimal(10))).of_tokens(Usage(text_in=500_000, cached_text=500_000)) == 5


def test_tokens_of_a_kind_without_a_price_make_no_sum_and_absent_ones_do_not_matter() -> None:
    text_only = price(text=Rate(into=Decimal(10)))
    assert text_only.of_tokens(Usage(text_in=1, image_in=1)) is None
    assert text_only.of_tokens(Usage(text_in=1_000_000)) == 10


def test_the_default_model_and_its_transcription_have_prices() -> None:
    prices = Prices.load()
    assert prices.of(SessionConfig().model, TODAY) is not None
    assert prices.of("gpt-transcribe", TODAY) is not None


def test_a_snapshot_costs_what_its_model_costs() -> None:
    prices = Prices.load()
    assert prices.of("gpt-realtime-2.1-2026-09-01", TODAY) == prices.of("gpt-realtime-2.1", TODAY)
    assert prices.of("gpt-realtime-2.1-maxi", TODAY) is None


def test_the_price_of_the_day_counts(tmp_path: Path) -> None:
    table = tmp_path / "prices.toml"
    table.write_text(
        '[[price]]\nmodel = "m"\nsince = 2026-06-01\nminute = "3"\n'
        '[[price]]\nmodel = "m"\nsince = 2026-01-01\nminute = "2"\n'
    )
    prices = Prices.load(table)

    def of(*day: int) -> Decimal | None:
        found = prices.of("m", dt.date(*day))
        return found and found.minute  # type: ignore[return-value]

    assert [of(2025, 12, 31), of(2026, 1, 1), of(2026, 5, 31), of(2026, 6, 1)] == [None, 2, 2, 3]


def test_a_table_of_ones_own_goes_before_the_bundled_one_model_by_model(tmp_path: Path) -> None:
    table = tmp_path / "prices.toml"
    table.write_text('[[price]]\nmodel = "gpt-realtime-2.1"\naudio = { in = "1", out = "2" }\n')
    ours, theirs = Prices.load(), Prices.load(table)
    replaced = theirs.of("gpt-realtime-2.1", TODAY)
    assert replaced is not None
    assert replaced.audio == Rate(Decimal(1), None, Decimal(2))
    assert replaced.text == Rate()
    assert theirs.of("gpt-realtime-2", TODAY) == ours.of("gpt-realtime-2", TODAY)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("model = ", "cannot be read as a price table"),
        ("model = " + "[" * 5_000, "cannot be read as a price table"),
        ('model = "m"', r"it has no \[\[price\]\] entries"),
        ('[[price]]\nminute = "1"', "price 1: which model is it?"),
        ('[[price]]\nmodel = "m"\nhour = "1"', "price 1: there is no hour"),
        ('[[price]]\nmodel = "m"\nsince = "yesterday"', "price 1: since is a date"),
        (
            '[[price]]\nmodel = "m"\nminute = "-1"',
            "price 1, minute: dollars are a number of 0 or more, not '-1'",
        ),
        ('[[price]]\nmodel = "m"\nminute = true', "price 1, minute: dollars"),
        ('[[price]]\nmodel = "m"\nsession_minute = "-1"', "price 1, session_minute: dollars"),
        ('[[price]]\nmodel = "m"\nvendor = 3', "price 1: vendor is a name"),
        ('[[price]]\nmodel = "m"\ntext = { in = "4 USD" }', "price 1, text, in: dollars"),
        ('[[price]]\nmodel = "m"\ntext = { input = "4" }', "price 1, text: it has in, cached and out"),
    ],
)
def test_a_table_that_cannot_be_right_says_where(tmp_path: Path, text: str, complaint: str) -> None:
    table = tmp_path / "prices.toml"
    table.write_text(text)
    with pytest.raises(ConfigError, match=complaint):
        Prices.load(table)


def test_a_table_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none\.toml cannot be read"):
        Prices.load(tmp_path / "none.toml")


def bill(model: str = "gpt-realtime-2.1", transcription: str | None = "gpt-transcribe") -> Bill:
    return Bill(Prices.load(), model, transcription, TODAY)


def test_a_bill_adds_up_responses_and_transcriptions_exactly() -> None:
    call = bill()
    for _ in range(3):
        call.response(Usage(audio_in=100, audio_out=10))
    call.transcription(20, None)
    assert call.cost == Cost(Decimal("0.01152") + Decimal("0.0015"), complete=True)
    assert call.usage == Usage(audio_in=300, audio_out=30)


def test_a_transcription_billed_in_tokens_is_priced_in_tokens() -> None:
    call = bill(transcription="gpt-4o-transcribe")
    call.transcription(0, Usage(audio_in=1_000_000, text_out=100_000))
    assert call.cost == Cost(Decimal("3.5"), complete=True)


def test_a_response_without_figures_is_counted_as_unknown_not_as_free() -> None:
    call = bill()
    call.response(None)
    call.response(Usage(audio_out=1_000_000))
    assert call.cost == Cost(Decimal(64), complete=False)


def test_a_model_without_a_price_leaves_the_sum_incomplete_and_still_counts_tokens() -> None:
    call = bill(model="parrot-1", transcription="scribe-1")
    assert call.cost == Cost(Decimal(0), complete=True)
    call.response(Usage(text_out=7))
    call.transcription(1.5, None)
    assert call.cost == Cost(Decimal(0), complete=False)
    assert call.usage == Usage(text_out=7)


def test_a_transcription_that_failed_costs_nothing() -> None:
    call = bill()
    call.transcription(0, None)
    assert call.cost == Cost(Decimal(0), complete=True)


def test_a_model_has_the_prices_of_its_vendor_and_of_no_other(tmp_path: Path) -> None:
    table = tmp_path / "prices.toml"
    table.write_text(
        '[[price]]\nvendor = "azure"\nmodel = "gpt-realtime-2.1"\naudio = { in = "1", out = "2" }\n'
    )
    prices = Prices.load(table)
    theirs, ours = (prices.of("gpt-realtime-2.1", TODAY, vendor) for vendor in ("azure", "openai"))
    assert theirs is not None
    assert theirs.audio == Rate(Decimal(1), None, Decimal(2))
    assert ours == Prices.load().of("gpt-realtime-2.1", TODAY)
    assert prices.of("gpt-realtime-2.1", TODAY, "xai") is None


def test_the_bundled_table_has_the_vendors_that_sell_time() -> None:
    prices = Prices.load()
    live = prices.of("gpt-live-1.1", TODAY)
    assert live is not None
    assert live.of_session(90) == Decimal("0.075")
    grok = prices.of("grok-voice-latest", TODAY, "xai")
    assert grok is not None
    assert grok.of_session(100) == Decimal("0.13")
    realtime = prices.of("gpt-realtime-2.1", TODAY)
    assert realtime is not None
    assert realtime.of_session(100) is None


def test_tokens_of_a_model_that_is_sold_by_time_make_no_sum_incomplete() -> None:
    call = Bill(Prices.load(), "grok-voice-latest", None, TODAY, "xai")
    call.response(Usage(text_in=13, text_out=8, audio_out=105))
    call.response(None)
    assert call.cost == Cost(Decimal(0), complete=True)
