"""How much CPU the server under test and its machine have used, where it is this one and Linux tells."""

from __future__ import annotations

import contextlib
import os
import urllib.parse
from collections.abc import Iterator
from pathlib import Path

from bridge.sockets.peers import is_loopback

_PROC = Path("/proc")
_LISTEN = "0A"


def listening(url: str) -> list[int]:
    """The processes that listen on the port of a loopback address; [] if there are none, or if
    this cannot be known.
    """
    parts = urllib.parse.urlsplit(url)
    if not is_loopback(parts.hostname or ""):
        return []
    port = parts.port or (443 if parts.scheme in ("https", "wss") else 80)
    wanted = {f"socket:[{inode}]" for inode in _inodes(port)}
    return [pid for pid in _pids() if wanted and wanted & _sockets(pid)]


def cpu_s(pids: list[int]) -> float:
    """Seconds of CPU that these processes have used; one that is gone counts nothing."""
    ticks = 0
    for pid in pids:
        with contextlib.suppress(OSError):
            # proc(5): utime and stime are fields 14 and 15; the name in field 2 may have blanks in it.
            fields = (_PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
            ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK") if ticks else 0.0


def machine_cpu_s() -> float:
    """Seconds of CPU that all programs of this machine have used or its host has withheld; 0.0 where
    that is unknown.
    """
    with contextlib.suppress(OSError):
        # proc(5): user, nice, system, idle, iowait, irq, softirq, steal. Interrupts belong to no program.
        fields = [int(field) for field in (_PROC / "stat").read_text().split(maxsplit=9)[1:9]]
        return (sum(fields[:3]) + fields[7]) / os.sysconf("SC_CLK_TCK")
    return 0.0


def _inodes(port: int) -> Iterator[str]:
    for table in ("tcp", "tcp6"):
        with contextlib.suppress(OSError):
            for line in (_PROC / "net" / table).read_text().splitlines()[1:]:
                fields = line.split()
                if fields[3] == _LISTEN and int(fields[1].rpartition(":")[2], 16) == port:
                    yield fields[9]


def _pids() -> Iterator[int]:
    with contextlib.suppress(OSError):
        yield from (int(path.name) for path in _PROC.iterdir() if path.name.isdigit())


def _sockets(pid: int) -> set[str]:
    """What its descriptors point at; of another user's process nothing is told."""
    found = set()
    with contextlib.suppress(OSError):
        for path in (_PROC / str(pid) / "fd").iterdir():
            with contextlib.suppress(OSError):
                found.add(os.readlink(path))  # noqa: PTH115  no file, a name
    return found
