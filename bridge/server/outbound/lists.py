"""A list of numbers, called one after the other: from a CSV file, with its state beside it.

The state is a file of JSON lines, on the disk before each call is asked for. A run that was ended, in
whatever way, can be continued: finished rows stay finished, and a call that was asked for is asked for again
with the same key, which gives the same call. So no number is called twice for one attempt.
"""

from __future__ import annotations

import csv
import hashlib
import json
import os
import secrets
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from bridge.errors import ConfigError

OWN: Final = ("to", "from", "consent", "agent")
"""Columns that are no context."""
SUFFIX: Final = ".state.jsonl"
MOST_ROWS: Final = 100_000
LEAST_DIGITS: Final = 7
"""Of a number without its country code."""


@dataclass(eq=False)
class Row:
    """One number of the list. `state` is `queued`, `placed` (asked for, end unknown), `again` (from `due_s`
    on), `done` or `skipped`; `at_s` is when that began. `attempt` counts calls, `asks` requests for one.
    """

    to: str
    line: int
    context: dict[str, str] = field(default_factory=dict)
    consent: str = ""
    from_: str = ""
    agent: str = ""
    state: str = "queued"
    attempt: int = 0
    asks: int = 0
    due_s: float = 0.0
    at_s: float = 0.0
    told: dict[str, Any] = field(default_factory=dict)
    failures: int = 0

    @property
    def final(self) -> bool:
        """Whether nothing more is to be done."""
        return self.state in ("done", "skipped")

    @property
    def outcome(self) -> str:
        """In a word, what became of it so far."""
        return str(self.told.get("outcome") or self.told.get("rule") or "")


def read_rows(file: Path, consent: str = "") -> tuple[list[Row], list[str]]:
    """The rows of a CSV file with a column `to`, and a remark on each that is left out. `consent` is for rows
    without one of their own. Raises ConfigError for a file that cannot be read as one.
    """
    try:
        with file.open(encoding="utf-8-sig", newline="") as opened:
            return _rows(csv.DictReader(opened, strict=True), consent)
    except OSError as error:
        raise ConfigError(f"{file} cannot be read: {error.strerror or error}") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise ConfigError(f"{file} cannot be read as CSV: {error}") from error


def _rows(reader: csv.DictReader[str], consent: str) -> tuple[list[Row], list[str]]:
    names = [name.strip() for name in reader.fieldnames or ()]
    if "to" not in names:
        raise ConfigError("the list needs a first line with the names of its columns, one of them `to`")
    reader.fieldnames = names
    rows: dict[str, Row] = {}
    seen = Seen()
    remarks = []
    for cells in reader:
        if None in cells:
            raise ConfigError(f"line {reader.line_num} has more cells than there are columns")
        given = {name: (text or "").strip() for name, text in cells.items()}
        number = plain(given["to"])
        if not number:
            remarks.append(f"line {reader.line_num}: no number")
        elif (before := seen.line(number)) is not None:
            remarks.append(f"line {reader.line_num}: the same number as line {before}")
        elif len(rows) >= MOST_ROWS:
            raise ConfigError(f"the list has more than {MOST_ROWS} numbers")
        else:
            seen.add(number, reader.line_num)
            context = {name: text for name, text in given.items() if name and name not in OWN and text}
            rows[number] = Row(
                given["to"], reader.line_num, context, given.get("consent") or consent,
                given.get("from", ""), given.get("agent", ""),
            )  # fmt: skip
    return list(rows.values()), remarks


class Seen:
    """Numbers and their lines. One without + and country code is the same as all that end so: the list does
    not say in which country it was written, and better one call too few than a person called twice.
    """

    def __init__(self) -> None:
        self._whole: dict[str, int] = {}
        self._endings: dict[str, int] = {}
        self._at_home: dict[str, int] = {}

    def line(self, number: str) -> int | None:
        """Where this number was, None if it is new."""
        if number in self._whole:
            return self._whole[number]
        endings = _endings(number)
        if not number.startswith("+") and (found := self._endings.get(endings[0])) is not None:
            return found
        return next((self._at_home[one] for one in endings if one in self._at_home), None)

    def add(self, number: str, line: int) -> None:
        """It stands on that line."""
        self._whole[number] = line
        endings = _endings(number)
        for one in endings:
            self._endings.setdefault(one, line)
        if not number.startswith("+"):
            self._at_home[endings[0]] = line


def _endings(number: str) -> list[str]:
    """The digits without zeros before them, and all that they end with."""
    digits = number.lstrip("+0")
    return [digits[at:] for at in range(max(1, len(digits) - LEAST_DIGITS + 1))]


def plain(number: str) -> str:
    """The number without what people write between its digits."""
    return "".join(one for one in number if one.isdecimal() or one == "+")


class ListState:
    """The state file of one list: read at once, then written to. Raises ConfigError for a file that another
    run has open, or that cannot be read.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self.name = secrets.token_hex(8)
        self._lines = list(self._read())
        new = not self._lines
        for line in self._lines:
            self.name = str(line.get("list", self.name))
        try:
            self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
            _lock(self._fd)
        except BlockingIOError:
            raise ConfigError(f"{path} is in use: this list is being called already") from None
        except OSError as error:
            raise ConfigError(f"{path} cannot be written: {error}") from error
        os.write(self._fd, b"\n")  # what was cut by a crash stays a line of its own
        if new:
            self._append({"list": self.name})
            self.sync()

    def restore(self, rows: list[Row]) -> None:
        """Where the rows stand. One that a rule forbade is asked for again: no call was placed."""
        by_number = {plain(row.to): row for row in rows}
        for line in self._lines:
            row = by_number.get(str(line.get("to", "")))
            if row is not None:
                row.state, row.attempt = str(line["state"]), int(line["attempt"])
                row.due_s, row.at_s = float(line.get("due_s", 0)), float(line.get("at_s", 0))
                row.asks = int(line.get("asks", row.attempt))
                if row.state == "skipped":  # by a rule: the operator may have changed it since
                    row.state = "queued"
                row.told, row.failures = dict(line.get("told", {})), int(line.get("failures", 0))

    def key(self, row: Row) -> str:
        """The idempotency key of the row's latest request: its own also when lines were added to the list, or
        taken away, and without its number, since keys are written down in many places.
        """
        number = hashlib.sha256(f"{self.name} {plain(row.to)}".encode()).hexdigest()[:24]
        return f"{self.name}-{number}-{row.asks}"

    def keep(self, row: Row) -> None:
        """Where a row stands now; in the file when this returns."""
        line: dict[str, Any] = {
            "to": plain(row.to),
            "state": row.state,
            "attempt": row.attempt,
            "asks": row.asks,
        }
        line |= {"at_s": round(row.at_s, 3), "due_s": round(row.due_s, 3), "failures": row.failures}
        self._append(line | {"told": row.told})

    def sync(self) -> None:
        """Wait for the disk."""
        os.fsync(self._fd)

    def close(self) -> None:
        os.close(self._fd)

    def _append(self, line: dict[str, Any]) -> None:
        raw = json.dumps(line, separators=(",", ":")).encode() + b"\n"
        if os.write(self._fd, raw) != len(raw):
            raise OSError("the disk is full")

    def _read(self) -> Iterator[dict[str, Any]]:
        try:
            raw = self._path.read_bytes()
        except FileNotFoundError:
            return
        except OSError as error:
            raise ConfigError(f"{self._path} cannot be read: {error}") from error
        for one in raw.split(b"\n"):
            try:
                line = json.loads(one) if one else None
            except ValueError:
                continue  # cut by a crash
            if isinstance(line, dict):
                yield line


def _lock(fd: int) -> None:
    try:
        import fcntl  # noqa: PLC0415  not on Windows
    except ImportError:
        return
    fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
