"""The runner's gate without sockets and loop: frames in, frames out, one clock, everything recorded.

Frames here look as the vendors' do on the wire, with their counters and ids.
"""

from __future__ import annotations

import json
from base64 import b64encode
from collections import deque
from typing import Any

from bridge.carriers import Twilio
from bridge.core import messages as m
from bridge.core.call import Call
from bridge.errors import CarrierError, UpstreamError
from bridge.recording import Header, Recorder
from bridge.upstreams import OpenAI

STREAM = f"MZ{1:032x}"
TO_CARRIER = (m.PlayAudio, m.SendMark, m.ClearPlayout)
TO_UPSTREAM = m.UpstreamCommand.__args__


class Gate:
    """One call, recorded into `lines`. `slow` upstreams take no caller audio until they are fast again."""

    def __init__(
        self, config: m.CallConfig | None = None, sound: bool = False, recorder: Recorder | None = None
    ) -> None:
        config = config or m.CallConfig(media_gap_ms=100_000_000)
        self.lines: list[str] = []
        header = Header(carrier="twilio", upstream="openai", config=config)
        self.recorder = recorder or Recorder(self.lines.append, header, sound)
        self.call = Call(config)
        self.adapter = Twilio()
        self.upstreams: dict[int, OpenAI] = {}
        self.open: set[int] = set()
        self.slow = False
        self.over = False
        self.now_ms = 0
        self.held: deque[m.AppendAudio] = deque()
        self.sent: list[tuple[int, str, str]] = []
        self.marks: deque[str] = deque()
        """Names of marks that were sent and not yet echoed, cleared ones too."""
        self.decided: list[tuple[int, m.Action]] = []
        self._sequence = 1
        self._chunk = 0
        self._event = 0

    # --- what happens ------------------------------------------------------------------------------------

    def carrier(self, now_ms: int, frame: str | bytes) -> None:
        if self._due(now_ms):
            return
        frame = self.adapter.redact(frame) if '"start"' in str(frame)[:20] else frame
        self.recorder.came(self.now_ms, "carrier", frame)
        try:
            event = self.adapter.parse(frame)
        except CarrierError as error:
            event = m.FrameRefused("carrier", str(error))  # type: ignore[assignment]
        self._receive(event)

    def upstream(self, now_ms: int, frame: str | bytes, epoch: int = 1) -> None:
        if self._due(now_ms) or epoch not in self.upstreams:
            return
        self.open.add(epoch)
        self.recorder.came(self.now_ms, "upstream", frame, epoch)
        try:
            event = self.upstreams[epoch].parse(frame)
        except UpstreamError as error:
            event = m.FrameRefused("upstream", str(error))  # type: ignore[assignment]
        self._receive(event)

    def happens(self, now_ms: int, event: m.Event) -> None:
        if self._due(now_ms):
            return
        if isinstance(event, m.UpstreamClosed | m.DialFailed):
            self.open.discard(event.epoch)
            self.held = deque(append for append in self.held if append.epoch != event.epoch)
        self.recorder.happened(self.now_ms, event)
        self._receive(event)

    def close(self) -> list[str]:
        if not self.over:
            self.recorder.close()
        return self.lines

    def _due(self, now_ms: int) -> bool:
        """Wake-ups that fell due before; true when the call is over."""
        woken = 0
        while not self.over and (due_ms := self.call.deadline_ms) is not None and due_ms <= now_ms:
            woken = woken + 1 if due_ms <= self.now_ms else 0
            assert woken < 100, f"woken at {self.now_ms} ms again and again"
            self.now_ms = max(self.now_ms, due_ms)
            self.recorder.happened(self.now_ms, m.WakeUp())
            self._receive(m.WakeUp())
        self.now_ms = max(self.now_ms, now_ms)
        return self.over

    def _receive(self, event: m.Event | None) -> None:
        for action in [] if event is None else self.call.receive(event, self.now_ms):
            self._perform(action)

    def _perform(self, action: m.Action) -> None:
        if isinstance(action, TO_CARRIER):
            frame = self.adapter.write(action)
            self.sent.append((self.now_ms, "carrier", frame))
            if isinstance(action, m.SendMark):
                self.marks.append(action.name)
            self.recorder.went(self.now_ms, "carrier", frame)
        elif isinstance(action, TO_UPSTREAM) and action.epoch in self.open:
            self._to_upstream(action)
        elif isinstance(action, TO_UPSTREAM):
            self.recorder.decided(self.now_ms, action)
        else:
            self.decided.append((self.now_ms, action))
            self.recorder.decided(self.now_ms, action)
            if isinstance(action, m.DialUpstream):
                self.upstreams[action.epoch] = OpenAI(action.epoch)
            if isinstance(action, m.Ended):
                self.recorder.close()
                self.over = True

    def _to_upstream(self, action: m.UpstreamCommand) -> None:
        if isinstance(action, m.AppendAudio) and (self.slow or self.held):
            self.recorder.decided(self.now_ms, action)
            self.held.append(action)
            while self.held and not self.slow:
                self._write(self.held.popleft())
            while len(self.held) > 5:
                lost = self.held.popleft()
                frame = self.upstreams[lost.epoch].write(lost)
                self.recorder.dropped(self.now_ms, "upstream", frame, lost.epoch)
            return
        self._write(action)

    def _write(self, action: m.UpstreamCommand) -> None:
        frame = self.upstreams[action.epoch].write(action)
        self.sent.append((self.now_ms, "upstream", frame))
        self.recorder.went(self.now_ms, "upstream", frame, action.epoch)

    # --- frames of a carrier -----------------------------------------------------------------------------

    def start(self, now_ms: int, **parameters: str) -> None:
        self.carrier(now_ms, '{"event":"connected","protocol":"Call","version":"1.0.0"}')
        body = {
            "accountSid": f"AC{1:032x}",
            "streamSid": STREAM,
            "callSid": f"CA{1:032x}",
            "tracks": ["inbound"],
            "mediaFormat": {"encoding": "audio/x-mulaw", "sampleRate": 8000, "channels": 1},
            "customParameters": parameters,
        }
        frame = {"event": "start", "sequenceNumber": "1", "start": body, "streamSid": STREAM}
        self.carrier(now_ms, json.dumps(frame, separators=(",", ":")))

    def media(self, now_ms: int, sound: bytes = b"\x7f" * 160, stamp_ms: int | None = None) -> None:
        self._sequence += 1
        self._chunk += 1
        stamp_ms = 100 + 20 * self._chunk if stamp_ms is None else stamp_ms
        self.carrier(
            now_ms,
            f'{{"event":"media","sequenceNumber":"{self._sequence}","media":{{"track":"inbound",'
            f'"chunk":"{self._chunk}","timestamp":"{stamp_ms}","payload":"{b64encode(sound).decode()}"}},'
            f'"streamSid":"{STREAM}"}}',
        )

    def echo(self, now_ms: int, name: str) -> None:
        self._sequence += 1
        self.carrier(
            now_ms,
            f'{{"event":"mark","sequenceNumber":"{self._sequence}","streamSid":"{STREAM}",'
            f'"mark":{{"name":"{name}"}}}}',
        )

    def digit(self, now_ms: int, digit: str) -> None:
        self._sequence += 1
        self.carrier(
            now_ms,
            f'{{"event":"dtmf","streamSid":"{STREAM}","sequenceNumber":"{self._sequence}",'
            f'"dtmf":{{"track":"inbound_track","digit":"{digit}"}}}}',
        )

    def stop(self, now_ms: int) -> None:
        self.carrier(now_ms, f'{{"event":"stop","streamSid":"{STREAM}","sequenceNumber":"0"}}')

    # --- events of a model -------------------------------------------------------------------------------

    def event(self, now_ms: int, kind: str, epoch: int = 1, **fields: Any) -> None:
        self._event += 1
        frame = {"type": kind, "event_id": f"event_{self._event:020}", **fields}
        self.upstream(now_ms, json.dumps(frame, separators=(",", ":")), epoch)

    def configured(self, now_ms: int, epoch: int = 1) -> None:
        self.event(now_ms, "session.created", epoch, session={"id": "sess_1", "type": "realtime"})
        pcmu = {"type": "audio/pcmu"}
        audio = {"input": {"format": pcmu}, "output": {"format": pcmu, "voice": "marin"}}
        session = {"type": "realtime", "output_modalities": ["audio"], "audio": audio}
        self.event(now_ms, "session.updated", epoch, session=session)

    def begin(self, now_ms: int = 0) -> None:
        """Both legs up, nothing said."""
        self.start(now_ms)
        self.happens(now_ms, m.Admitted())
        self.configured(now_ms)

    def response(self, now_ms: int, response: str, epoch: int = 1, tag: str | None = None) -> None:
        metadata = None if tag is None else {"tag": tag}
        body = {"id": response, "status": "in_progress", "conversation_id": "conv_1", "metadata": metadata}
        self.event(now_ms, "response.created", epoch, response=body)

    def item(self, now_ms: int, item: str, response: str, epoch: int = 1) -> None:
        body = {"id": item, "type": "message", "role": "assistant", "status": "in_progress", "content": []}
        at = {"response_id": response, "output_index": 0}
        self.event(now_ms, "response.output_item.added", epoch, **at, item=body)
        self.event(now_ms, "conversation.item.added", epoch, previous_item_id=None, item=body)

    def delta(self, now_ms: int, item: str, response: str, sound: bytes, epoch: int = 1) -> None:
        at = {"response_id": response, "item_id": item, "output_index": 0, "content_index": 0}
        self.event(now_ms, "response.output_audio.delta", epoch, **at, delta=b64encode(sound).decode())

    def words(self, now_ms: int, item: str, response: str, text: str, epoch: int = 1) -> None:
        at = {"response_id": response, "item_id": item, "output_index": 0, "content_index": 0}
        padding = {"obfuscation": "xY" * (self._event % 5)}
        self.event(now_ms, "response.output_audio_transcript.delta", epoch, **at, delta=text, **padding)

    def audio_done(self, now_ms: int, item: str, response: str, epoch: int = 1) -> None:
        at = {"response_id": response, "item_id": item, "output_index": 0, "content_index": 0}
        self.event(now_ms, "response.output_audio.done", epoch, **at)

    def response_done(self, now_ms: int, response: str, status: str = "completed", epoch: int = 1) -> None:
        body = {"id": response, "status": status, "conversation_id": "conv_1", "output": []}
        self.event(now_ms, "response.done", epoch, response=body)

    def caller_speaks(self, now_ms: int, epoch: int = 1) -> None:
        self.event(
            now_ms, "input_audio_buffer.speech_started", epoch, audio_start_ms=now_ms, item_id="item_u"
        )

    def caller_stops(self, now_ms: int, epoch: int = 1) -> None:
        self.event(now_ms, "input_audio_buffer.speech_stopped", epoch, audio_end_ms=now_ms, item_id="item_u")
