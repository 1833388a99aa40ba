"""Phone and server joined by the plainest bridge there is: what the one says, the other hears, in virtual
time.
"""

from __future__ import annotations

import json
from typing import Any

from bridge.doubles.agents import Agent, Parrot, Scripted, Speech
from bridge.doubles.options import ServerOptions
from bridge.doubles.phone import Phone, PhoneOptions
from bridge.doubles.realtime import RealtimeServer
from bridge.doubles.tones import tone
from tests.doubles.conftest import PHONE, published_types, silence


class Wire:
    """Carries sound both ways; at a barge-in it clears, and truncates at what the phone has played by
    then."""

    def __init__(self, phone: Phone, agent: Agent, **options: Any) -> None:
        self.phone, self.server = phone, RealtimeServer(agent, ServerOptions(**options))
        self.marks: list[str] = []
        self.now_ms = 0
        self._dropped: set[str] = set()
        self.to_bridge(self.phone.start(0) + self.server.open(0))
        self.to_server("session.update", session=PHONE)
        self.to_server("response.create")

    def to_server(self, kind: str, **fields: Any) -> None:
        self.to_bridge(self.server.receive(json.dumps({"type": kind, **fields}), self.now_ms))

    def to_phone(self, event: str, **fields: Any) -> None:
        frame = {"event": event, "streamSid": self.phone.frames.stream_sid, **fields}
        self.to_bridge(self.phone.receive(json.dumps(frame), self.now_ms))

    def to_bridge(self, frames: list[str]) -> None:
        for frame in frames:
            event = json.loads(frame)
            if "type" in event:
                published_types().validate_python(event)
            match event:
                case {"event": "media"}:
                    self.to_server("input_audio_buffer.append", audio=event["media"]["payload"])
                case {"event": "mark"}:
                    self.marks.append(event["mark"]["name"])
                case {"type": "response.output_audio.delta"} if event["item_id"] not in self._dropped:
                    self.to_phone("media", media={"payload": event["delta"]})
                    self.to_phone("mark", mark={"name": event["event_id"]})
                case {"type": "input_audio_buffer.speech_started"} if self.phone.playing(self.now_ms):
                    self.barge_in()

    def barge_in(self) -> None:
        item = next(item for item in reversed(self.server.items.values()) if item.role == "assistant")
        self._dropped.add(item.id)
        self.to_phone("clear")
        heard_ms = self.phone.heard.count(item.sound[0]) // 8
        self.to_server("conversation.item.truncate", item_id=item.id, content_index=0, audio_end_ms=heard_ms)

    def until(self, now_ms: int) -> None:
        while True:
            due_ms = [at for at in (self.phone.deadline_ms, self.server.deadline_ms) if at is not None]
            if not due_ms or min(due_ms) > now_ms:
                self.now_ms = now_ms
                self.to_bridge(self.phone.wake(now_ms))
                return
            self.now_ms = max(self.now_ms, min(due_ms))
            self.to_bridge(self.phone.wake(self.now_ms))
            self.to_bridge(self.server.wake(self.now_ms))


def test_a_parrot_on_the_phone() -> None:
    words = tone(700, 500)
    phone = Phone(speech=silence(3000) + words)
    wire = Wire(phone, Parrot(b"\x11" * 8000))
    wire.until(9000)
    said, heard = phone.recording()
    assert len(said) == len(heard) == 9000 * 8
    assert said.count(words) == heard.count(words) == 1
    assert heard.index(b"\x11" * 8000) < said.index(words) < heard.index(words)
    # The answer starts after 500 ms of silence and the latency, with the prefix of 300 ms in front.
    assert heard.index(words) - said.index(words) - len(words) < 8 * (500 + 200 + 100 + 300 + 120)
    assert phone.refused == {}
    assert wire.server.errors == []
    assert wire.marks == phone.echoed
    phone.hang_up(9000)
    assert phone.close == (1000, "")


def test_a_barge_in_is_heard_by_the_phone_and_believed_by_the_server() -> None:
    phone = Phone(speech=silence(2000) + tone(500), options=PhoneOptions(delay_out_ms=0, clear_echo_ms=40))
    wire = Wire(phone, Scripted([Speech(10_000, "a long story"), Speech(300, "Yes?")]), late_deltas=2)
    wire.until(6000)
    assert len(phone.cleared) == 1
    heard_ms = phone.heard.count(1) // 8
    assert 1000 < heard_ms < 2400
    assert wire.server.truncations == {"item_1": heard_ms}
    assert phone.cleared[0].played_bytes // 8 == heard_ms
    assert wire.server.errors == []
    assert phone.heard.count(2) == 300 * 8
    assert sorted(wire.marks) == sorted(set(wire.marks))
