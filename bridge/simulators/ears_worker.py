"""The process that hears for all calls: `python -m bridge.simulators.ears_worker ENGINE`.

A recogniser keeps the interpreter's lock while it decodes, so it runs apart from the loop that carries audio.
It is made once; each session is a fork of it, so that no session waits for another's: neither for its
sentences, nor while a grammar is compiled, nor when its engine crashes. The model is shared, as pages.

Standard input is a socket that brings a socket for each new session. There lines of JSON come in (`tools`,
`feed`, `finish`); for each finished turn a line with its `text` goes out. The first line on standard output
says what hears, or what is `wrong`.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
import time
from base64 import b64decode
from typing import Any

import msgspec

from bridge.codecs.g711 import pcmu_to_pcm
from bridge.codecs.resample import Resampler
from bridge.doubles.front_desk.tools import tools_of
from bridge.errors import ConfigError

from .recognisers import HZ, Recogniser, recogniser


def main() -> None:
    """Until the other side closes the socket."""
    try:
        engine = recogniser(sys.argv[1])
    except ConfigError as error:
        _tell({"wrong": str(error)})
        return
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # sessions end by themselves
    sessions = socket.socket(fileno=0)
    if os.fork() == 0:
        _alone(lambda: _tell(_measured(engine)))
    while True:
        _, descriptors, _, _ = socket.recv_fds(sessions, 1, 1)
        if not descriptors:
            return
        with socket.socket(fileno=descriptors[0]) as one:
            if os.fork() == 0:
                sessions.close()
                os.dup2(2, 1)  # the other side waits until all who could write there are gone
                _alone(lambda: serve(engine, one))


def serve(engine: Recogniser, session: socket.socket) -> None:
    """One session, until its socket is closed."""
    heard = Resampler(8_000, HZ)
    with session.makefile("rwb") as lines:
        for line in lines:
            order = msgspec.json.decode(line)
            answer: dict[str, Any] = {}
            match order["do"]:
                case "tools":
                    answer = {"unknown": engine.start(tools_of(order["tools"]))}
                case "feed":
                    engine.feed(heard.resample(pcmu_to_pcm(b64decode(order["pcmu"]))))
                case "finish":
                    heard.reset()
                    answer = {"text": engine.finish()}
            if answer:
                lines.write(msgspec.json.encode(answer) + b"\n")
                lines.flush()


def _measured(engine: Recogniser) -> dict[str, Any]:
    """The engine in figures, after a second without words."""
    engine.start([])
    began_s = time.monotonic()
    engine.feed(bytes(2 * HZ))
    engine.finish()
    took_ms = round((time.monotonic() - began_s) * 1000)
    return {"name": engine.name, "mb": round(engine.size_bytes / 1e6), "ms": took_ms}


def _tell(what: dict[str, Any]) -> None:
    sys.stdout.buffer.write(msgspec.json.encode(what) + b"\n")
    sys.stdout.buffer.flush()


def _alone(work: Any) -> None:
    """What a fork does. It never returns to what its parent was doing."""
    code = 1
    try:
        work()
        code = 0
    finally:
        os._exit(code)


if __name__ == "__main__":
    main()
