"""An adapter may read several events in one frame, write one command as several frames, or as none."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from bridge.core import messages as m
from bridge.doubles.agents import Scripted, Speech
from bridge.doubles.phone import Phone, PhoneOptions
from bridge.doubles.realtime import RealtimeServer
from bridge.doubles.tones import tone
from bridge.recording import Header, Parts, Recorder, describe, replay
from bridge.recording.walking import Walk
from bridge.testing.call import usual_config
from bridge.testing.virtual_call import VirtualCall
from bridge.upstreams import UPSTREAMS, NewUpstream, OpenAI, Upstream, events_of, frames_of

CREATED = '{"type":"input_audio_buffer.clear","event_id":"before a response"}'


class Bundled:
    """OpenAI's dialect, whose frames come in bundles. It says each response.create in two frames, and has no
    word for a truncation.
    """

    def __init__(self, epoch: int = 1, url: str | None = None) -> None:
        self._inner = OpenAI(epoch, url)
        self.dial, self.append = self._inner.dial, self._inner.append

    def parse(self, frame: str | bytes) -> Any:
        inner = [json.dumps(one) for one in json.loads(frame)]
        return tuple(event for one in inner for event in events_of(self._inner.parse(one)))

    def write(self, command: m.UpstreamCommand) -> Any:
        written = self._inner.write(command)
        if isinstance(command, m.TruncateItem):
            return None
        return (CREATED, written) if isinstance(command, m.CreateResponse) else written


class BundlingServer(RealtimeServer):
    """All that it has to say at one moment is one frame."""

    def __init__(self) -> None:
        super().__init__(Scripted([Speech(tone(3_000), "Good morning, this is a long answer.")] * 2))
        self.got: list[str] = []
        self.bundles: list[int] = []

    def receive(self, frame: str | bytes, now_ms: int) -> list[str]:
        self.got.append(json.loads(frame)["type"])
        return self._bundled(super().receive(frame, now_ms))

    def open(self, now_ms: int, model: str = "") -> list[str]:
        return self._bundled(super().open(now_ms, model))

    def wake(self, now_ms: int) -> list[str]:
        return self._bundled(super().wake(now_ms))

    def _bundled(self, frames: list[str]) -> list[str]:
        self.bundles += [len(frames)] if frames else []
        return [f"[{','.join(frames)}]"] if frames else []


def call_with(upstream: type[Bundled]) -> tuple[VirtualCall, BundlingServer, list[str]]:
    lines: list[str] = []
    config = usual_config(greeting="Say good morning.")
    server = BundlingServer()
    recorder = Recorder(lines.append, Header(carrier="twilio", upstream="openai", config=config), True)
    adapter: Any = upstream
    phone = Phone(speech=b"\xff" * 8_000, options=PhoneOptions())
    call = VirtualCall(config, phone, lambda: server, recorder=recorder, upstream=adapter)
    call.start()
    call.until(1_500)
    call.feed(m.Interrupt())  # cuts the greeting: a truncation
    call.feed(m.Respond("say_1", "Go on."))
    call.until(4_000)
    call.feed(m.HangUp())
    call.run(30_000)
    return call, server, lines


def parts() -> Parts:
    table: Mapping[str, NewUpstream] = {**UPSTREAMS, "openai": Bundled}
    return Parts(upstreams=table)


def test_a_call_goes_on_and_replays_to_the_byte() -> None:
    call, server, lines = call_with(Bundled)
    assert call.ended is not None
    assert max(server.bundles) >= 2
    assert server.got.count("response.create") == server.got.count("input_audio_buffer.clear") >= 2
    result = replay(lines, strict=True, parts=parts())
    assert result.difference is None, describe(result.difference)
    assert result.outputs == lines


def test_what_an_adapter_has_no_word_for_is_not_sent_and_not_recorded() -> None:
    call, server, lines = call_with(Bundled)
    assert call.log(m.TruncateItem)  # the core said so
    assert "conversation.item.truncate" not in server.got
    assert not any("TruncateItem" in line for line in lines)


def test_a_picture_sees_each_event_of_a_bundle() -> None:
    call, _, lines = call_with(Bundled)
    walked = list(Walk(lines, parts()))
    assert not [walk.error for walk in walked if walk.error]
    assert [action for walk in walked for action in walk.actions if isinstance(action, m.Cut)] == call.log(
        m.Cut
    )


def test_one_thing_is_told_as_before() -> None:
    made: Upstream = Bundled()
    assert events_of(None) == frames_of(None) == ()
    assert frames_of(made.write(m.CommitAudio())) == (OpenAI().write(m.CommitAudio()),)
