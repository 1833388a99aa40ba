"""`phonebridge phrases`: what is said without a model; and the same in the voice of your agent."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from ..errors import BridgeError, ConfigError
from .words import printable

if TYPE_CHECKING:
    from bridge.agents.agent import Agent
    from bridge.core.messages import SessionConfig
    from bridge.settings.settings import Settings

app = typer.Typer(no_args_is_help=True, help="List what is said without a model, or make it anew.")
TEXTS = "texts.json"
TASK = (
    "You read sentences out for the announcements of a telephone line: word for word, in the language they "
    "are written in, friendly and unhurried, with nothing before and nothing after."
)

_Language = Annotated[
    str | None, typer.Option(help="As in de; default: the agent's, BRIDGE_LANGUAGE, or en.")
]
_AgentOption = Annotated[
    str | None, typer.Option("--agent", help="Whose voice and language; default: ./agent.py.")
]


@app.callback()
def phrases() -> None:
    """List the phrases that are said without a model, or make your own in the voice of your agent."""


@app.command("list")
def show(language: _Language = None, agent: _AgentOption = None) -> None:
    """What callers hear without a model: the phrases of BRIDGE_PHRASES before the bundled ones."""
    settings, found = _settings(agent)
    spoken = _language(settings, found, language)
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in ("phrase", "language", "length", "words"):
        table.add_column(name, overflow="fold")
    for name, phrase in sorted(settings.speech().of(spoken).items()):
        length = f"{phrase.sound.size_bytes / 8_000:.2f} s"
        table.add_row(name, phrase.language, length, escape(printable(phrase.sound.text or "(no words)")))
    Console(highlight=False).print(table)


@app.command("make")
def make(
    folder: Annotated[Path, typer.Argument(help="Where they go; BRIDGE_PHRASES then names it.")],
    language: _Language = None,
    agent: _AgentOption = None,
    voice: Annotated[str | None, typer.Option(help="Voice of the model; default: the agent's.")] = None,
    only: Annotated[list[str] | None, typer.Option(help="Only this phrase; may be given again.")] = None,
    local: Annotated[bool, typer.Option("--local", help="A voice of this machine, also with a key.")] = False,
) -> None:
    """Say every phrase in the voice of your agent, into FOLDER/LANGUAGE.

    With a key the real model says them, word for word; else a voice of this machine. The words are those of
    FOLDER/LANGUAGE/texts.json, or the bundled ones: change them there, and make them again.
    """
    settings, found = _settings(agent, phrases=None)
    spoken = _language(settings, found, language)
    place = folder / spoken
    words = _words(place, spoken)
    if unknown := sorted({*(only or ())} - words.keys()):
        raise ConfigError(f"there is no phrase {unknown[0]!r}; there is {', '.join(words)}")
    wanted = {name: text for name, text in words.items() if text and (not only or name in only)}
    place.mkdir(parents=True, exist_ok=True)
    console = Console(highlight=False, soft_wrap=True)
    upstream = _upstream(settings)
    if local or upstream is None:
        _by_machine(wanted, place, spoken, console)
    else:
        asyncio.run(_by_model(settings, upstream, reading(settings, found, voice), wanted, place, console))
    console.print(f"[bold]BRIDGE_PHRASES={escape(str(folder))}[/] lets callers hear them")


def _settings(agent: str | None, **given: Any) -> tuple[Settings, Agent | None]:
    """The settings as far as they matter without a carrier, and the agent, if there is one."""
    from bridge.agents.agent import load_agent, load_agent_here
    from bridge.settings.settings import load_settings

    given |= {"insecure": True, "twilio_auth_token": None, "public_url": None}
    given |= {} if agent is None else {"agent": agent}
    settings = load_settings(demo=True, **given)
    return settings, load_agent_here() if settings.agent is None else load_agent(settings.agent)


def _language(settings: Settings, agent: Agent | None, given: str | None) -> str:
    own = None if agent is None else agent.language
    return (given or own or settings.spoken_language or "en").partition("-")[0].lower()


def _words(place: Path, language: str) -> dict[str, str]:
    """Those of the folder before the bundled ones. Raises ConfigError where there are none."""
    from .. import sounds

    bundled = sounds.phrase_names(language) if language in sounds.LANGUAGES else ()
    words = {name: sounds.text(name, language) for name in bundled}
    try:
        own = json.loads((place / TEXTS).read_text(encoding="utf-8"))
    except FileNotFoundError:
        own = {}
    except (OSError, ValueError, RecursionError) as error:
        raise ConfigError(f"{place / TEXTS} can't be read: {error}") from error
    if not isinstance(own, dict) or not all(isinstance(text, str) for text in own.values()):
        raise ConfigError(f"{place / TEXTS} is no JSON object of words by name")
    for name in own:
        if not name.isidentifier():
            raise ConfigError(f"{place / TEXTS}: {name!r} is no name of a phrase: use letters, digits and _")
    if not words and not own:
        raise ConfigError(
            f"there are no words in {language!r}: write {place / TEXTS}, with those of each phrase"
        )
    return {**words, **own}


def reading(settings: Settings, agent: Agent | None, voice: str | None) -> SessionConfig:
    """A session in which sentences are read out, by the agent's voice: no tools, and nothing to hear. Turn
    detection is as usual, for some vendors have no session without.
    """
    from bridge.core.messages import SessionConfig

    return SessionConfig(
        model=(agent and agent.model) or settings.model,
        voice=voice or (agent and agent.voice) or settings.voice,
        speed=None if agent is None else agent.speed,
        instructions=TASK,
        transcription=None,
    )


def _by_machine(words: Mapping[str, str], place: Path, language: str, console: Console) -> None:
    from .phrase_voices import local_pcmu

    name, pcmu = local_pcmu(language)
    console.print(f"by {name}, of this machine")
    for phrase, text in words.items():
        _keep(place, phrase, text, pcmu(text), console)


def _upstream(settings: Settings) -> str | None:
    """The vendor whose model says them; None in a rehearsal, or without a key."""
    from bridge.upstreams import REHEARSALS

    if settings.openai_api_key is not None and not settings.upstream_chosen:
        return "openai"
    return None if settings.upstream in REHEARSALS else settings.upstream


async def _by_model(
    settings: Settings,
    upstream: str,
    config: SessionConfig,
    words: Mapping[str, str],
    place: Path,
    console: Console,
) -> None:
    from bridge.server.model_dial import proof_for

    from .phrase_voices import NotSaid, model_voice

    failed = []
    console.print(f"by {escape(str(config.voice))} of {escape(config.model)}")
    headers = partial(proof_for, settings)
    chosen = settings.upstream_chosen
    url = settings.vendor_url(upstream) if chosen else settings.upstream_url
    async with model_voice(upstream, url, headers, config) as says:
        for phrase, text in words.items():
            try:
                _keep(place, phrase, text, await says.pcmu(text), console)
            except NotSaid as error:
                failed.append(phrase)
                console.print(f"[red]{phrase}[/]  {escape(printable(str(error)))}")
    if failed:
        raise BridgeError(f"not made: {', '.join(failed)}; `--only` tries one again")


def _keep(place: Path, phrase: str, text: str, sound: bytes, console: Console) -> None:
    """Write one phrase; after each of them the folder is one that a server takes."""
    if not sound:
        raise ConfigError(f"the voice says nothing for {phrase}: {text!r}")
    (place / f"{phrase}.ulaw").write_bytes(sound)
    (place / f"{phrase}.wav").unlink(missing_ok=True)
    kept = place / TEXTS
    known = json.loads(kept.read_text(encoding="utf-8")) if kept.is_file() else {}
    known[phrase] = text
    kept.write_text(json.dumps(known, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")
    console.print(f"{phrase:<12} {len(sound) / 8_000:5.2f} s  {escape(printable(text))}")
