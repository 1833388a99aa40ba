"""What all workers say, put together by the supervisor; a worker that is gone is remembered."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from bridge.ops.merged_metrics import counted

from .lines import METRICS, line

ANSWER_S: Final = 0.3
GONE: Final = ""
"""The name under which those stand that are gone."""


@dataclass(slots=True)
class _Question:
    by: str
    number: int
    what: str
    due_s: float
    missing: set[str]
    texts: dict[str, str] = field(default_factory=dict)


class Asked:
    """`tell(worker, line)` sends. What a worker has said last of its metrics stays, so that no counter falls
    when it dies: what was scraped of it is in it.
    """

    def __init__(self, tell: Callable[[str, bytes], None], now: Callable[[], float]) -> None:
        self._tell = tell
        self._now = now
        self._numbers = itertools.count(1)
        self._questions: dict[int, _Question] = {}
        self._last: dict[str, str] = {}
        self._gone = ""

    @property
    def due_s(self) -> float | None:
        return min((question.due_s for question in self._questions.values()), default=None)

    def want(self, by: str, number: int, what: str, workers: list[str]) -> None:
        """A worker wants to know what these say."""
        key = next(self._numbers)
        question = _Question(by, number, what, self._now() + ANSWER_S, set(workers))
        self._questions[key] = question
        for worker in workers:
            self._tell(worker, line("say", n=key, what=what))

    def said(self, worker: str, key: int, text: str) -> None:
        question = self._questions.get(key)
        if question is None:
            return
        question.texts[worker] = text
        question.missing.discard(worker)
        if question.what == METRICS:
            self._last[worker] = text
        if not question.missing:
            self._answer(key, question)

    def last(self, worker: str, text: str) -> None:
        """Its metrics at its end."""
        self._last[worker] = text

    def gone(self, worker: str) -> None:
        text = self._last.pop(worker, "")
        if text:
            self._gone = counted([self._gone, text])
        for key, question in list(self._questions.items()):
            question.missing.discard(worker)
            question.texts.pop(worker, None)  # it is counted among those that are gone
            if not question.missing:
                self._answer(key, question)

    def look(self) -> None:
        """Answer what has waited long enough, without those who have said nothing."""
        now_s = self._now()
        for key, question in list(self._questions.items()):
            if question.due_s <= now_s:
                self._answer(key, question)

    def _answer(self, key: int, question: _Question) -> None:
        del self._questions[key]
        texts = question.texts
        if question.what == METRICS:
            late = {worker: self._last.get(worker, "") for worker in question.missing}
            texts = {**late, **texts, **({GONE: self._gone} if self._gone else {})}
        else:
            texts = {**dict.fromkeys(question.missing, ""), **texts}
        self._tell(question.by, line("got", n=question.number, texts=texts))
