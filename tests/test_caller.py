"""A caller by script, in this process: what they say and are told, and when."""

from __future__ import annotations

from bridge.cli.caller import QUIET_MS, Caller, Spoken


class Stream:
    """A stream of a call, and the phone that is on it: it plays until `until_ms`."""

    def __init__(self, until_ms: int) -> None:
        self.machine, self.until_ms, self.at_ms, self.sent = self, until_ms, 0, 0

    def now_ms(self) -> int:
        return self.at_ms

    def playing(self, now_ms: int) -> bool:
        return now_ms < self.until_ms

    @property
    def heard(self) -> bytes:
        return bytes(8 * min(self.at_ms, self.until_ms))

    def say(self, _sound: bytes, _now_ms: int) -> str:
        return "sound"

    def send(self, _frame: str) -> None:
        self.sent += 1


def lives(caller: Caller, stream: Stream, began_ms: int, for_ms: int) -> None:
    for stream.at_ms in range(0, for_ms, 50):
        caller.look(stream, began_ms)


def test_what_is_heard_after_a_detour_is_told_and_answered_in_its_time() -> None:
    """A second stream has a time and a sound of its own; the story goes on in the time of the call."""
    story: list[tuple[int, str, str]] = []
    turns = [Spoken(bytes(800), "to sales"), Spoken(bytes(800), "goodbye")]
    caller = Caller(0.0, 4.0, turns, lambda *line: story.append(line))
    lives(caller, Stream(until_ms=5_000), 200, 6_100)
    lives(caller, second := Stream(until_ms=2_000), 20_000, 4_000)
    assert story == [
        (5_200, "heard", "5.00 s"),
        (5_000 + QUIET_MS - 50 + 200, "caller", "“to sales”"),
        (22_000, "heard", "2.00 s"),
        (22_000 + QUIET_MS - 50, "caller", "“goodbye”"),
    ]
    assert second.sent == 1
