"""What a row of docs/faults.md says of the log, each call of its test is held against."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from .rig import Rig
from .test_the_table import rows

SAID = {row["test"].partition("::")[2]: row["log"] for row in rows()}
ENDED = "how it ended"


@pytest.fixture(autouse=True)
def the_log_says_what_the_table_says(request: pytest.FixtureRequest) -> Iterator[None]:
    """Over all calls of the test together: a row tells of a fault, not of one call."""
    Rig.made.clear()
    yield
    said = SAID.get(request.function.__name__)
    if said is None or not Rig.made:
        return
    notes = [note for rig in Rig.made for note in rig.notes]
    for part in (part.strip() for part in said.split(";")):
        what = re.split("[,:(]", part)[0].strip()
        if what == ENDED:
            assert any(rig.ended for rig in Rig.made)
        elif what == "nothing":
            assert notes == []
        else:
            assert [note for note in notes if note.startswith(what)], f"no {what!r} in {notes}"
