"""docs/api.md says what the source says: every public name, signature and method."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import re
from pathlib import Path
from types import FunctionType, ModuleType

import bridge.experiments

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


def lookup(name: str) -> object:
    module, _, attribute = name.rpartition(".")
    return getattr(importlib.import_module(module), attribute)


def page() -> str:
    return (ROOT / "docs" / "api.md").read_text(encoding="utf-8")


def documented(text: str) -> dict[str, str]:
    return dict(ENTRY.findall(text))


def test_the_page_is_what_the_script_makes_of_the_source() -> None:
    written, made = page(), maker().page()
    assert list(documented(written)) == list(documented(made)), HINT
    assert documented(written) == documented(made), HINT
    assert written == made, HINT


def test_every_public_name_is_documented_under_the_name_it_is_imported_by() -> None:
    """What a signature mentions is importable, and a core message appears as an event of `bridge` only."""
    names = documented(page())
    rooms = ("bridge.testing.", "bridge.experiments.")
    assert {name.removeprefix("bridge.") for name in names if not name.startswith(rooms)} == {
        *bridge.__all__
    } - {"__version__"}
    assert {name.removeprefix(rooms[1]) for name in names if name.startswith(rooms[1])} == {
        *bridge.experiments.__all__
    }
    assert all(name.count(".") == 1 or name.startswith(rooms) for name in names)
    assert "bridge.core" not in page()
    assert "epoch" not in "".join(names.values())


def test_every_class_and_function_has_words_of_its_own() -> None:
    for name in documented(page()):
        thing = lookup(name)
        assert not isinstance(thing, type) or thing.__doc__, name


def test_every_public_method_has_the_sentence_its_docstring_begins_with() -> None:
    chapters = dict(re.findall(r"^### `(bridge\.[\w.]+)`\n(.*?)(?=^##|\Z)", page(), re.MULTILINE | re.DOTALL))
    for name, text in chapters.items():
        thing = lookup(name)
        if not isinstance(thing, type):
            continue
        for method in dir(thing):
            value = inspect.getattr_static(thing, method)
            function = value.fget if isinstance(value, property) else value
            if method.startswith("_") or not isinstance(function, FunctionType):
                continue
            if not function.__module__.startswith("bridge."):
                continue
            said = re.search(rf"^- `{method}`: (.+)", text, re.MULTILINE)
            assert said, f"{name}.{method}: {HINT}"
            docstring = " ".join((function.__doc__ or said[1]).split())
            assert docstring.startswith(said[1].strip()), f"{name}.{method}: {HINT}"


def test_every_event_of_the_client_and_of_a_call_is_documented() -> None:
    from typing import get_args

    from bridge.client.events import ModelEvent
    from bridge.core.messages import SessionEvent

    shown = {id(lookup(name)) for name in documented(page())}
    for event in (*get_args(ModelEvent), *get_args(SessionEvent)):
        assert id(event) in shown, f"{event.__name__}: {HINT}"


def test_a_drift_would_be_seen() -> None:
    text = maker().page()
    signatures = documented(text)
    assert len(signatures) > 70
    changed = text.replace("async def send_text(self, text: str", "async def send_text(self, words: str")
    assert documented(changed)["bridge.RealtimeModel"] != signatures["bridge.RealtimeModel"]
