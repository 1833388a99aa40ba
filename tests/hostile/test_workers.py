"""`phonebridge serve --workers`: several processes behind one port, of which any may die.

What the processes do is read from outside: from the kernel (who is whose child, how many descriptors), from
what phones hear, from what the model was asked, and from `/metrics`.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bridge.recording import replay
from tests.hostile import kit

pytestmark = pytest.mark.hostile

TWO = ("--workers", "2")
AGAIN_S = 3.0


def run(work: Any) -> None:
    asyncio.run(asyncio.wait_for(work, 100))


def workers(served: kit.Bridge) -> list[int]:
    """The processes that the supervisor has forked and that are not over, the eldest first."""
    children = Path(f"/proc/{served.process.pid}/task/{served.process.pid}/children").read_text()
    return sorted(pid for pid in map(int, children.split()) if state(pid) not in ("Z", ""))


def state(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return ""


def descriptors(pid: int) -> int:
    return len(os.listdir(f"/proc/{pid}/fd"))  # noqa: PTH208  a count, not paths


def sockets_of(pid: int) -> set[str]:
    """The kernel's names of the sockets that this process holds."""
    found = set()
    for path in Path(f"/proc/{pid}/fd").iterdir():
        try:
            found.add(str(path.readlink()))
        except OSError:
            continue
    return {name for name in found if name.startswith("socket:")}


def owners(served: kit.Bridge, phones: list[kit.Phone]) -> dict[int, list[kit.Phone]]:
    """Which phones' connections each worker holds, by the kernel's tables of connections and descriptors."""
    inodes = {}
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        fields = line.split()
        inodes[int(fields[1].split(":")[1], 16), int(fields[2].split(":")[1], 16)] = f"socket:[{fields[9]}]"
    held = {pid: sockets_of(pid) for pid in workers(served)}
    found: dict[int, list[kit.Phone]] = {pid: [] for pid in held}
    for phone in phones:
        port = phone.socket.local_address[1]
        for pid, sockets in held.items():
            if inodes.get((served.port, port)) in sockets:
                found[pid].append(phone)
    return found


async def until(condition: Callable[[], Any], seconds: float, what: str) -> float:
    began_s = time.monotonic()
    while not condition():
        assert time.monotonic() - began_s < seconds, f"not within {seconds} s: {what}"
        await asyncio.sleep(0.02)
    return time.monotonic() - began_s


async def admitted(served: kit.Bridge) -> kit.Phone:
    """A caller who is let in, and calls again where a busy machine sheds load."""
    async with asyncio.timeout(15):
        while True:
            phone = kit.Phone(served)
            phone.twiml = await served.ring(phone.sid)
            if "<Stream" in phone.twiml:
                return await phone.open(kit.parameters(phone.twiml), kit.stream_path(phone.twiml))
            await asyncio.sleep(0.5)


async def dialled(served: kit.Bridge, count: int) -> list[kit.Phone]:
    """So many callers, who have heard the greeting and said something."""
    phones = [await admitted(served) for _ in range(count)]
    await asyncio.sleep(1.5)
    await asyncio.gather(*(phone.talk(0.6) for phone in phones))
    await asyncio.sleep(1.5)
    return phones


async def goes_on(served: kit.Bridge, phone: kit.Phone) -> kit.Phone:
    """The carrier asks what comes after the stream, and opens it again: the same call's next phone."""
    found = re.search(r'<Connect action="https://voice.example.com([^"]*)"', phone.twiml)
    assert found is not None
    path, form = found[1], kit.webhook(phone.sid, CallStatus="in-progress", Direction="inbound")
    for _ in range(12):
        status, twiml = await served.post(path, form)
        assert status == 200
        redirect = re.search(r"<Redirect[^>]*>https://voice.example.com([^<]*)</Redirect>", twiml)
        if redirect is None:
            break
        await asyncio.sleep(0.5)
    assert "<Stream" in twiml, twiml
    after = kit.Phone(served, phone.sid)
    after.twiml = twiml
    return await after.open(kit.parameters(twiml), kit.stream_path(twiml))


async def followed(
    served: kit.Bridge, phones: list[kit.Phone], since_s: float, *, spoken_to: bool = True
) -> tuple[list[kit.Phone], list[float]]:
    """Each phone whose stream is over goes on; those, and how long each was without a loud sound. A caller
    who is not `spoken_to`, for nothing was broken off, speaks.
    """

    async def follow(phone: kit.Phone) -> tuple[kit.Phone, float]:
        after = await goes_on(served, phone)
        if not spoken_to:
            await after.talk(0.6)
        await until(lambda: loud_s(after) is not None, 15, "heard again")
        return after, (loud_s(after) or 0.0) - since_s

    pairs = await asyncio.gather(*(follow(phone) for phone in phones))
    return [after for after, _ in pairs], [gap_s for _, gap_s in pairs]


def loud_s(phone: kit.Phone) -> float | None:
    """When it was first heard, by loudness."""
    return next((at_s for at_s, sound in phone.heard if kit.is_loud(sound)), None)


class Speaker(kit.Model):
    """A model that says a second of sound and the words to it, and writes down what it heard."""

    def __init__(self) -> None:
        super().__init__(on_turn=self._turn, on_create=self._say)

    async def _turn(self, session: kit.Session) -> None:
        await session.turn_ends()
        await session.tell(
            "conversation.item.input_audio_transcription.completed",
            item_id=f"user_{session.turns}", content_index=0, transcript="A question.",
        )  # fmt: skip
        await self._say(session, None)

    async def _say(self, session: kit.Session, metadata: Any) -> None:
        response_id = await session.begin(metadata)
        item_id = f"item_{session.responses}"
        place = {"response_id": response_id, "item_id": item_id, "output_index": 0, "content_index": 0}
        await session.item(response_id, item_id)
        await session.tell("response.output_audio_transcript.delta", **place, delta="An answer.")
        await session.delta(response_id, item_id, kit.tone(1.0))
        await session.done(response_id)


def told(session: kit.Session) -> list[str]:
    """Who said something, by the items that this session was told to begin with."""
    items = [event["item"] for event in session.events if event["type"] == "conversation.item.create"]
    return [item["role"] for item in items if item.get("role") in ("user", "assistant")]


def figures(text: str) -> dict[str, float]:
    lines = (line for line in text.splitlines() if line and not line.startswith("#"))
    return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines)}


def test_a_worker_that_is_killed_is_replaced_and_its_calls_go_on(
    tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    """Twenty calls on two workers: they are spread evenly, each with its worker; kill -9 of one costs its
    callers less than three seconds, and the model knows what was said."""

    async def main() -> None:
        async with Speaker() as model, kit.bridge(model, folder=tmp_path, arguments=TWO) as served:
            phones = await dialled(served, 20)
            assert len(model.sessions) == 20, "each stream came to the worker that had dialled"
            mine = owners(served, phones)
            counts = [len(calls) for calls in mine.values()]
            record_property("spread", counts)
            assert sum(counts) == 20
            assert min(counts) >= 7
            await asyncio.sleep(1.0)  # the answer's mark comes back, and a thread writes the journal
            victim, others = workers(served)[0], workers(served)[1:]
            killed_s = time.monotonic()
            os.kill(victim, signal.SIGKILL)
            cut = mine[victim]
            await until(lambda: all(phone.closed_s is not None for phone in cut), 2, "streams over")
            await until(lambda: len(set(workers(served)) - {victim}) == 2, 3, "another worker")
            after, gaps_s = await followed(served, cut, killed_s)
            record_property("gaps_s", sorted(round(gap_s, 2) for gap_s in gaps_s))
            assert max(gaps_s) < AGAIN_S
            resumed = model.sessions[20:]
            assert len(resumed) == len(cut)
            await until(
                lambda: all(map(told, resumed)), 10, "the model is told"
            )  # the phrase comes before it
            assert [told(session)[:2] for session in resumed] == [["assistant", "user"]] * len(cut)
            stayed = [phone for phone in phones if phone not in cut]
            assert all(phone.closed_s is None for phone in stayed)
            assert set(others) <= set(workers(served))
            await asyncio.gather(*(phone.hang_up() for phone in [*stayed, *after]))
            await served.until_log("another one starts at once")
            await asyncio.sleep(0.5)
            recorded = [replay(path.read_text().splitlines()) for path in served.recordings()]
            assert len(recorded) == 20 + len(cut)
            assert [one.difference for one in recorded if one.difference is not None] == []

    run(main())


def test_a_restart_one_by_one_loses_no_call_and_knows_all_that_was_said(
    tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    """SIGUSR2 under calls: two other workers, no call lost, no stranger's error, and the watching goes on:
    one that is killed meanwhile is replaced."""

    async def main() -> None:
        async with (
            Speaker() as model,
            kit.bridge(model, folder=tmp_path, arguments=TWO, BRIDGE_DRAIN_SECONDS="4") as served,
        ):
            phones = await dialled(served, 8)
            before = set(workers(served))
            served.process.send_signal(signal.SIGUSR2)
            await until(lambda: set(workers(served)) - before, 20, "another worker")
            os.kill(max(set(workers(served)) - before), signal.SIGKILL)
            await until(lambda: all(phone.closed_s is not None for phone in phones), 25, "handed over")
            over_s = max(phone.closed_s or 0.0 for phone in phones)
            after, gaps_s = await followed(served, phones, over_s, spoken_to=False)
            record_property("gaps_s", sorted(round(gap_s, 2) for gap_s in gaps_s))
            assert max(gaps_s) < 3.0, "half a second of speech, and what the model takes to hear its end"
            await until(lambda: not before & set(workers(served)), 20, "the old ones have gone")
            assert len(workers(served)) == 2
            late = await admitted(served)
            await asyncio.sleep(0.5)
            assert late.closed_s is None
            assert sum(phone.closed_s is None for phone in after) == 8
            resumed = [session for session in model.sessions if told(session)]
            assert len(resumed) == 8
            assert [told(session)[:2] for session in resumed] == [["assistant", "user"]] * 8
            await asyncio.gather(*(phone.hang_up() for phone in [late, *after]))
            assert served.process.returncode is None

    run(main())


@pytest.mark.long
def test_a_signal_to_end_reaches_all_once_and_the_supervisor_ends_with_them(tmp_path: Path) -> None:
    """SIGTERM: calls are let end and then handed over within BRIDGE_DRAIN_SECONDS; nothing is left over."""

    async def main() -> None:
        async with (
            Speaker() as model,
            kit.bridge(model, folder=tmp_path, arguments=TWO, BRIDGE_DRAIN_SECONDS="14") as served,
        ):
            phones = await dialled(served, 6)
            both = workers(served)
            served.process.terminate()
            await until(lambda: served.log.count("calls are left") == 2, 5, "both are told")
            served.process.terminate()
            status, twiml = await served.post("/incoming-call", kit.webhook(kit.call_sid()))
            assert status == 200
            assert "<Hangup" in twiml
            began_s = time.monotonic()
            await until(lambda: all(phone.closed_s is not None for phone in phones), 6, "handed over")
            assert await asyncio.wait_for(served.process.wait(), 5) == 0
            assert 1.0 < time.monotonic() - began_s < 9
            assert [state(pid) for pid in both] == ["", ""]
            assert {phone.close_code for phone in phones} == {1000}
            assert served.log.count("SIGTERM:") == 2

    run(main())


@pytest.mark.long
def test_ctrl_c_hangs_up_within_a_second_and_a_dead_supervisor_takes_its_workers_along(
    tmp_path: Path,
) -> None:
    async def main() -> None:
        async with Speaker() as model:
            async with kit.bridge(model, folder=tmp_path, arguments=TWO) as served:
                phones = await dialled(served, 4)
                began_s = time.monotonic()
                served.process.send_signal(signal.SIGINT)
                assert await asyncio.wait_for(served.process.wait(), 3) == 0
                assert time.monotonic() - began_s < 2.5
                await until(lambda: all(phone.closed_s is not None for phone in phones), 1, "hung up")
            async with kit.bridge(model, folder=tmp_path, arguments=TWO, BRIDGE_DRAIN_SECONDS="1") as served:
                both = workers(served)
                served.process.kill()
                await until(lambda: not any(map(state, both)), 4, "workers without a supervisor")

    run(main())


STANDS_STILL = """
import signal, socket, sys, time
from bridge.server.workers.supervisor import Supervisor

listener = socket.create_server(("127.0.0.1", 0))
supervisor = Supervisor(2, listener, drain_s=1, now=lambda: 10 * time.monotonic())
seat = supervisor.run()
if isinstance(seat, int):
    sys.exit(seat)
seat.line.sendall(b'{"do": "ready", "answered": ""}\\n')
for _ in range(600):
    time.sleep(0.1)
    if seat.name != "1":
        seat.line.sendall(b'{"do": "beat"}\\n')
"""


def test_whoever_says_nothing_for_fifteen_seconds_is_killed_and_replaced() -> None:
    """On a clock that runs ten times as fast; with the real one it is the test below."""

    async def main() -> None:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", STANDS_STILL, env={**os.environ, "PYTHONPATH": str(kit.ROOT)}
        )
        served = kit.Bridge(0, Path(), process)
        try:
            await until(lambda: len(workers(served)) == 2, 10, "two workers")
            first, second = workers(served)
            await until(lambda: first not in workers(served), 5, "killed")
            await until(lambda: len(workers(served)) == 2, 5, "replaced")
            await asyncio.sleep(2.0)
            assert second in workers(served)
            assert len(workers(served)) == 2
        finally:
            process.terminate()
            await process.wait()

    run(main())


@pytest.mark.long
def test_a_worker_that_stands_still_is_killed_and_replaced(tmp_path: Path) -> None:
    async def main() -> None:
        async with Speaker() as model, kit.bridge(model, folder=tmp_path, arguments=TWO) as served:
            phones = await dialled(served, 4)
            stuck = workers(served)[0]
            mine = owners(served, phones)[stuck]
            assert mine
            os.kill(stuck, signal.SIGSTOP)
            stopped_s = time.monotonic()
            await until(lambda: stuck not in workers(served), 20, "killed")
            assert time.monotonic() - stopped_s > 13
            await until(lambda: all(phone.closed_s is not None for phone in mine), 2, "streams over")
            after, gaps_s = await followed(served, mine, time.monotonic())
            assert max(gaps_s) < AGAIN_S
            assert "stands still" in served.log
            await asyncio.gather(*(phone.hang_up() for phone in after))

    run(main())


@pytest.mark.long
def test_a_worker_under_a_debugger_may_stand_still(tmp_path: Path) -> None:
    async def main() -> None:
        arguments = (*TWO, "--no-kill-stuck")
        async with Speaker() as model, kit.bridge(model, folder=tmp_path, arguments=arguments) as served:
            stuck = workers(served)[0]
            os.kill(stuck, signal.SIGSTOP)
            await asyncio.sleep(20)
            assert state(stuck) == "T"
            os.kill(stuck, signal.SIGCONT)

    run(main())


def test_two_hundred_streams_find_their_worker_and_leave_no_descriptor_behind(tmp_path: Path) -> None:
    """One after the other, each with its own call: one session of the model's for each, so none was dialled
    twice; and afterwards both workers have as many descriptors as before."""

    async def main() -> None:
        async with Speaker() as model, kit.bridge(model, folder=tmp_path, arguments=TWO) as served:
            for _ in range(4):  # what is opened once
                await (await admitted(served)).hang_up()
            await asyncio.sleep(1.0)
            sessions = len(model.sessions)
            before = {pid: descriptors(pid) for pid in workers(served)}
            for _ in range(20):
                phones = await asyncio.gather(*(admitted(served) for _ in range(10)))
                await asyncio.sleep(0.1)
                await asyncio.gather(*(phone.hang_up() for phone in phones))
            await asyncio.sleep(1.5)
            assert len(model.sessions) - sessions == 200
            after = {pid: descriptors(pid) for pid in workers(served)}
            assert all(after[pid] <= before[pid] + 2 for pid in before), (before, after)
            assert before.keys() == after.keys()

    run(main())


def test_one_answer_speaks_for_all_workers(tmp_path: Path) -> None:
    """`/metrics` counts what happened at all of them, dead ones too, and no counter falls; gauges say whose
    they are. `/readyz` asks all."""

    async def main() -> None:
        async with Speaker() as model, kit.bridge(model, folder=tmp_path, arguments=TWO) as served:

            async def scraped() -> dict[str, float]:
                status, text = await served.get("/metrics")
                assert status == 200
                return figures(text)

            phones = await dialled(served, 6)
            now = await scraped()
            active = {name: value for name, value in now.items() if "calls_active" in name}
            assert sum(active.values()) == 6
            assert active.keys() == {f'phonebridge_calls_active{{worker="{name}"}}' for name in "12"}
            assert min(active.values()) >= 2
            assert now["phonebridge_workers"] == 2
            await asyncio.gather(*(phone.hang_up() for phone in phones))
            await asyncio.sleep(0.5)
            hung_up = 'phonebridge_calls_total{reason="caller_hung_up"}'
            first = await scraped()
            assert first[hung_up] == 6
            assert first["phonebridge_set_up_seconds_count"] == 6
            assert first['phonebridge_set_up_seconds_bucket{le="+Inf"}'] == 6
            os.kill(workers(served)[0], signal.SIGKILL)
            await served.until_log("another one")
            async with asyncio.timeout(20):
                while (second := await scraped())["phonebridge_workers"] < 2:  # noqa: ASYNC110  another process
                    await asyncio.sleep(0.1)
            counters = [name for name in first if "_total" in name or "_count" in name or "_bucket" in name]
            assert [name for name in counters if second[name] < first[name]] == []
            assert second[hung_up] == 6
            assert second["phonebridge_workers"] == 2
            status, text = await served.get("/readyz")
            assert status == 200, text
            assert json.loads(text)["workers"].keys() == {"2", "3"}
            asked = [served.get("/metrics") for _ in range(30)]
            texts = [figures(text) for _, text in await asyncio.gather(*asked)]
            assert {one[hung_up] for one in texts} == {6}

    run(main())


def test_workers_agree_on_what_a_caller_may_have_once(tmp_path: Path) -> None:
    """A webhook that is asked again dials one model, and a token that one worker has redeemed opens nothing
    at the other."""

    async def main() -> None:
        async with Speaker() as model, kit.bridge(model, folder=tmp_path, arguments=TWO) as served:
            sid = kit.call_sid()
            answers = [await served.ring(sid)]
            answers += await asyncio.gather(*(served.ring(sid) for _ in range(6)))
            paths = {kit.stream_path(twiml) for twiml in answers if "<Stream" in twiml}
            assert len(paths) == 1
            await asyncio.sleep(0.5)
            assert len(model.sessions) == 1
            twiml = next(twiml for twiml in answers if "<Stream" in twiml)
            first = await kit.Phone(served, sid).open(kit.parameters(twiml), paths.pop())
            for place in ("/media-stream/1", "/media-stream/2", "/media-stream"):
                again = await kit.Phone(served, sid).open(kit.parameters(twiml), place)
                await until(lambda again=again: again.closed_s is not None, 3, "refused")  # type: ignore[misc]
            assert first.closed_s is None
            assert len(model.sessions) == 1
            await first.hang_up()

    run(main())


def test_a_limit_over_all_workers_is_kept_by_all_together(tmp_path: Path) -> None:
    async def main() -> None:
        async with (
            Speaker() as model,
            kit.bridge(model, folder=tmp_path, arguments=TWO, BRIDGE_FLEET_CALLS="3") as served,
        ):
            phones = [await kit.Phone(served).dial() for _ in range(3)]
            assert sorted(map(len, owners(served, phones).values())) == [1, 2]
            late = [kit.Phone(served) for _ in range(4)]
            for phone in late:
                phone.twiml = await served.ring(phone.sid)
                if "<Stream" in phone.twiml:  # this worker has not heard yet how many there are
                    await phone.open(kit.parameters(phone.twiml), kit.stream_path(phone.twiml))
                    await until(lambda phone=phone: phone.closed_s is not None, 5, "turned away")  # type: ignore[misc]
            await asyncio.gather(*(phone.hang_up() for phone in phones))
            await asyncio.sleep(0.5)
            await (await kit.Phone(served).dial()).hang_up()

    run(main())


WRONG = {"agent.py": "from bridge import Agent\nagent = Agent('Answer.', greeting=17)\n"}
DYING = {"agent.py": "import os, signal\nos.kill(os.getpid(), signal.SIGKILL)\n"}


@pytest.mark.parametrize(("files", "code"), [(WRONG, 2), (DYING, 1)], ids=["wrong", "dies"])
def test_workers_that_cannot_start_end_the_service(files: dict[str, str], code: int, tmp_path: Path) -> None:
    """A mistake in the agent is told once, not once a worker; five deaths in a row are enough."""
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    command = [sys.executable, "-m", "bridge", "serve", "--port", "0", *TWO, "--agent", "agent:agent"]
    environment = {**os.environ, "PYTHONPATH": str(kit.ROOT), "BRIDGE_INSECURE": "1"}
    ended = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=40, check=False
    )
    assert ended.returncode == code, ended.stdout + ended.stderr
    assert "listening" not in ended.stderr
    if code == 2:
        assert len(ended.stderr.splitlines()) == 1
    else:
        assert ended.stdout.count("has ended by SIGKILL") == 5


def test_a_worker_that_stands_still_keeps_no_new_caller_waiting() -> None:
    """What was passed on to it would hang until it is killed, and then be lost."""

    async def work() -> None:
        async with kit.Model() as model, kit.bridge(model, arguments=TWO) as served:
            phones = [await kit.Phone(served).dial() for _ in range(4)]
            frozen = workers(served)[0]
            os.kill(frozen, signal.SIGSTOP)
            try:
                began_s = time.monotonic()  # nothing is known of it yet
                rings = await asyncio.gather(*(served.ring(kit.call_sid()) for _ in range(8)))
                assert all("<Stream" in twiml for twiml in rings), rings
                assert time.monotonic() - began_s < AGAIN_S
                await asyncio.sleep(1.5)
                began_s = time.monotonic()
                rings = await asyncio.gather(*(served.ring(kit.call_sid()) for _ in range(8)))
                assert all("<Stream" in twiml for twiml in rings), rings
                assert time.monotonic() - began_s < AGAIN_S
            finally:
                os.kill(frozen, signal.SIGCONT)
            await asyncio.sleep(1.5)
            assert all(["<Stream" in await served.ring(kit.call_sid()) for _ in range(8)])
            for phone in phones:
                await phone.hang_up()

    run(work())


def test_counters_do_not_fall_while_the_supervisor_is_silent() -> None:
    """One worker's figures in the place of the sum are a reset to Prometheus, and the next sum a leap."""

    async def work() -> None:
        async with kit.Model() as model, kit.bridge(model, arguments=TWO) as served:
            for _ in range(4):
                await served.ring(kit.call_sid())
            assert (await served.get("/metrics"))[0] == 200
            served.process.send_signal(signal.SIGSTOP)
            try:
                await asyncio.sleep(1.2)
                scraped = await asyncio.gather(*(served.get("/metrics") for _ in range(3)))
                assert {status for status, _ in scraped} == {503}
                assert "<Stream" in await served.ring(kit.call_sid())
            finally:
                served.process.send_signal(signal.SIGCONT)
            await asyncio.sleep(1.5)
            assert (await served.get("/metrics"))[0] == 200

    run(work())
