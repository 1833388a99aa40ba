"""Engines that make words out of speech, each behind the same three methods. They block: ears_worker.py runs
them in processes of their own.
"""

from __future__ import annotations

import importlib
import importlib.util
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, Protocol

import numpy as np

from bridge.doubles.front_desk.grammar import grammar
from bridge.doubles.front_desk.tools import DeskTool
from bridge.errors import ConfigError

from .pronunciation import pronounced

DESK: Final = "desk"
OFF: Final = "off"
HZ: Final = 16_000
_SEARCH: Final = "desk"
_GGML_MAGIC: Final = b"lmgg"
_MOST_BYTES: Final = 2 * HZ * 30  # whisper hears 30 s at a time
_NOT_SAID: Final = re.compile(r"\[[^\]]*\]|\([^)]*\)")


class Recogniser(Protocol):
    """Hears one session: `start`, then for each turn `feed` and `finish`. `name` and `size_bytes` are told to
    people.
    """

    name: str
    size_bytes: int

    def start(self, tools: Sequence[DeskTool]) -> list[str]:
        """What may be talked about from here on. Returns the words that cannot be heard."""
        ...

    def feed(self, pcm: bytes) -> None:
        """More of the turn, 16 bits at 16 kHz."""
        ...

    def finish(self) -> str:
        """The words of the turn, "" for none."""
        ...


class DeskRecogniser:
    """pocketsphinx with a grammar of the session's tools (https://cmusphinx.github.io/wiki/). It lives as
    long as its session: its running mean adapts to the line.
    """

    def __init__(self) -> None:
        if importlib.util.find_spec("pocketsphinx") is None:
            raise ConfigError(
                "BRIDGE_EARS is desk, and pocketsphinx is not installed: pip install pocketsphinx"
            )
        engine: Any = importlib.import_module("pocketsphinx")
        model = Path(engine.get_model_path(), "en-us")
        # Without the second pass over the whole utterance (bestpath) the words are there 20 ms after the end.
        config = engine.Config(
            hmm=str(model / "en-us"), dict=str(model / "cmudict-en-us.dict"), lm=None, bestpath=False,
            wip=0.2, samprate=HZ, loglevel="FATAL",
        )  # fmt: skip
        self._decoder = engine.Decoder(config)
        self._listens = self._has_grammar = False
        self.name = "pocketsphinx en-us"
        self.size_bytes = sum(file.stat().st_size for file in (model / "en-us").iterdir())

    def start(self, tools: Sequence[DeskTool]) -> list[str]:
        self._end()
        unknown: dict[str, None] = {}

        def knows(word: str) -> bool:
            if self._decoder.lookup_word(word) is not None:
                return True
            phones = pronounced(word)
            if not phones:
                unknown[word] = None
                return False
            self._decoder.add_word(word, phones, False)
            return True

        self._decoder.add_jsgf_string(_SEARCH, grammar(tools, knows))
        self._decoder.activate_search(_SEARCH)
        self._has_grammar = True
        return list(unknown)

    def feed(self, pcm: bytes) -> None:
        if not self._has_grammar:
            return
        if not self._listens:
            self._decoder.start_utt()
            self._listens = True
        self._decoder.process_raw(pcm, no_search=False, full_utt=False)

    def finish(self) -> str:
        found = self._decoder.hyp() if self._end() else None
        return str(found.hypstr) if found is not None else ""

    def _end(self) -> bool:
        listened, self._listens = self._listens, False
        if listened:
            self._decoder.end_utt()
        return listened


class WhisperRecogniser:
    """A model of whisper.cpp, by pywhispercpp: it hears a turn when the turn is over, in any words."""

    def __init__(self, path: Path) -> None:
        with path.open("rb") as file:
            magic = file.read(4)
        # pywhispercpp makes a model of any file, and ends the process when that is asked for words.
        wrong = ConfigError(f"BRIDGE_EARS: {path} is no model of whisper.cpp (ggml)")
        if magic != _GGML_MAGIC:
            raise wrong
        if importlib.util.find_spec("pywhispercpp") is None:
            raise ConfigError(
                f"BRIDGE_EARS is a model of whisper.cpp ({path.name}), and pywhispercpp is not installed: "
                "pip install pywhispercpp"
            )
        engine: Any = importlib.import_module("pywhispercpp.model")
        self._model = engine.Model(
            str(path), redirect_whispercpp_logs_to=None, n_threads=1, single_segment=True, no_timestamps=True,
            print_progress=False, print_realtime=False, language="en",
        )  # fmt: skip
        if self._model._ctx is None:  # noqa: SLF001  all that tells
            raise wrong
        self._turn = bytearray()
        self._prompt = ""
        self.name = f"whisper.cpp {path.stem}"
        self.size_bytes = path.stat().st_size

    def start(self, tools: Sequence[DeskTool]) -> list[str]:
        self._turn.clear()
        self._prompt = ", ".join(tool.spoken for tool in tools)
        return []

    def feed(self, pcm: bytes) -> None:
        self._turn += pcm
        del self._turn[:-_MOST_BYTES]

    def finish(self) -> str:
        samples = np.frombuffer(bytes(self._turn), "<i2").astype(np.float32) / 32_768
        self._turn.clear()
        if not len(samples):
            return ""
        segments = self._model.transcribe(samples, initial_prompt=self._prompt)
        return " ".join(_NOT_SAID.sub(" ", " ".join(one.text for one in segments)).split())


def recogniser(choice: str) -> Recogniser:
    """The engine of BRIDGE_EARS: `desk`, or the path of a `ggml-*.bin` file. Raises ConfigError where it
    cannot be had.
    """
    if choice == DESK:
        return DeskRecogniser()
    path = Path(choice).expanduser()
    if not path.is_file():
        raise ConfigError(f"BRIDGE_EARS: there is no file {path}")
    if not (path.name.startswith("ggml") and path.suffix == ".bin"):
        raise ConfigError(f"BRIDGE_EARS is {choice}: write desk, off or a path/ggml-NAME.bin of whisper.cpp")
    return WhisperRecogniser(path)
