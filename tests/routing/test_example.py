"""The example of the guide: it loads, and it says what its comments say."""

from __future__ import annotations

import pytest

from tests.calls import ROOT
from tests.routing.world import MAIN, NOON, SHOP, sid, verbs, world

EXAMPLE = ROOT / "examples" / "routes.toml"


def test_the_example_of_the_guide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHOP_AUTH_TOKEN", "shop-token-2")
    assert len(EXAMPLE.read_text(encoding="utf-8").splitlines()) < 60
    with world(None, BRIDGE_ROUTES=str(EXAMPLE)) as ours:
        ours.now = NOON.replace(hour=10)
        assert verbs(ours.rings(call=1, To="+15550100002")) == ["Connect"]
        assert verbs(ours.rings(call=2, To="+15550100003", account=SHOP)) == ["Connect"]
        assert ours.config(2).language == "de"
        assert dict(ours.router.of(sid(2)).route.transfers) == {"desk": "+15550100004"}
        assert ours.rings(call=3, To="+15550100003", account=MAIN) == "403"
        assert verbs(ours.rings(call=4, From="anonymous", To="+15550100002")) == ["Reject"]
        ours.now = NOON.replace(month=12, day=24, hour=11, minute=30)
        assert verbs(ours.rings(call=5, To="+15550100002", From="+15550100777")) == [
            "Say",
            "Record",
            "Hangup",
        ]
        assert verbs(ours.rings(call=6, To="+15559990000", From="+15550100777")) == ["Reject"]
