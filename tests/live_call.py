"""A whole call with GPT-Live in virtual time: the core, the adapter, the vendor's double and a phone.

What was heard is known from outside: from what the double says that it said and where, and from what the
phone played.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

from bridge.core import messages as m
from bridge.doubles.agents import Scripted
from bridge.doubles.gpt_live import LiveServer
from bridge.doubles.live_options import LiveOptions
from bridge.doubles.live_speech import Utterance
from bridge.doubles.phone import Phone, PhoneOptions
from bridge.doubles.tones import tone
from bridge.recording import Header, Recorder
from bridge.sounds.phrases import Phrases
from bridge.testing.virtual_call import VirtualCall
from bridge.upstreams.live import LIVE, Live

HOURS = {"type": "function", "name": "hours", "parameters": {"type": "object", "properties": {}}}
HELLO = "Hello, how can I help?"


class LiveCall:
    """`mind` is the double's, through all sessions of the call. The caller's words are what they were told to
    say, in turn. `options` are the double's.
    """

    def __init__(
        self,
        *mind: Any,
        session: m.SessionConfig | None = None,
        phone: PhoneOptions | None = None,
        options: dict[str, Any] | None = None,
        **config: Any,
    ) -> None:
        self.words: list[str] = []
        self.servers: list[LiveServer] = []
        self.agent = Scripted(mind)
        self.options = LiveOptions(**{"transcribe": lambda _item: self.words.pop(0), **(options or {})})
        self.lines: list[str] = []
        given = {
            "session": session or m.SessionConfig(model="gpt-live-1", instructions="Be brief."),
            "capabilities": LIVE,
            "phrases": Phrases().sounds("en"),
            "greeting": HELLO,
            **config,
        }
        made = m.CallConfig(**given)
        header = Header(carrier="twilio", upstream="gpt-live", config=made)
        self.call = VirtualCall(
            made, Phone(options=phone or PhoneOptions()), cast("Any", self._server), dial_ms=30,
            upstream=Live, recorder=Recorder(self.lines.append, header),
        )  # fmt: skip
        self.call.start()

    def _server(self) -> LiveServer:
        agent = Scripted(self.agent.replies[sum(server.asked for server in self.servers) :])
        self.servers.append(LiveServer(agent, self.options))
        return self.servers[-1]

    def at(self, now_ms: int) -> LiveCall:
        """Time passes up to then."""
        self.call.until(now_ms)
        return self

    def says(self, words: str, ms: int = 800) -> None:
        """The caller says something, from now on."""
        self.words.append(words)
        self.call.from_phone(self.call.phone.say(tone(ms, 300), self.call.now_ms))

    def log(self, *kinds: type[m.Message]) -> list[Any]:
        """What the core decided of these kinds."""
        return [action for _, action in self.call.said if isinstance(action, kinds)]

    def noted(self) -> list[str]:
        """What it noted."""
        return [one.what for one in self.log(m.Noted)]

    def told(self, kind: str) -> list[dict[str, Any]]:
        """Client events of that type, of all sessions."""
        return [event for server in self.servers for event in server.log if event["type"] == kind]

    @property
    def said(self) -> list[Utterance]:
        """What the double says that it said."""
        return [one for server in self.servers for one in server.voice.utterances]

    def played_ms(self, said: Utterance) -> int:
        """How much of that the phone has played: its sound is one byte over and over."""
        return self.call.phone.heard.count(said.sound[:1]) // 8

    def heard_words(self, said: Utterance) -> Sequence[str]:
        """The words that were heard of it, known from outside; with one fragment less, and with one more."""
        played_ms = self.played_ms(said)
        whole = [one for one in said.fragments if one.to_ms - said.start_ms <= played_ms]
        counts = range(max(0, len(whole) - 1), len(whole) + 2)
        return ["".join(one.text for one in said.fragments[:count]).strip() for count in counts]
