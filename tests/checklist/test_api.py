"""docs/api.md says what the source says: names and signatures. The words between may be a little older."""

from __future__ import annotations

import importlib
import importlib.util
import re
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).resolve().parents[2]
HINT = "docs/api.md is out of date: run scripts/make_api_docs.py"
ENTRY = re.compile(r"^### `(bridge\.[\w.]+)`\n\n```python\n(.*?)\n```", re.MULTILINE | re.DOTALL)


def maker() -> ModuleType:
    path = ROOT / "scripts" / "make_api_docs.py"
    spec = importlib.util.spec_from_file_location("make_api_docs", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def documented(text: str) -> dict[str, str]:
    return dict(ENTRY.findall(text))


def test_names_and_signatures_are_those_of_the_source() -> None:
    written = documented((ROOT / "docs" / "api.md").read_text(encoding="utf-8"))
    made = documented(maker().page())
    assert list(written) == list(made), HINT
    for name, signature in made.items():
        assert written[name] == signature, f"{name}: {HINT}"


def test_every_name_is_there_to_be_imported_and_has_words_of_its_own() -> None:
    text = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")
    for name in documented(text):
        module, _, attribute = name.rpartition(".")
        thing = getattr(importlib.import_module(module), attribute)
        assert not isinstance(thing, type) or thing.__doc__ or module.startswith("bridge.core."), name


def test_every_method_and_event_of_the_client_is_documented() -> None:
    from typing import get_args

    from bridge.client.events import ModelEvent
    from bridge.client.model import RealtimeModel

    text = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")
    for name in dir(RealtimeModel):
        if not name.startswith("_") and callable(getattr(RealtimeModel, name)):
            assert f"def {name}(" in text, f"{name}: {HINT}"
    for event in get_args(ModelEvent):
        assert f"### `{event.__module__}.{event.__name__}`" in text, f"{event.__name__}: {HINT}"


def test_a_drift_would_be_seen() -> None:
    text = maker().page()
    signatures = documented(text)
    assert len(signatures) > 70
    changed = text.replace("async def send_text(self, text: str", "async def send_text(self, words: str")
    assert (
        documented(changed)["bridge.client.model.RealtimeModel"]
        != signatures["bridge.client.model.RealtimeModel"]
    )
