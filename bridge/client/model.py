"""A client for a Realtime endpoint, without any phone: typed events in, wishes out.

It uses the machinery of calls without a call (`core.py`). For a phone call use an `Agent`; this is for a
microphone, a file, or a pipeline of your own.
"""

from __future__ import annotations

import logging
from base64 import b64encode
from collections.abc import Iterable, Mapping
from typing import Any

from bridge.client.config import SessionOptions, audio_format
from bridge.client.connection import ModelLink
from bridge.client.core import EPOCH
from bridge.client.events import Phase
from bridge.client.playback import Playing
from bridge.client.vendor_objects import encoded, event_of, mapping_of
from bridge.codecs import PCM_24K
from bridge.core import messages as m
from bridge.upstreams.configuration import part

logger = logging.getLogger(__name__)


class RealtimeModel(ModelLink):
    """One conversation with a Realtime endpoint. Connected again after `close`, it is a new one.

    - `url`, `model`, `call_id`, `api_key`, `headers` as in `WebSocketTransport`; without a key and headers
      the key is OPENAI_API_KEY's. With `headers` no Authorization is added: they are used as they are.
      `transport_options` go to the transport; `transport()` makes one in its place, for each connection.
    - `options`: the session that is asked for at connect.
    - `playback`: how the model learns what was played. "clock": sound plays from its arrival, without a
      pause. "marks": each `MarkWanted` is answered by `mark_reached`. A `Tracker` reports it when asked.
    - `clock()` returns the time in seconds; None: the loop's.

    Listeners are called one event at a time, in order; a slow listener delays the next event. Raises
    ConfigError for settings that cannot work. Use it on one event loop.
    """

    # --- what it knows -----------------------------------------------------------------------------------

    @property
    def session(self) -> Mapping[str, Any] | None:
        """The session in force as the server told it last; None before."""
        return None if self._core is None else self._core.session

    @property
    def phase(self) -> Phase:
        """Whether it is idle, listening, thinking or speaking."""
        core = self._core
        if core is None:
            return Phase.IDLE
        if core.listening:
            return Phase.LISTENING
        if core.playout.line.spans and not core.playout.line.over(self._now_ms()):
            return Phase.SPEAKING
        return Phase.IDLE if core.playout.gate.idle else Phase.THINKING

    @property
    def playing(self) -> Playing | None:
        """The item that is playing, with how much of it was played; None while nothing plays."""
        core = self._core
        span = None if core is None else next(iter(core.playout.line.spans.values()), None)
        if core is None or span is None:
            return None
        heard = core.ledger.heard_bytes(span, self._now_ms())
        return Playing(span.item_id, span.part, heard // core.audio.bytes_per_ms)

    @property
    def responding(self) -> bool:
        """Whether the server is making a response in the conversation."""
        return self._core is not None and self._core.playout.gate.active is not None

    def history(self) -> list[tuple[str, str]]:
        """Role and words of each message, as far as it was **heard**; for `restore` in a next connection."""
        core = self._core
        if core is None:
            return []
        told = core.playout.conversation.history(EPOCH)
        return [(item.role, item.text) for item in told if item.role]

    # --- what is wanted ----------------------------------------------------------------------------------

    async def send_audio(self, sound: bytes, *, commit: bool = False) -> None:
        """Send the user's sound, in the session's input format; `commit` ends the turn. Without a connection
        the sound is dropped, for it would be old later. While `muted`, silence of the same length is sent.
        """
        core, transport = self._core, self._transport
        if core is None or transport is None:
            return
        if self.muted:
            heard_in = audio_format(part(core.session, "audio", "input", "format")) or PCM_24K
            sound = (heard_in.silent_sample * len(sound))[: len(sound)]
        audio = b64encode(sound).decode()
        if sound:
            await self._put(transport, core.adapter.write(m.AppendAudio(audio, len(sound))))
        if commit:
            await self._put(transport, core.adapter.write(m.CommitAudio()))

    async def send_text(
        self, text: str, *, role: str = "user", respond: bool = True, text_only: bool = False
    ) -> None:
        """Send text as the user's (or the system's) and ask for a response, written only with `text_only`."""
        core = self._connected()
        item = core.playout.conversation.created(role, text)
        core.do(m.CreateItem(item.item_id, role, text))
        if respond:
            await self.respond(text_only=text_only)
        await self._drain()

    async def send_item(self, item: Mapping[str, Any], *, respond: bool = True) -> None:
        """Send any item in the vendor's words, such as one with an image."""
        core = self._connected()
        made = {"id": core.playout.conversation.new_id(), **mapping_of(item)}
        core.do(m.SendVendorEvent(encoded({"type": "conversation.item.create", "item": made})))
        if respond:
            await self.respond()
        await self._drain()

    async def respond(self, instructions: str | None = None, *, text_only: bool = False) -> None:
        """Ask for a response; if one is active, as soon as it is over."""
        core = self._connected()
        tag = core.new_tag()
        core.ask(tag, m.CreateResponse(tag, instructions, text_only=text_only), None, self._now_ms())
        await self._drain()

    async def send_tool_output(self, call_id: str, output: str, *, respond: bool = True) -> bool:
        """Send a tool's result. With `respond`, a response is asked for once all calls of the batch have
        results, unless the user has spoken meanwhile. Returns whether the model waited for this result.
        """
        waited = self._connected().finished(call_id, output, respond, self._now_ms())
        await self._drain()
        return waited

    async def approve(self, request_id: str, approve: bool, reason: str = "") -> None:
        """Answer an MCP approval request (a `VendorNote` of kind mcp_approval_request)."""
        item = {"type": "mcp_approval_response", "approval_request_id": request_id, "approve": approve}
        await self.send_item(item | ({"reason": reason} if reason else {}), respond=False)

    async def update_session(self, options: SessionOptions) -> None:
        """Change what is set in the options, and nothing else. Responses wait until it is in force."""
        core = self._connected()
        tree = options.tree()
        if isinstance(options.tracing, str | Mapping) or options.tracing is None:
            tree["tracing"] = options.tracing
        core.configure(tree)
        await self._drain()

    async def interrupt(self, *, force: bool = True) -> None:
        """Stop what is being said, and tell the server how much of it was played. The response is cancelled,
        with `force` false only where the server would not do so by itself at the user's speech.
        """
        if self._core is not None:
            self._core.interrupt(self._now_ms(), force=force)
            await self._drain()

    async def cancel_response(self) -> bool:
        """Cancel the active response and leave its sound as it is. Returns whether there was one."""
        done = self._connected().cancel()
        await self._drain()
        return done

    async def mark_reached(self, name: str) -> None:
        """Report that all sound before that `MarkWanted` was played."""
        if self._core is not None:
            self._core.playout.mark_reached(name, self._now_ms())
            self._core.act()
            await self._drain()

    async def restore(self, history: Iterable[tuple[str, str]]) -> None:
        """Add the messages of an earlier conversation, as text."""
        for role, text in history:
            await self.send_text(text, role=role, respond=False)

    async def send_raw(self, event: Any) -> bool:
        """Send a client event in the vendor's words, as a mapping or an object of the vendor's types. A
        `response.create` waits for its turn. Returns whether it could be sent; if not, that is logged.
        """
        core = self._connected()
        body = event_of(event)
        if body is None:
            logger.warning("not sent: this is no client event: %s", type(event).__name__)
            return False
        if body["type"] == "response.create":
            core.ask(core.new_tag(), None, body.get("response") or {}, self._now_ms())
        elif body["type"] == "session.update":
            core.configure({"type": "realtime", **(body.get("session") or {})})
        else:
            core.do(m.SendVendorEvent(encoded(body)))
        await self._drain()
        return True

    async def send(self, command: Any) -> None:
        """Send `SessionOptions`, or a command object of the bridge's own; each of those has a method here.

        Raises TypeError for anything else.
        """
        match command:
            case SessionOptions():
                await self.update_session(command)
            case m.AddText(text, role):
                await self.send_text(text, role=role, respond=False)
            case m.Respond(instructions=instructions):
                await self.respond(instructions or None)
            case m.Interrupt():
                await self.interrupt()
            case m.ToolFinished(call_id, output, respond):
                await self.send_tool_output(call_id, output, respond=respond)
            case m.Mute(on):
                self.muted = on
            case m.SendRaw(body):
                self._connected().do(m.SendVendorEvent(body))
                await self._drain()
            case m.CommitAudio() | m.ForgetAudio() | m.DeleteItem() | m.TruncateItem():
                self._connected().do(command)
                await self._drain()
            case _:
                raise TypeError(f"{type(command).__name__} is nothing that can be sent")
