"""Upstreams: the wire events of a realtime speech model, in and out of the messages of the core.

Floor 2: pure. `realtime.py` is the dialect that OpenAI coined and most others imitate; one file a vendor says
what is its own: where to dial, how to say who we are, and the session it is configured with.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Protocol, TypeAlias

from bridge.core.messages import Capabilities, SessionConfig, UpstreamCommand, UpstreamEvent, VendorPlan

from . import azure, live, voices, xai
from .azure import Azure
from .dial import Dial
from .live import LIVE, Live
from .openai import URL, OpenAI, embedded
from .xai import Xai

Parsed: TypeAlias = UpstreamEvent | tuple[UpstreamEvent, ...] | None
Written: TypeAlias = str | bytes | tuple[str | bytes, ...] | None


class Upstream(Protocol):
    """One upstream session of a call: what it is dialled with, and what is spoken there."""

    def dial(self, config: SessionConfig) -> Dial:
        """Where this session is to be had; the shell adds the key. Raises ConfigError for a configuration
        that cannot be sent: a call dials before anything else, so this is the earliest look at it. To check
        settings at start, dial and throw the answer away.
        """
        ...

    def parse(self, frame: str | bytes) -> Parsed:
        """What a frame says, stamped with this session's epoch; a tuple for one that says several things, in
        their order; None for one that says nothing to us, such as a kind that we do not know. Raises
        UpstreamError for a frame that breaks the protocol: that frame is lost, the call is not.
        """
        ...

    def write(self, command: UpstreamCommand) -> Written:
        """The frame that says this, or a tuple of several, in their order; None where this vendor has no word
        for it, and nothing is sent. Each has an event id that says what it was about (`truncate:item_7`): a
        fault that it causes names it in `about`. The audio of an AppendAudio is trusted: the door that let it
        in has checked its base64. The words of a SendVendorEvent are the user's, and go as they are.
        """
        ...

    def append(self, audio: str) -> str | bytes:
        """What `write` makes of an AppendAudio, without the object: it is asked for fifty times a second."""
        ...


class NewUpstream(Protocol):
    """Makes the `Upstream` of one session. `epoch` numbers a call's sessions from 1; `url` is a base
    websocket URL in place of the vendor's, None for the vendor's own.
    """

    def __call__(self, epoch: int = 1, url: str | None = None) -> Upstream: ...


_USUAL: Final = Capabilities()


@dataclass(frozen=True, slots=True)
class Vendor:
    """One entry of the table.

    - `make`: makes the adapter of a session.
    - `company`: to whom the caller's words are sent.
    - `url`: where its sessions are to be had, None where a setting names the place.
    - `key`: the name of the setting that holds the key, "" for a server that asks for none.
    - `rehearsal`: it is a server of our own, without a model.
    - `model`, `voice`, `transcription`: what its sessions have where the settings name none; "" where they
      have to. `voices` are those that are known of it.
    - `prices`: its name in the table of prices.
    """

    make: NewUpstream
    capabilities: Capabilities = _USUAL
    company: str = ""
    url: str | None = None
    key: str = ""
    rehearsal: bool = False
    model: str = "gpt-realtime-2.1"
    voice: str = "marin"
    voices: tuple[str, ...] = voices.OPENAI
    transcription: str = "gpt-transcribe"
    prices: str = "openai"

    def __call__(self, epoch: int = 1, url: str | None = None) -> Upstream:
        """The adapter of one session."""
        return self.make(epoch, url)


UPSTREAMS: Final[Mapping[str, Vendor]] = {
    "openai": Vendor(OpenAI, company="OpenAI", url=URL, key="OPENAI_API_KEY"),
    "azure": Vendor(
        Azure, company="Microsoft Azure", key=azure.KEY, model="", transcription="", prices="azure"
    ),
    "xai": Vendor(
        Xai,
        xai.CAPABILITIES,
        company="xAI",
        url=xai.URL,
        key=xai.KEY,
        model=xai.MODEL,
        voice=xai.VOICE,
        voices=voices.XAI,
        transcription=xai.TRANSCRIPTION,
        prices="xai",
    ),
    "gpt-live": Vendor(
        Live, LIVE, company="OpenAI", url=live.URL, key=live.KEY, model=live.MODEL, transcription="off"
    ),
    "azure-live": Vendor(
        live.azure,
        LIVE,
        company="Microsoft Azure",
        key=azure.KEY,
        model="",
        transcription="off",
        prices="azure",
    ),
    "embedded": Vendor(embedded, company="phonebridge", rehearsal=True),
    "parrot": Vendor(embedded, company="phonebridge", rehearsal=True),
}
"""The table: an upstream's name in settings, and what to make for each session of a call."""

REHEARSALS: Final = frozenset(name for name, vendor in UPSTREAMS.items() if vendor.rehearsal)
"""Upstreams of our own, without a model: the front desk, and the parrot. They speak every provider's dialect,
and cost nothing.
"""


def adapter_of(plan: VendorPlan, epoch: int) -> Upstream:
    """That of a session with another vendor than the call began with."""
    return UPSTREAMS[plan.name](epoch, plan.url or None)


def events_of(parsed: Parsed) -> tuple[UpstreamEvent, ...]:
    """What a frame said, one by one."""
    return parsed if isinstance(parsed, tuple) else () if parsed is None else (parsed,)


def frames_of(written: Written) -> tuple[str | bytes, ...]:
    """What a command was written as, one by one."""
    return written if isinstance(written, tuple) else () if written is None else (written,)
