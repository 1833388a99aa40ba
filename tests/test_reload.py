"""`serve --reload`: what is taken anew when an agent's file changes, and what is left alone."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from bridge.agents.agent import Agent, load_agent
from bridge.cli import reload

ROOT = Path(__file__).resolve().parent.parent
AGENT = """\
from bridge import Agent
from shop_hours import HOURS

agent = Agent("You keep a shop.", greeting=f"We are open {HOURS}.")
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where an agent is, in two files; afterwards nothing of it is left in this process."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    monkeypatch.setattr(reload, "LOOK_S", 0.01)
    (tmp_path / "shop_agent.py").write_text(AGENT, encoding="utf-8")
    (tmp_path / "shop_hours.py").write_text('HOURS = "all day"\n', encoding="utf-8")
    yield tmp_path
    for name in ("shop_agent", "shop_hours"):
        sys.modules.pop(name, None)


class Users:
    """Takes each new agent, as the server's side for user code does."""

    def __init__(self) -> None:
        self.agents: asyncio.Queue[Agent] = asyncio.Queue()

    def replace(self, agent: Agent) -> None:
        self.agents.put_nowait(agent)


@contextlib.asynccontextmanager
async def watched(folder: Path):  # type: ignore[no-untyped-def]
    """The agent is loaded and its folder is looked at; yields who is told of a new one."""
    load_agent("shop_agent:agent")
    users = Users()
    watching = asyncio.create_task(reload.keep_up("shop_agent:agent", users, folder))  # type: ignore[arg-type]
    await asyncio.sleep(0)  # it has looked once
    yield users
    watching.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await watching


async def test_a_module_that_the_agent_imports_is_taken_anew_with_it(folder: Path) -> None:
    async with watched(folder) as users:
        (folder / "shop_hours.py").write_text('HOURS = "from nine to five"\n', encoding="utf-8")
        agent = await asyncio.wait_for(users.agents.get(), 10)
    assert agent.greeting == "We are open from nine to five."


async def test_a_file_with_a_mistake_is_told_once_and_the_next_that_works_is_taken(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "bridge.user")
    async with watched(folder) as users:
        (folder / "shop_agent.py").write_text("agent = Agent(\n", encoding="utf-8")
        for _ in range(500):
            if caplog.records:
                break
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.05)  # it looks again, and nothing has changed
        assert users.agents.empty()
        [told] = [record.getMessage() for record in caplog.records]
        assert "shop_agent.py, line 1" in told
        assert "the agent of before goes on answering" in told
        (folder / "shop_agent.py").write_text(AGENT.replace("We are", "The shop is"), encoding="utf-8")
        agent = await asyncio.wait_for(users.agents.get(), 10)
    assert agent.greeting == "The shop is open all day."


def test_phonebridge_is_not_loaded_again_with_an_agent_in_a_clone_of_it() -> None:
    """README's first agent is a file in the clone, and so is the package that it imports."""
    script = """
import sys
from pathlib import Path
from bridge.agents.agent import Agent, load_agent
from bridge.cli import reload

before = load_agent("examples.tools:agent")
ours = {name: module for name, module in sys.modules.items() if name.partition(".")[0] == "bridge"}
after = reload._load("examples.tools:agent", Path.cwd())
assert after is not before
assert isinstance(after, Agent)
assert [name for name, module in ours.items() if sys.modules[name] is not module] == []
assert [*reload._changes(Path.cwd())] == ["examples.tools"], reload._changes(Path.cwd())
"""
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, check=False, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
