"""The supervisor: forks workers, watches them, replaces those that die, and stops them all.

It has no thread and no event loop, so that it may fork at any time; it answers no call and imports no code of
the user's. `supervise` returns in each worker. In the supervisor it returns the exit code, at the end.
"""

from __future__ import annotations

import gc
import logging
import os
import selectors
import shutil
import signal
import socket
import sys
import tempfile
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from bridge.server.store.claims import StoreError
from bridge.server.store.embedded_claims import EmbeddedClaims
from bridge.server.store.socket_claims import answered
from bridge.server.store.socket_commands import Exchange

from .asked import Asked
from .child import Child, end_with_parent, plain_signals, send
from .lines import line
from .worker import Seat

logger = logging.getLogger(__name__)

BACKOFF_S: Final = (0.0, 0.0, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0)
FORGIVEN_S: Final = 60.0
"""After that long without a death the next one is the first again."""
MOST_DEATHS: Final = 5
"""While no worker is ready, within `HOPELESS_S`: then it makes no sense to go on."""
HOPELESS_S: Final = 10.0
STILL_S: Final = 1.0
"""Without a beat, before new calls go to other workers; four are due in that time."""
STUCK_S: Final = 15.0
STOP_S: Final = 3.0
"""After the time that workers have to drain; and for a hang-up."""
CONFIGURATION: Final = 2
"""The exit code of a worker whose settings or agent are wrong. The others would say the same."""
INTERRUPTED: Final = 130
_SIGNALS: Final = (
    signal.SIGCHLD,
    signal.SIGTERM,
    signal.SIGINT,
    *(getattr(signal, name) for name in ("SIGHUP", "SIGUSR2") if hasattr(signal, name)),
)


class Supervisor:
    """`count` workers on one listening socket. `ready` is called once, when all of them are, with the line
    that says who answers.
    """

    def __init__(
        self,
        count: int,
        listener: socket.socket,
        *,
        drain_s: float,
        kill_stuck: bool = True,
        ready: Callable[[str], None] = lambda _answered: None,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="phonebridge-"))
        self._count = count
        self._listener = listener
        self._drain_s = drain_s
        self._kill_stuck = kill_stuck
        self._tell_ready = ready
        self._now = now
        self._children: dict[str, Child] = {}
        self._asked = Asked(self._tell, now)
        self._claims = EmbeddedClaims()
        self._exchange = Exchange(
            lambda name, do, **fields: self._tell(name, line(do, **fields)), self._named
        )
        self._selector = selectors.DefaultSelector()
        self._wake: socket.socket
        self._woken: socket.socket
        self._signals: deque[int] = deque()
        self._born = 0
        self._deaths: list[float] = []
        self._hire_s = 0.0
        self._to_roll: list[str] = []
        self._stopping: int | None = None
        self._all_were_ready = False
        self._code = 0
        self._looked_s = now()

    # --- the loop ----------------------------------------------------------------------------------------

    def run(self) -> Seat | int:
        """The seat of a worker, in that worker; the exit code, in the supervisor."""
        gc.collect()
        gc.freeze()
        me = os.getpid()
        self._listen_to_signals()
        try:
            while self._stopping is None or self._children:
                while self._wants_one():
                    seat = self._hire()
                    if seat is not None:
                        return seat
                self._turn()
            return self._code
        finally:
            if os.getpid() == me:
                shutil.rmtree(self.folder, ignore_errors=True)

    def _turn(self) -> None:
        for key, events in self._selector.select(self._wait_s()):
            if isinstance(key.data, Child):
                self._serve(key.data, events)
            else:
                with suppress(BlockingIOError):
                    self._signals.extend(self._woken.recv(4_096))
        while self._signals:
            self._signalled(self._signals.popleft())
        self._look()

    def _wait_s(self) -> float:
        now_s = self._now()
        due = [now_s + 1.0, *(child.kill_s for child in self._children.values() if child.kill_s is not None)]
        if self._stopping is None and self._missing() > 0:
            due.append(self._hire_s)
        if self._asked.due_s is not None:
            due.append(self._asked.due_s)
        return max(0.0, min(due) - now_s)

    def _listen_to_signals(self) -> None:
        self._wake, self._woken = socket.socketpair()
        self._wake.setblocking(False)
        self._woken.setblocking(False)
        signal.set_wakeup_fd(self._wake.fileno(), warn_on_full_buffer=False)
        for number in _SIGNALS:
            signal.signal(number, lambda _number, _frame: None)
        self._selector.register(self._woken, selectors.EVENT_READ)

    # --- workers come ------------------------------------------------------------------------------------

    def _missing(self) -> int:
        staying = sum(not child.draining for child in self._children.values())
        # The first one shows whether settings and agent are right: N of them would say the same N times. A
        # roll has one more than usual.
        wanted = self._count + bool(self._to_roll) if self._all_were_ready or staying > 1 else self._count
        if not self._all_were_ready and not any(child.ready for child in self._children.values()):
            wanted = 1
        return wanted - staying

    def _wants_one(self) -> bool:
        return self._stopping is None and self._missing() > 0 and self._now() >= self._hire_s

    def _hire(self) -> Seat | None:
        """Fork. The seat, in the child."""
        self._born += 1
        name, parent = str(self._born), os.getpid()
        ours, theirs = socket.socketpair()
        pid = os.fork()
        if pid == 0:
            ours.close()
            self._become_a_worker(parent)
            return Seat(name, theirs, self.folder, self._listener)
        theirs.close()
        now_s = self._now()
        self._children[name] = child = Child(name, pid, ours, self._selector, now_s)
        child.tell(self._workers())  # before it takes a connection
        return None

    def _become_a_worker(self, parent: int) -> None:
        """Let go of what is the supervisor's. A terminal's Ctrl-C reaches a whole group: the supervisor alone
        decides what it means.
        """
        signal.set_wakeup_fd(-1)
        plain_signals(_SIGNALS)
        self._selector.close()
        for kept in (self._wake, self._woken):
            kept.close()
        for child in self._children.values():
            child.hang_up()
        self._children.clear()
        with suppress(OSError):
            os.setpgid(0, 0)
        end_with_parent(parent)

    # --- workers say -------------------------------------------------------------------------------------

    def _serve(self, child: Child, events: int) -> None:
        if events & selectors.EVENT_READ:
            for message in child.hear():
                self._said(child, message)
        if events & selectors.EVENT_WRITE:
            child.tell(b"")

    def _said(self, child: Child, message: dict[str, Any]) -> None:
        child.beat_s = self._now()
        match message["do"]:
            case "ready":
                child.ready = True
                self._tell_workers()
                self._are_all_ready(message["answered"])
            case "draining":
                child.draining = True
                self._tell_workers()
            case "own" | "gone":
                name, own = message["name"], message["do"] == "own"
                (child.names.add if own else child.names.discard)(name)
                self._broadcast(line(message["do"], worker=child.name, name=name), but=child)
            case "want":
                ready = [one.name for one in self._children.values() if one.ready]
                self._asked.want(child.name, message["n"], message["what"], ready)
            case "said":
                self._asked.said(child.name, message["n"], message["text"])
            case "last":
                self._asked.last(child.name, message["text"])
            case "store":
                self._tell(child.name, self._store(child, message))
            case "ask" | "answer":
                self._exchange.hear(child.name, message)

    def _store(self, child: Child, message: dict[str, Any]) -> bytes:
        """Take a step of the claims; what it answers."""
        number, op, arguments = message["n"], message["op"], message["args"]
        if op == "beat":
            child.process = arguments[0]
        try:
            return line("stored", n=number, answer=answered(self._claims, op, arguments))
        except StoreError as error:
            return line("stored", n=number, error=str(error))

    def _named(self, machine: str) -> str | None:
        """The worker that the claims know by that name, if it reads what it is told."""
        named = (child for child in self._children.values() if child.machine == machine)
        return next((child.name for child in named if not child.is_behind), None)

    def _are_all_ready(self, answered: str) -> None:
        ready = sum(child.ready for child in self._children.values())
        if not self._all_were_ready and ready >= self._count:
            self._all_were_ready = True
            self._tell_ready(answered)

    def _tell_workers(self) -> None:
        self._broadcast(self._workers())

    def _workers(self) -> bytes:
        """Who is there, and which names each answers for."""
        live = {child.name: child.draining or child.still for child in self._children.values() if child.ready}
        names = {name: child.name for child in self._children.values() for name in child.names}
        return line("workers", live=live, names=names)

    def _tell(self, name: str, message: bytes) -> None:
        if name in self._children:
            self._children[name].tell(message)

    def _broadcast(self, message: bytes, but: Child | None = None) -> None:
        for child in list(self._children.values()):
            if child is not but:
                child.tell(message)

    # --- workers go --------------------------------------------------------------------------------------

    def _reap(self) -> None:
        for child in list(self._children.values()):
            with suppress(ChildProcessError):
                pid, status = os.waitpid(child.pid, os.WNOHANG)
                if pid:
                    self._gone(child, os.waitstatus_to_exitcode(status))

    def _gone(self, child: Child, code: int) -> None:
        while heard := child.hear():  # what it has said at last
            for message in heard:
                self._said(child, message)
        child.hang_up()
        del self._children[child.name]
        with suppress(OSError):
            (self.folder / child.name).unlink()
        self._asked.gone(child.name)
        if child.process is not None:  # its lease need not run out
            answered(self._claims, "leave", [child.process])
        self._tell_workers()
        if not child.draining and self._stopping is None:
            self._died(child, code)

    def _died(self, child: Child, code: int) -> None:
        now_s = self._now()
        how = f"by {signal.Signals(-code).name}" if code < 0 else f"with exit code {code}"
        if not self._all_were_ready and code == CONFIGURATION:
            return self._give_up(code)  # it has said why
        if self._deaths and now_s - self._deaths[-1] > FORGIVEN_S:
            self._deaths.clear()
        self._deaths.append(now_s)
        wait_s = BACKOFF_S[min(len(self._deaths), len(BACKOFF_S)) - 1]
        self._hire_s = now_s + wait_s
        again = f"in {wait_s:.0f} s" if wait_s else "at once"
        logger.error("worker %s has ended %s with %d calls: another one starts %s", child.name, how,
                     len(child.names) - 1 if child.names else 0, again)  # fmt: skip
        late = [death_s for death_s in self._deaths if now_s - death_s <= HOPELESS_S]
        if len(late) < MOST_DEATHS:
            return None
        if not any(one.ready for one in self._children.values()):
            logger.critical("%d workers have ended within %d s: giving up", len(late), HOPELESS_S)
            self._give_up(1)
        elif self._to_roll:
            logger.error("the restart is given up: new workers do not start; the others stay")
            self._to_roll.clear()
        return None

    def _give_up(self, code: int) -> None:
        self._code = code
        self._stop(signal.SIGTERM, 0.0)

    def _look(self) -> None:
        """What time brings about."""
        now_s = self._now()
        self._reap()
        self._asked.look()
        # If it was we who stood still, nothing is known of them.
        paused = now_s - self._looked_s > STUCK_S / 3
        self._looked_s = now_s
        for child in self._children.values():
            if paused:
                child.beat_s = now_s
            if child.kill_s is not None and now_s >= child.kill_s:
                logger.error("worker %s does not end: it is killed", child.name)
                send(child.pid, signal.SIGKILL)
                child.kill_s = now_s + STOP_S
            elif self._kill_stuck and child.ready and now_s - child.beat_s > STUCK_S:
                logger.error("worker %s stands still for %d s: it is killed", child.name, STUCK_S)
                send(child.pid, signal.SIGKILL)
                child.beat_s = now_s
        still = [child for child in self._children.values() if now_s - child.beat_s > STILL_S]
        if any(child.still != (child in still) for child in self._children.values()):
            for child in self._children.values():
                child.still = child in still
            self._tell_workers()
        self._roll()

    # --- signals -----------------------------------------------------------------------------------------

    def _signalled(self, number: int) -> None:
        match signal.Signals(number).name:
            case "SIGTERM" if self._stopping is None:
                self._stop(signal.SIGTERM, self._drain_s)
            case "SIGINT" if self._stopping == signal.SIGINT:
                for child in self._children.values():
                    send(child.pid, signal.SIGKILL)
                self._code = INTERRUPTED
            case "SIGINT":
                self._stop(signal.SIGINT, 0.0)
            case "SIGHUP":
                for child in self._children.values():
                    send(child.pid, signal.SIGHUP)
            case "SIGUSR2" if self._stopping is None and self._all_were_ready:
                self._to_roll = [child.name for child in self._children.values() if not child.draining]
                logger.info("restart: %d workers, one after the other", len(self._to_roll))

    def _stop(self, number: signal.Signals, within_s: float) -> None:
        self._stopping = number
        for child in self._children.values():
            child.draining = True
        self._tell_workers()
        for child in self._children.values():
            self._end(child, number, within_s)

    def _end(self, child: Child, number: signal.Signals, within_s: float) -> None:
        send(child.pid, number)
        child.draining = True
        child.kill_s = self._now() + within_s + STOP_S

    def _roll(self) -> None:
        """The next step of a restart: when there is one worker more than usual, an old one may go."""
        while self._to_roll and self._to_roll[0] not in self._children:
            self._to_roll.pop(0)
        ready = sum(child.ready and not child.draining for child in self._children.values())
        if self._to_roll and self._stopping is None and ready > self._count:
            child = self._children[self._to_roll.pop(0)]
            self._end(child, signal.SIGTERM, self._drain_s)
            self._tell_workers()


def refuse_where_it_cannot_be() -> str | None:
    """Why there can be no more than one process on this system; None if there can."""
    if sys.platform == "win32" or not hasattr(os, "fork"):
        return "--workers needs a system that can fork and pass sockets on: on Windows there is one process"
    return None
