"""What numbers were before they were set: a line for each change, kept beside the journal.

A line is written before the change is made, so that one which went wrong half-way can be taken back too.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bridge.errors import ConfigError
from bridge.server.store.own_files import open_own


@dataclass(frozen=True, slots=True)
class Undo:
    """`before` and `after` are the fields that were changed."""

    number: str
    sid: str
    before: Mapping[str, str]
    after: Mapping[str, str]


class UndoFile:
    """The lines. Only its owner may read them. Raises ConfigError where it cannot be written."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def write(self, undo: Undo) -> None:
        """A number is about to be changed."""
        line = {
            "number": undo.number,
            "sid": undo.sid,
            "before": dict(undo.before),
            "after": dict(undo.after),
        }
        self._append(line)

    def taken_back(self, sid: str) -> None:
        """It is as it was before."""
        self._append({"sid": sid, "taken_back": True})

    def last(self, sid: str) -> Undo | None:
        """What is to be taken back of that number; None if nothing is known. Several changes in a row are
        taken back to before the first of them.
        """
        found: Undo | None = None
        for line in self._lines():
            if line.get("sid") != sid:
                continue
            if line.get("taken_back") is True:
                found = None
                continue
            before, after = line.get("before"), line.get("after")
            if not isinstance(before, dict) or not isinstance(after, dict):
                continue
            if found is not None:
                before, after = {**before, **found.before}, {**found.after, **after}
            found = Undo(str(line.get("number", "")), sid, before, after)
        return found

    def _lines(self) -> list[dict[str, Any]]:
        try:
            text = self.path.read_text(encoding="utf-8", errors="replace")
        except OSError:
            return []
        found = []
        for line in text.splitlines():
            try:
                one = json.loads(line)
            except ValueError:
                continue  # cut by a full disk, or not ours
            if isinstance(one, dict):
                found.append(one)
        return found

    def _append(self, line: dict[str, Any]) -> None:
        text = json.dumps({"at_s": int(time.time()), **line}) + "\n"
        try:
            fd = open_own(self.path)
            try:
                os.write(fd, text.encode())
            finally:
                os.close(fd)
        except OSError as error:
            why = error.strerror or "it cannot be opened"
            raise ConfigError(f"{self.path} cannot be written: {why}; nothing was changed") from None
