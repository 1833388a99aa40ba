"""Realtime clients that others wrote against `phonebridge upstream`, each in an environment of its own.

    python scripts/independent/run.py [NAME…] [--all]

Greeting, a turn, a tool with its spoken answer, an interruption, with the client's own defaults: no error
event may come. A client that cannot be installed within the time is skipped, and that is said. The
environments are kept in the user's cache, or in INDEPENDENT_HOME. --all also installs what takes minutes.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final, NamedTuple

HERE: Final = Path(__file__).parent
ROOT: Final = HERE.parents[1]
HOME: Final = Path(os.environ.get("INDEPENDENT_HOME") or Path.home() / ".cache" / "phonebridge-independent")
INSTALL_S: Final = 40
INSTALL_ALL_S: Final = 600
CONVERSATION_S: Final = 45


class Environment(NamedTuple):
    """Where `packages` are installed; `node` for npm, else a virtual environment. `heavy` ones are hundreds
    of megabytes.
    """

    name: str
    packages: tuple[str, ...]
    node: bool = False
    heavy: bool = False

    @property
    def folder(self) -> Path:
        return HOME / self.name

    @property
    def command(self) -> str:
        return "node" if self.node else str(self.folder / "bin" / "python")


class Client(NamedTuple):
    name: str
    script: str
    environment: Environment
    tls: bool = False
    dialect: str = ""

    @property
    def server(self) -> tuple[str, ...]:
        """Options of the server that it talks to."""
        return (*(("--tls",) if self.tls else ()), *(("--dialect", self.dialect) if self.dialect else ()))


OPENAI_PYTHON: Final = Environment("openai-python", ("openai-agents>=0.24", "openai[realtime]>=3"))
OPENAI_NODE: Final = Environment("openai-node", ("openai@^6", "ws@^8"), node=True)
AGENTS_NODE: Final = Environment("openai-agents-node", ("@openai/agents-realtime@^0.20", "zod@^4"), node=True)
LIVEKIT: Final = Environment(
    "livekit-plugin", ("livekit-agents>=1.8", "livekit-plugins-openai>=1.8"), heavy=True
)
PIPECAT: Final = Environment("pipecat", ("pipecat-ai[openai]>=1.14",), heavy=True)
CLIENTS: Final = (
    Client("openai-python", "openai_python.py", OPENAI_PYTHON),
    Client("openai-python, Azure", "openai_python.py", OPENAI_PYTHON, dialect="azure"),
    Client("openai-python, xAI", "openai_python.py", OPENAI_PYTHON, dialect="xai"),
    Client("openai-agents-python", "openai_agents.py", OPENAI_PYTHON),
    Client("openai-node", "openai_node.mjs", OPENAI_NODE, tls=True),
    Client("openai-agents-node", "openai_agents_node.mjs", AGENTS_NODE),
    Client("livekit-plugin", "livekit_plugin.py", LIVEKIT),
    Client("pipecat", "pipecat_service.py", PIPECAT),
    Client("pipecat, xAI", "pipecat_service.py", PIPECAT, dialect="xai"),
)


def installed(environment: Environment, everything: bool) -> str:
    """Make the environment unless it is there; returns why it cannot be had, else nothing. What was begun is
    gone on with the next time.
    """
    ready = environment.folder / ".ready"
    if ready.exists():
        return ""
    if environment.heavy and not everything:
        return "not installed yet: --all does it, in minutes"
    within_s = INSTALL_ALL_S if everything else INSTALL_S
    environment.folder.mkdir(parents=True, exist_ok=True)
    if environment.node:
        if shutil.which("npm") is None:
            return "no npm here"
        commands = [["npm", "install", "--silent", "--no-audit", "--no-fund", *environment.packages]]
    else:
        python = environment.command
        pip = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-compile"]
        make = [] if Path(python).exists() else [[sys.executable, "-m", "venv", str(environment.folder)]]
        commands = [*make, [*pip, *environment.packages]]
    until_s = time.monotonic() + within_s
    for command in commands:
        try:
            left_s = max(1.0, until_s - time.monotonic())
            subprocess.run(command, cwd=environment.folder, check=True, capture_output=True, timeout=left_s)
        except subprocess.TimeoutExpired:
            return f"not installed within {within_s:g} s"
        except (OSError, subprocess.CalledProcessError) as error:
            return f"cannot be installed here: {error}"
    ready.touch()
    return ""


@contextmanager
def upstream(*options: str) -> Iterator[tuple[str, str]]:
    """`phonebridge upstream`; gives its base URL and the path of its certificate, if it has one."""
    command = [sys.executable, "-m", "bridge", "upstream", "--port", "0", *options]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None  # made with a pipe
        certificate = ""
        try:
            for line in server.stdout:
                what, _, rest = line.partition(": ")
                if what == "trust":
                    certificate = rest.partition("SSL_CERT_FILE=")[2].split()[0]
                elif what == "ready":
                    base = rest.split("/realtime?")[0].replace("ws", "http", 1)
                    yield base, certificate
                    return
            raise SystemExit("phonebridge upstream did not start")
        finally:
            server.terminate()


def conversation(client: Client, base: str, certificate: str) -> str:
    """Hold it; returns what went wrong, else nothing."""
    folder = client.environment.folder
    for file in (client.script, "sound.mjs" if client.environment.node else "sound.py"):
        shutil.copy(HERE / file, folder)
    command = [client.environment.command, client.script, base, *([client.dialect] if client.dialect else [])]
    kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    environment = {**kept, "OPENAI_AGENTS_DISABLE_TRACING": "1"}
    if certificate:
        environment["NODE_EXTRA_CA_CERTS"] = environment["SSL_CERT_FILE"] = certificate
    try:
        ran = subprocess.run(
            command,
            cwd=folder,
            env=environment,
            capture_output=True,
            text=True,
            timeout=CONVERSATION_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return f"not over after {CONVERSATION_S} s"
    return "" if ran.returncode == 0 else (ran.stderr.strip() or ran.stdout.strip())


def published_types() -> str:
    """`openai-agents` against a server in the tests' process: each event by the vendor's own types. Returns
    what went wrong, else nothing.
    """
    command = [sys.executable, "-m", "pytest", "-q", "-n", "0", "-m", "independent", "tests/independent"]
    environment = {**os.environ, "AGENTS_PYTHON": OPENAI_PYTHON.command}
    ran = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    return "" if ran.returncode == 0 else ran.stdout.strip()


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", metavar="NAME")
    parser.add_argument("--all", action="store_true", help="also install what takes minutes")
    asked = parser.parse_args()
    wanted = [client for client in CLIENTS if not asked.names or client.name in asked.names]
    counts = {"ok": 0, "skipped": 0, "FAILED": 0}

    def tell(name: str, verdict: str, why: str = "") -> None:
        counts[verdict] += 1
        sys.stdout.write(f"{verdict}  {name}{why and ': ' + why}\n")
        sys.stdout.flush()

    with concurrent.futures.ThreadPoolExecutor(len(wanted)) as pool, ExitStack() as stack:
        environments = list(dict.fromkeys(client.environment for client in wanted))
        made = dict(
            zip(environments, pool.map(lambda one: installed(one, asked.all), environments), strict=True)
        )
        for client in wanted:
            if made[client.environment]:
                tell(client.name, "skipped", made[client.environment])
        here = [client for client in wanted if not made[client.environment]]
        bases = {}
        for options in {client.server for client in here}:
            bases[options] = stack.enter_context(upstream(*options))
        for client, why in zip(
            here, pool.map(lambda one: conversation(one, *bases[one.server]), here), strict=True
        ):
            tell(client.name, "FAILED" if why else "ok", why)
    if OPENAI_PYTHON in {client.environment for client in here} and not asked.names:
        why = published_types()
        tell("openai-agents-python, events by the published types", "FAILED" if why else "ok", why)
    sys.stdout.write(", ".join(f"{count} {verdict}" for verdict, count in counts.items()) + "\n")
    return 1 if counts["FAILED"] else 0


if __name__ == "__main__":
    sys.exit(main())
