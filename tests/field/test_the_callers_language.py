"""What is said without the model is in the language of the call, by whatever way it got that language.

Reported of other bridges: a German voice that read English words, and English fillers in a Spanish call. The
sound that the caller heard is compared with the bundled files, byte for byte.
"""

from __future__ import annotations

import asyncio
from base64 import b64decode
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from bridge import Agent, Session, sounds, tool
from bridge.core import messages as m
from bridge.recording import replay
from bridge.server.service import create_app
from bridge.settings.settings import load_settings
from bridge.sounds.phrases import Phrases
from bridge.testing.call import begin, usual_config
from bridge.testing.scripted_call import ScriptedCall

ACCOUNT, CALL = "AC" + "0" * 32, "CA" + "5" * 32


@tool(deadline_ms=20_000)
async def look_up(day: str) -> str:  # noqa: ARG001  as the model calls it
    "Look up the opening hours."
    await asyncio.sleep(6)
    return "nine to five"


def heard(call: ScriptedCall) -> bytes:
    """All sound that went to the caller, in one piece."""
    sent = [action for _, action in call.rehearsal.said if isinstance(action, m.PlayAudio)]
    return b"".join(b64decode(sound.audio) for sound in sent)


def says(call: ScriptedCall, name: str, language: str) -> bool:
    return sounds.load(name, language) in heard(call)


def spoken_now(call: ScriptedCall, name: str) -> str:
    return call.rehearsal.call.playout.phrases[name].text


@pytest.mark.parametrize("language", ["de", "de-CH", "fr", "ja", "pt-BR"])
def test_a_filler_is_in_the_agent_s_language(language: str) -> None:
    call = begin(Agent(instructions="x", greeting="", language=language, tools=[look_up]))
    call.at(1_000)
    call.model.calls("look_up", day="Monday")
    call.at(6_000)
    assert says(call, "filler", language.partition("-")[0])
    assert not says(call, "filler", "en")
    call.close()


def test_an_agent_without_a_language_speaks_the_settings() -> None:
    spanish = usual_config(session=m.SessionConfig(language="es"), phrases=Phrases().sounds("es"))
    call = begin(Agent(instructions="x", greeting="", tools=[look_up]), config=spanish)
    call.at(1_000)
    call.model.calls("look_up", day="Monday")
    call.at(6_000)
    assert says(call, "filler", "es")
    call.close()


def test_an_agent_in_a_language_without_phrases_gets_the_usual_ones() -> None:
    call = begin(Agent(instructions="x", greeting="", language="tlh", tools=[look_up]))
    call.at(1_000)
    call.model.calls("look_up", day="Monday")
    call.at(6_000)
    assert says(call, "filler", "en")
    call.close()


def test_the_disclosure_and_the_apology_are() -> None:
    call = begin(
        Agent(instructions="x", greeting="", language="it"), disclosure="disclosure", dial_attempts=1
    )
    call.at(4_000)
    call.model.reachable = False
    call.model.is_lost()
    call.at(30_000)
    assert says(call, "disclosure", "it")
    assert says(call, "apology", "it")
    call.close()


def test_an_update_changes_it_and_changes_it_back() -> None:
    async def handler(session: Session) -> None:
        session.update(language="fr")
        await session.input()
        session.update(language=None)
        await session.input()

    call = begin(Agent(instructions="x", greeting="", language="de", handler=handler))
    call.at(1_000)
    assert spoken_now(call, "filler") == sounds.text("filler", "fr")
    call.caller.says("Bonjour.", ms=600)
    call.at(6_000)
    assert spoken_now(call, "filler") == sounds.text("filler", "en"), "the settings' language"
    call.close()


@pytest.mark.parametrize("handed_by", ["name", "agent"])
def test_a_hand_off_brings_its_language_and_the_way_back_takes_it_along(handed_by: str) -> None:
    dutch = Agent(instructions="y", name="dutch", language="nl")

    async def handler(session: Session) -> None:
        turn = await session.input()
        session.become(dutch if handed_by == "agent" else "dutch")
        assert turn.text

    first = Agent(instructions="x", greeting="", handler=handler, handoffs=[dutch])
    call = begin(first)
    call.at(1_000)
    call.caller.says("Goedendag.", ms=600)
    call.at(6_000)
    assert spoken_now(call, "filler") == sounds.text("filler", "nl")
    call.close()


def test_the_recording_of_such_a_call_replays(tmp_path: Path) -> None:
    async def handler(session: Session) -> None:
        session.update(language="pl")
        await asyncio.sleep(3)
        raise RuntimeError("the caller hears an apology, in Polish")

    call = begin(Agent(instructions="x", greeting="", handler=handler))
    call.at(10_000)
    file = call.save(tmp_path / "polish.call.jsonl")
    call.close()
    assert says(call, "apology", "pl")
    lines = file.read_text(encoding="utf-8").splitlines()
    assert replay(lines).difference is None
    assert max(map(len, lines)) < 8_000, "phrases are recorded without their sound"


def test_callers_without_a_call_hear_it_too() -> None:
    """The line is busy: no model, no stream, and still German words by a German voice."""
    settings = load_settings(
        env_file=None, insecure=True, upstream_url="ws://127.0.0.1:9/v1/realtime", journal=None, max_calls=1
    )
    app = create_app(settings, Agent(instructions="x", language="de-AT"))
    app.state.registry.draining = True
    with TestClient(app, base_url="http://127.0.0.1") as client:
        fields = {"CallSid": CALL, "AccountSid": ACCOUNT, "CallStatus": "ringing"}
        document = client.post("/incoming-call", data=fields).text
    say = f'<Say language="de-DE" voice="Polly.Vicki">{sounds.text("busy", "de")}</Say>'
    assert say in document
