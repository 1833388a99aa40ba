"""How a call's stream finds the machine that dialled its model (BRIDGE_STREAM_ROUTE).

Twilio, "<Stream>": the URL has no query, and no header is ours. So only its path or its host can say which
machine is meant. A proxy that knows the rule takes the stream there; elsewhere it is served where it comes,
with a second dial.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Final, NamedTuple

from bridge.settings.fleet import MOST_MACHINE_CHARS
from bridge.settings.settings import Settings

PATH: Final = "/media-stream"
REPLAY: Final = "fly-replay"
_REPLAYED: Final = ("fly-replay-src", "fly-replay-failed")
_MACHINE: Final = re.compile(rf"[a-z0-9-]{{1,{MOST_MACHINE_CHARS}}}")


def is_machine(name: str) -> bool:
    """Whether that is the form of a machine's name. Anybody can write one into a path."""
    return _MACHINE.fullmatch(name) is not None


class StreamRoute(NamedTuple):
    """`kind` is `none`, `path`, `fly` or `host`; `machine` is this one, and `own_base` the address that leads
    to it alone, for `host`. `worker` is this process among several of the machine, whose name ends with that
    too.
    """

    kind: str = "none"
    machine: str = ""
    own_base: str = ""
    worker: str = ""

    @classmethod
    def of(cls, settings: Settings, worker: str = "") -> StreamRoute:
        """As the settings have it."""
        own_base = (settings.machine_url or "") if settings.stream_route == "host" else ""
        return cls(settings.stream_route, settings.machine, own_base, worker)

    def url(self, base: str) -> str:
        """Where the streams of calls that rang here should come; `base` is the address of the whole service
        (`https://voice.example.com`).
        """
        name = self.machine if self.kind in ("path", "fly") else self.worker
        return f"ws{(self.own_base or base).removeprefix('http')}{PATH}{name and f'/{name}'}"

    def at(self, machine: str, address: str = "") -> StreamRoute:
        """As that machine, or that worker of this one, has it; `address` leads to it alone, empty where that
        is not known. This one's where no URL can name it.
        """
        if self.kind in ("path", "fly"):
            return self._replace(machine=machine)
        worker = machine.rpartition("-")[2] if self.worker else ""
        if worker and self.is_here(machine):
            return self._replace(worker=worker)
        if self.kind == "host":
            return self._replace(own_base=address, worker=worker if address else "")
        return self

    def is_here(self, name: str) -> bool:
        """Whether that name in a stream's path is this machine's, or that of one of its workers."""
        if not self.worker:
            return name == self.machine
        host, _, worker = name.rpartition("-")
        return worker.isdecimal() and host in ("", self.machine.removesuffix(f"-{self.worker}"))

    def elsewhere(self, name: str, headers: Mapping[str, str], live: Collection[str]) -> str | None:
        """What an upgrade that names another machine is answered, for Fly's proxy to ask that one: the value
        of `fly-replay`. None if it is served here: ours, or of a machine that is not among the `live`, or
        already asked again.

        Fly, "Dynamic request routing": a replay happens before the websocket is negotiated, and one that
        failed comes back with `fly-replay-failed`.
        """
        if self.kind != "fly" or self.is_here(name) or name not in live:
            return None
        if any(header in headers for header in _REPLAYED):
            return None
        instance = name.rpartition("-")[0] if self.worker else name
        return f"instance={instance};timeout=800ms;fallback=prefer_self"
