"""`serve --workers`: how many processes, and what each of them is."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any, Final, TypeAlias

import typer

if TYPE_CHECKING:
    from bridge.server.workers.worker import Seat, Worker
    from bridge.settings.settings import Settings

MOST_WORKERS: Final = 64
Workers: TypeAlias = Annotated[
    str,
    typer.Option(
        "--workers",
        metavar="N|auto",
        help="Processes that answer calls on this port; auto for one a processor core. "
        "Each takes up to BRIDGE_MAX_CALLS calls.",
    ),
]
KillStuck: TypeAlias = Annotated[
    bool,
    typer.Option(
        "--kill-stuck/--no-kill-stuck",
        help="End a worker whose event loop has stood still for 15 s; not under a debugger.",
    ),
]


def count(workers: str) -> int:
    """How many processes that option asks for. Raises ConfigError."""
    from bridge.errors import ConfigError
    from bridge.ops.cores import cores
    from bridge.server.workers.supervisor import refuse_where_it_cannot_be

    if workers == "auto":
        return 1 if refuse_where_it_cannot_be() else cores()
    if not (workers.isascii() and workers.isdecimal() and 1 <= int(workers[:4]) <= MOST_WORKERS):
        raise ConfigError(f"--workers is a number from 1 to {MOST_WORKERS}, or auto, not {workers!r}")
    if int(workers) > 1 and (why := refuse_where_it_cannot_be()) is not None:
        raise ConfigError(why)
    return int(workers)


def take_a_seat(
    settings: Settings, count: int, tell_ready: Callable[[Any, str], object], *, kill_stuck: bool
) -> Seat:
    """Become the supervisor of that many workers, and exit with it; return in each worker."""
    from bridge.ops import logs
    from bridge.server import service
    from bridge.server.workers.supervisor import Supervisor

    written = logs.configure(settings.log_level, hidden=settings.unspeakable(), threaded=False)
    listener = service.listen(settings.host, settings.port, settings.backlog)

    def ready(answered: str) -> None:
        tell_ready(listener.getsockname(), answered)

    supervisor = Supervisor(
        count,
        listener,
        drain_s=settings.drain_seconds,
        kill_stuck=kill_stuck,
        ready=ready,
    )
    if settings.journal is None:  # what workers share needs a place while they live
        settings.journal = supervisor.folder / "state" / "intents.jsonl"
    found = supervisor.run()
    written.close()
    if isinstance(found, int):
        raise typer.Exit(found)
    return found


def joined(settings: Settings, seat: Seat) -> Worker:
    """The worker of that seat, which is a machine of its own to a store that machines share."""
    from bridge.server.workers.worker import Worker
    from bridge.settings.fleet import MOST_MACHINE_CHARS

    suffix = f"-{seat.name}"
    settings.machine = f"{settings.machine[: MOST_MACHINE_CHARS - len(suffix)]}{suffix}"
    return Worker(seat)
