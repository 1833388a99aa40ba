"""The process that listens for all calls: `python -m bridge.simulators.ears_worker`.

A recogniser keeps the interpreter's lock while it decodes, so it runs apart from the loop that carries audio.
Lines of JSON come in (`tools`, `feed`, `finish`, `bye`, each with its session); a line goes out for each
finished turn. pocketsphinx: https://cmusphinx.github.io/wiki/
"""

from __future__ import annotations

import sys
from base64 import b64decode
from typing import Any, Final, cast

import msgspec

from bridge.codecs.g711 import pcmu_to_pcm
from bridge.codecs.resample import Resampler
from bridge.doubles.front_desk.grammar import grammar
from bridge.doubles.front_desk.tools import tools_of

HZ: Final = 16_000
_SEARCH: Final = "desk"


class Listener:
    """One session's recogniser. It lives as long as the session: its running mean adapts to the line."""

    def __init__(self, engine: Any) -> None:
        model = f"{engine.get_model_path()}/en-us"
        # Without the second pass over the whole utterance (bestpath) the words are there 20 ms after the end.
        config = engine.Config(
            hmm=f"{model}/en-us", dict=f"{model}/cmudict-en-us.dict", lm=None, bestpath=False,
            wip=0.2, samprate=HZ, loglevel="FATAL",
        )  # fmt: skip
        self._decoder = engine.Decoder(config)
        self._heard = Resampler(8_000, HZ)
        self._listens = self._has_grammar = False

    def tools(self, tools: list[dict[str, Any]]) -> None:
        """A grammar of these tools, for the next turn."""
        self._end()
        text = grammar(tools_of(tools), lambda word: self._decoder.lookup_word(word) is not None)
        self._decoder.add_jsgf_string(_SEARCH, text)
        self._decoder.activate_search(_SEARCH)
        self._has_grammar = True

    def feed(self, pcmu: bytes) -> None:
        if not self._has_grammar:
            return
        if not self._listens:
            self._decoder.start_utt()
            self._listens = True
        self._decoder.process_raw(self._heard.resample(pcmu_to_pcm(pcmu)), no_search=False, full_utt=False)

    def finish(self) -> str:
        """The words of the turn, "" for none."""
        if not self._end():
            return ""
        found = self._decoder.hyp()
        return cast("str", found.hypstr) if found is not None else ""

    def _end(self) -> bool:
        listened, self._listens = self._listens, False
        if listened:
            self._heard.reset()
            self._decoder.end_utt()
        return listened


def main() -> None:
    """Until the other side closes the pipe."""
    import pocketsphinx  # noqa: PLC0415  only this process needs it

    listeners: dict[int, Listener] = {}
    for line in sys.stdin.buffer:
        order = msgspec.json.decode(line)
        session = order["session"]
        match order["do"]:
            case "tools":
                if session not in listeners:
                    listeners[session] = Listener(pocketsphinx)
                listeners[session].tools(order["tools"])
            case "feed" if session in listeners:
                listeners[session].feed(b64decode(order["pcmu"]))
            case "finish" if session in listeners:
                text = listeners[session].finish()
                told = {"session": session, "turn": order["turn"], "text": text}
                sys.stdout.buffer.write(msgspec.json.encode(told) + b"\n")
                sys.stdout.buffer.flush()
            case "bye":
                listeners.pop(session, None)


if __name__ == "__main__":
    main()
