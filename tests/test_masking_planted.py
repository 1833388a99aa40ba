"""Forty words and numbers, each planted at one place of a resumed call: none is in any byte after masking."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest
from typer.testing import CliRunner

from bridge import cli
from bridge.core import messages as m
from bridge.recording import Header, replay

CALL = Path(__file__).parent / "replays" / "two-tools-one-answer.call.jsonl"
WORDS = [
    "quagga",
    "zorilla",
    "wombat",
    "vaquita",
    "uakari",
    "tamarin",
    "saiga",
    "ratel",
    "pangolin",
    "okapi",
    "numbat",
    "markhor",
    "loris",
    "kudu",
    "jerboa",
    "indri",
    "hyrax",
    "gerenuk",
    "fossa",
    "echidna",
    "dugong",
    "caracal",
    "binturong",
    "axolotl",
    "tenrec",
    "serval",
    "quokka",
    "margay",
    "kinkajou",
    "hoopoe",
    "gharial",
    "dhole",
    "coati",
    "banteng",
]
NUMBERS = [77_000_101 + number for number in range(6)]


def full_of_secrets() -> tuple[list[str], list[str]]:
    """The inputs of a recorded call as if it had been handed over, and what was planted in it."""
    words, numbers = iter(WORDS), iter(NUMBERS)
    text = words.__next__
    schema = {
        "type": "object",
        "description": text(),
        "properties": {
            "day": {"type": "string", "description": text(), "enum": [text(), text()], "default": text()},
            "pin": {"type": "integer", "default": next(numbers), "const": next(numbers)},
            "code": {"type": "integer", "enum": [next(numbers)], "examples": [next(numbers), text()]},
        },
    }

    def tool() -> dict[str, Any]:
        return {"type": "function", "name": "find_order", "description": text(), "parameters": schema}

    def session() -> m.SessionConfig:
        prompt = {"id": "pmpt_1", "variables": {"name": text(), "account": next(numbers)}}
        return m.SessionConfig(
            instructions=f"You are {text()}. Never say {text()}.",
            tools=(tool(), {"type": "mcp", "server_label": "shop", "authorization": text()}),
            extra={"prompt": prompt, "tracing": {"group_id": text(), "metadata": {"who": text()}}},
        )

    items = (
        m.SnapshotItem("user", f"This is {text()} {text()}"),
        m.SnapshotItem("assistant", text()),
        m.SnapshotItem("system", text()),
        m.SnapshotItem(
            call_id="call_before", name="find_order", arguments=f'{{"{text()}":"{text()}"}}', output=text()
        ),
    )
    header, *rest = CALL.read_text(encoding="utf-8").splitlines()
    read = msgspec.json.decode(header, type=Header)
    carried = m.CallSnapshot(items=items, session=session(), owed=True)
    given_session = session()
    beside = {"parameters": {"customer": text()}, "carried": {"notes": [text()]}}
    greeting = " ".join([*words])  # all that are left
    config = msgspec.structs.replace(
        read.config, session=given_session, greeting=greeting, carried=carried, resumed=True
    )
    made = msgspec.structs.replace(read, config=config, **beside)
    given = msgspec.json.encode(made).decode()
    planted = [word for word in (*WORDS, *map(str, NUMBERS)) if word in given]
    return [given, *rest], planted


def test_no_planted_value_of_a_resumed_call_is_left(tmp_path: Path) -> None:
    lines, planted = full_of_secrets()
    assert len(planted) >= 40
    recorded = replay(lines).outputs
    file, out = tmp_path / "resumed.call.jsonl", tmp_path / "masked.call.jsonl"
    file.write_text("\n".join(recorded) + "\n", encoding="utf-8")
    told = "\n".join(recorded[1:])
    assert [word for word in planted if word in told], "the call tells its history to the model"
    result = CliRunner().invoke(cli.app, ["replay", "--mask", "--out", str(out), str(file)])
    assert result.exit_code == 0, result.output
    left = out.read_bytes().decode().casefold()
    assert [word for word in planted if word in left] == []
    assert replay(out.read_text(encoding="utf-8").splitlines(), strict=True).difference is None


@pytest.mark.parametrize("number", [4_711, 47.11, -4_711])
def test_a_number_that_a_peer_has_filled_in_is_masked(number: float) -> None:
    from bridge.recording.masking import masked_message

    tool = {"type": "function", "name": "t", "parameters": {"properties": {"pin": {"default": number}}}}
    made = masked_message(m.SessionConfig(tools=(tool,), extra={"truncation": {"retention_ratio": 0.8}}))
    assert "47" not in str(made.tools)
    assert made.extra["truncation"] == {"retention_ratio": 0.8}
