"""Prometheus' texts of several processes as one: what was counted is added up, and what is measured at the
moment says which process it is of.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from prometheus_client import Metric, generate_latest
from prometheus_client.exposition import choose_encoder
from prometheus_client.parser import text_string_to_metric_families

WORKER: Final = "worker"
_ADDED: Final = frozenset({"counter", "histogram"})


class _Families:
    """What an encoder takes for a registry."""

    def __init__(self, families: Iterable[Metric]) -> None:
        self._families = list(families)

    def collect(self) -> Iterator[Metric]:
        yield from self._families


def merged(texts: Mapping[str, str], accept: str = "") -> tuple[bytes, str]:
    """The answer to a scrape and its content type. `texts` are by worker; under the empty name, what those
    have counted that are gone. Counters and histograms are sums; every other series has the label `worker`.
    """
    workers = Metric("phonebridge_workers", "Processes that answer calls", "gauge")
    workers.add_sample("phonebridge_workers", {}, sum(bool(name) for name in texts))
    encode, content_type = choose_encoder(accept)
    return encode(_Families([*_added(texts), workers])), content_type


def counted(texts: Iterable[str]) -> str:
    """What these texts have counted together, as a text again; nothing that is of a moment."""
    named = {str(number): text for number, text in enumerate(texts)}
    families = [family for family in _added(named) if family.type in _ADDED]
    return generate_latest(_Families(families)).decode()


def _added(texts: Mapping[str, str]) -> list[Metric]:
    families: dict[str, Metric] = {}
    values: dict[tuple[str, str, tuple[tuple[str, str], ...]], float] = {}
    for worker, text in texts.items():
        for family in text_string_to_metric_families(text):
            if family.name.endswith("_created"):  # of a process
                continue
            families.setdefault(family.name, Metric(family.name, family.documentation, family.type))
            more = {} if family.type in _ADDED else {WORKER: worker}
            for sample in family.samples:
                key = family.name, sample.name, tuple({**sample.labels, **more}.items())
                values[key] = values.get(key, 0.0) + sample.value
    for (name, sample_name, labels), value in values.items():
        families[name].add_sample(sample_name, dict(labels), value)
    return list(families.values())
