"""The pytest plugin: calls in virtual time, and recorded calls as tests. No key, no network, no sleep.

A call written by hand::

    def test_the_model_is_told_where_it_was_cut(calls):
        caller, model, at, expect = calls()
        at(1000)
        model.speaks("We are open from nine to five, every day of the week.", ms=2000)
        at(1620)
        caller.interrupts()
        expect.truncated("item_1", 620).heard_text("We are open from")

and calls that were recorded, each of them a test::

    @pytest.mark.calls("recordings/*.call.jsonl")
    def test_what_went_wrong_once(recorded): ...

`calls(agent=…)` puts an agent with its tools and handler on the phone. Everything between the two doubles is
the bridge's own. docs/api.md lists what `caller`, `model` and `expect` can do.

`from bridge.testing import begin` starts such a call without the fixture.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest

if TYPE_CHECKING:
    from ..core.stats import Stats
    from .call import begin, tool_call, usual_config
    from .expectations import Expect
    from .felt import FeltBudget
    from .mailbox import Mailbox
    from .replayed import RecordedCall
    from .scripted_call import Caller, Model, ScriptedCall

__all__ = [
    "Caller",
    "Expect",
    "Mailbox",
    "Model",
    "RecordedCall",
    "ScriptedCall",
    "begin",
    "tool_call",
    "usual_config",
]

MARKER: Final = "calls"
_USUAL: Final = {"strict": False, "compare": True}
"""Keywords of the mark."""
_RECORDED: Final = "recorded"
_FELT: Final = "--felt-p95"
_BUDGET: Final[pytest.StashKey[FeltBudget]] = pytest.StashKey()
_PLACES: Final = {
    "call": "begin tool_call usual_config",
    "expectations": "Expect",
    "replayed": "RecordedCall",
    "mailbox": "Mailbox",
    "scripted_call": "Caller Model ScriptedCall",
}
_PLACE_OF: Final = {name: place for place, names in _PLACES.items() for name in names.split()}


def __getattr__(name: str) -> Any:
    """A public name, imported when it is first used: every pytest run loads this module."""
    if name not in _PLACE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_PLACE_OF[name]}", __name__), name)


@pytest.fixture
def calls(request: pytest.FixtureRequest) -> Iterator[Callable[..., ScriptedCall]]:
    """`calls(agent=None, **how)` gives a call that has just begun; see `bridge.testing.begin`."""
    from .call import begin

    begun: list[ScriptedCall] = []
    folders = (request.path.parent, request.config.rootpath)

    def one(agent: Any = None, **how: Any) -> ScriptedCall:
        begun.append(begin(agent, **{"folders": folders, **how}))
        return begun[-1]

    yield one
    for call in begun:
        call.close()
        _felt(request.node, call.rehearsal.call.stats)


@pytest.fixture
def recorded(request: pytest.FixtureRequest) -> RecordedCall:
    """The recorded call that this test is about; it has replayed without a difference."""
    if not hasattr(request, "param"):
        pytest.fail('`recorded` wants @pytest.mark.calls("recordings/*.call.jsonl")', pytrace=False)
    call: RecordedCall = request.param
    return call


def pytest_addoption(parser: pytest.Parser) -> None:
    """The bound on how long callers wait."""
    group = parser.getgroup("phonebridge")
    group.addoption(
        _FELT,
        type=int,
        metavar="MS",
        help="fail where, over all calls of this run, the caller's wait for an answer exceeds this at p95",
    )


def _felt(node: pytest.Item, stats: Stats) -> None:
    """The turns of one call count, if there is a bound."""
    budget = node.config.stash.get(_BUDGET, None)
    if budget is not None:
        budget.add(node.nodeid, stats.turn_times)


def pytest_configure(config: pytest.Config) -> None:
    """The mark is known, also under --strict-markers; the bound is kept, if one is given."""
    most_ms = config.getoption(_FELT)
    if most_ms is not None:
        from .felt import FeltBudget

        config.stash[_BUDGET] = budget = FeltBudget(most_ms)
        config.pluginmanager.register(budget, _FELT)
    config.addinivalue_line(
        "markers",
        f"{MARKER}(*patterns, strict=False, compare=True): once for each recorded call; relative to the "
        "test's file, or to the root. Fails where the call does not replay; `strict` compares every frame, "
        "and with `compare=False` only what is expected of it counts.",
    )


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """One test for each recording that the patterns find."""
    marker = metafunc.definition.get_closest_marker(MARKER)
    if marker is None:
        return
    from .replayed import RecordedCall

    folders = (metafunc.definition.path.parent, metafunc.config.rootpath)
    files = [file for pattern in marker.args for file in found(pattern, folders)]
    if not marker.args:
        raise pytest.UsageError(
            f"{metafunc.definition.nodeid}: the mark {MARKER} names no pattern of recordings"
        )
    if _RECORDED not in metafunc.fixturenames:
        metafunc.fixturenames.append(_RECORDED)
    if not files:  # of a project whose first call is still to come
        skipped = pytest.mark.skip(reason=f"there is no recording ({', '.join(map(str, marker.args))})")
        metafunc.parametrize(_RECORDED, [pytest.param(None, marks=skipped)], ids=["none"], indirect=True)
        return
    how = {name: bool(marker.kwargs.get(name, usual)) for name, usual in _USUAL.items()}
    ids = [file.name.removesuffix(".jsonl").removesuffix(".call") for file in files]
    metafunc.parametrize(_RECORDED, [RecordedCall(file, **how) for file in files], ids=ids, indirect=True)


def found(pattern: str, folders: tuple[Path, ...]) -> list[Path]:
    """The files of this pattern, in order: in the first of the folders that has any. An absolute one is taken
    as it is.
    """
    if Path(pattern).is_absolute():
        path = Path(pattern)
        return sorted(Path(path.anchor).glob(str(path.relative_to(path.anchor))))
    return next((files for folder in folders if (files := sorted(folder.glob(pattern)))), [])


@pytest.hookimpl(wrapper=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> Iterator[None]:
    """A recorded call is replayed before its test runs, so that a difference is a failure of the test."""
    # The test need not ask for it, so it is found where it was put.
    call: Any = pyfuncitem.callspec.params.get(_RECORDED) if hasattr(pyfuncitem, "callspec") else None
    if call is not None and pyfuncitem.get_closest_marker(MARKER) is not None:
        difference = call.difference()
        if difference is not None:
            pytest.fail(difference, pytrace=False)
        _felt(pyfuncitem, call.stats)
    return (yield)
