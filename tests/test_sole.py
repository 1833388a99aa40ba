"""What one process of several does, and what another one takes over when it is gone."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

from bridge.ops.notices.spool import Notice, Spool
from bridge.ops.sole import Sole

HOLDER = """
import sys, time
from pathlib import Path
from bridge.ops.notices.spool import Notice, Spool
from bridge.ops.sole import Sole

folder = Path(sys.argv[1])
spool = Spool(folder / "address")
spool.load()
spool.put(Notice("n1", "CA1", 1.0, "{}"))
sole = Sole(folder)
print(sole.take(), flush=True)
time.sleep(60)
"""


def test_a_folder_is_one_processs_until_that_is_killed_and_its_notices_too(tmp_path: Path) -> None:
    other = subprocess.Popen([sys.executable, "-c", HOLDER, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert other.stdout is not None
    assert other.stdout.readline() == "True\n"
    mine, sole = Spool(tmp_path / "address"), Sole(tmp_path)
    assert mine.load() == [], "they are on their way already"
    assert not sole.take()
    own = mine.put(Notice("n2", "CA2", 2.0, "{}"))
    assert own.path is not None
    assert own.path.parent == tmp_path / "address-2"
    os.kill(other.pid, signal.SIGKILL)
    other.communicate()
    assert sole.take()
    assert [waiting.notice.id for waiting in mine.adopt()] == ["n1"]
    assert mine.adopt() == []
    sole.release()
    mine.close()
    third = Spool(tmp_path / "address")
    assert [waiting.notice.id for waiting in third.load()] == ["n1", "n2"]
    third.close()
