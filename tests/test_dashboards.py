"""The dashboard and the alerts speak of series that `/metrics` has, and of labels that it gives them."""

from __future__ import annotations

import json
import re

import pytest
from prometheus_client.parser import text_string_to_metric_families

from bridge.ops.metrics import Metrics
from scripts.make_dashboards import ALERTS, PANELS, files

QUERIES = [query for _, _, queries in PANELS for _, query in queries] + [alert[1] for alert in ALERTS]


def series() -> dict[str, set[str]]:
    """The names of samples, with the labels that they have."""
    found: dict[str, set[str]] = {}
    for family in text_string_to_metric_families(Metrics().render()[0].decode()):
        for sample in family.samples:
            found.setdefault(sample.name, set()).update(sample.labels)
    return found


def test_the_files_are_as_they_would_be_made() -> None:
    for path, text in files().items():
        assert path.read_text() == text, "python -m scripts.make_dashboards"


@pytest.mark.parametrize("query", QUERIES)
def test_every_query_is_about_a_series_that_there_is(query: str) -> None:
    known = series()
    names = re.findall(r"phonebridge_\w+", query)
    assert names
    assert [name for name in names if name not in known] == []
    labels = {*re.findall(r"by \((\w+)\)", query), *re.findall(r"\{(\w+)=", query)}
    assert labels <= {label for name in names for label in known[name]}


def test_gates_of_alerts_are_gates() -> None:
    text = Metrics().render()[0].decode()
    for gate in re.findall(r'gate="([^"]+)"', json.dumps(ALERTS).replace('\\"', '"')):
        assert f'gate="{gate}"' in text


def test_the_alerts_are_yaml_of_one_group() -> None:
    yaml = pytest.importorskip("yaml", reason="no YAML library here")
    (alerts,) = (text for path, text in files().items() if path.suffix == ".yaml")
    (group,) = yaml.safe_load(alerts)["groups"]
    assert [rule["alert"] for rule in group["rules"]] == [alert[0] for alert in ALERTS]
    assert all(rule["expr"] and rule["for"] for rule in group["rules"])
