from __future__ import annotations

from bridge.server.store.expiring import Expiring


def test_entries_end_and_the_oldest_go_first() -> None:
    now_ms = [0]
    kept: Expiring[int] = Expiring(lambda: now_ms[0], 200)
    kept.put("a", 1, 10)
    assert kept.get("a") == 1
    now_ms[0] = 10
    assert kept.get("a") is None
    for number in range(1_000):
        kept.put(str(number), number, 100)
    assert len(kept) == 200
    assert kept.get("799") is None
    assert kept.get("800") == 800
    kept.drop("800")
    assert kept.get("800") is None
    kept.drop("800")
    now_ms[0] = 1_000
    for number in range(300):
        kept.put("b", number, 100)
    assert len(kept) == 200  # what has ended may stay until there is need of room
    for number in range(300):
        kept.put(f"c{number}", number, 100)
    assert len(kept) == 200
    assert kept.get("c150") == 150
