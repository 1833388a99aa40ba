"""What only shows when settings are seen together, and how whatever is wrong is told."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING, Final, NamedTuple
from urllib.parse import urlsplit

from bridge.agents.prices import Prices
from bridge.errors import ConfigError
from bridge.settings import console, fleet, vendors
from bridge.settings.values import Wrong
from bridge.sockets.peers import is_loopback
from bridge.upstreams import REHEARSALS, UPSTREAMS, azure

if TYPE_CHECKING:
    from bridge.settings.settings import Settings

# Where one of these could not be read, the finding on the left would only follow from it.
LEANS_ON: Final = {
    "TWILIO_AUTH_TOKEN": {"BRIDGE_INSECURE"},
    "PUBLIC_URL": {"BRIDGE_INSECURE"},
    "OPENAI_API_KEY": {"BRIDGE_INSECURE", "BRIDGE_UPSTREAM_URL"},
    azure.KEY: {"BRIDGE_UPSTREAM_URL"},
    vendors.ENDPOINT: {"BRIDGE_UPSTREAM_URL"},
    "XAI_API_KEY": {"BRIDGE_UPSTREAM_URL"},
    "BRIDGE_FALLBACK": {"BRIDGE_TRANSFERS"},
    "BRIDGE_RESOLVER_FAILS": {"BRIDGE_FALLBACK", "BRIDGE_TRANSFERS"},
    "BRIDGE_RECORD_AUDIO": {"BRIDGE_RECORDINGS"},
    "BRIDGE_CONSOLE_TOKEN": {"PUBLIC_URL", "BRIDGE_INSECURE"},
    "BRIDGE_CONSOLE_PHONE": {"BRIDGE_TRANSFERS"},
    "BRIDGE_FLEET_CALLS": {"BRIDGE_STORE"},
    "BRIDGE_STREAM_ROUTE": {"BRIDGE_MACHINE_URL"},
    "BRIDGE_OUTBOUND": {"BRIDGE_CALL_FROM", "TWILIO_ACCOUNT_SID", "TWILIO_AUTH_TOKEN"},
}


class Mistake(NamedTuple):
    """One setting that cannot work: its name, `what` is wrong with it, and the `cure`."""

    name: str
    what: str
    cure: str

    def __str__(self) -> str:
        return f"{self.name} {self.what}: {self.cure}"


class WrongSettings(ConfigError):
    """Settings that cannot work, all that there are: `mistakes`. `strangers` are unknown names,
    each in a sentence.
    """

    def __init__(self, mistakes: tuple[Mistake, ...], strangers: tuple[str, ...] = ()) -> None:
        super().__init__(mistakes)
        self.mistakes: tuple[Mistake, ...] = mistakes
        self.strangers: tuple[str, ...] = strangers

    def __str__(self) -> str:
        count = "1 setting is" if len(self.mistakes) == 1 else f"{len(self.mistakes)} settings are"
        return "\n  ".join([f"{count} wrong:", *map(str, self.mistakes), *self.strangers])


def default_upstream(settings: Settings, demo: bool) -> str:
    """The upstream when none was chosen. Where no call is signed a key alone is not enough to be billed."""
    return "embedded" if demo or settings.insecure else "openai"


def between(settings: Settings, demo: bool) -> list[Mistake]:
    """What only shows when settings are seen together."""
    return [
        *_at_the_gates(settings),
        *_upstream(settings, demo),
        *_on_the_way_out(settings),
        *_calls_out(settings),
        *(Mistake(*one) for one in (*fleet.mistakes(settings), *console.mistakes(settings))),
    ]


def _at_the_gates(settings: Settings) -> list[Mistake]:
    found: list[Mistake] = []
    ours = {token.get_secret_value() for token in settings.twilio_auth_token}
    if any(key.get_secret_value() in ours for key in settings.api_keys.values()):
        cure = "make a key of its own: the carrier's token signs webhooks, and no program should have it"
        found.append(Mistake("BRIDGE_API_KEYS", "holds the carrier's auth token", cure))
    if settings.insecure:
        return found
    if not settings.twilio_auth_token:
        cure = "set the account's auth token; to try things out on this machine only, BRIDGE_INSECURE=1"
        found.append(Mistake("TWILIO_AUTH_TOKEN", "is not set, so anybody could call", cure))
    if settings.public_url is None:
        cure = "set the address that Twilio calls, like https://voice.example.com"
        found.append(Mistake("PUBLIC_URL", "is not set, and signatures are made over it", cure))
    return found


def _upstream(settings: Settings, demo: bool) -> list[Mistake]:
    chosen = settings.upstream
    usable = ", ".join(sorted(UPSTREAMS))
    if chosen and chosen not in UPSTREAMS:
        return [Mistake("BRIDGE_UPSTREAM", "is unknown", f"take one of {usable}")]
    name = chosen or default_upstream(settings, demo)
    ours = settings.upstream_url is not None and is_loopback(urlsplit(settings.upstream_url).hostname)
    if name in REHEARSALS and settings.upstream_url is None:
        return []  # it is started with us, and then has one
    if name not in REHEARSALS:
        found = vendors.mistakes(settings, name, loopback=bool(chosen) and ours)
        if found:
            return [Mistake(*one) for one in found]
    try:
        UPSTREAMS[name](1, settings.vendor_url(name)).dial(settings.session_config())
    except ConfigError as error:
        return [Mistake("BRIDGE_UPSTREAM_URL", f"does not suit {name}", str(error))]
    return [Mistake(*one) for one in vendors.failover_mistakes(settings, name)]


def _on_the_way_out(settings: Settings) -> list[Mistake]:
    found = []
    if settings.fallback is not None and settings.fallback not in settings.transfers:
        cure = f"name one of them ({', '.join(settings.transfers) or 'there are none yet'})"
        found.append(Mistake("BRIDGE_FALLBACK", "names no target of BRIDGE_TRANSFERS", cure))
    if settings.resolver_fails == "fallback" and settings.fallback is None:
        cure = "name a target of BRIDGE_TRANSFERS there; or say agent or refuse"
        found.append(Mistake("BRIDGE_RESOLVER_FAILS", "is fallback, and BRIDGE_FALLBACK is not set", cure))
    if settings.record_audio and settings.recordings is None:
        found.append(Mistake("BRIDGE_RECORD_AUDIO", "is on without BRIDGE_RECORDINGS", "name a folder there"))
    if settings.record_audio and settings.consent is None:
        cure = "say `announce`, and callers are told; or `handled`, if you tell them by other means"
        found.append(Mistake("BRIDGE_CONSENT", "is not set, and sound is recorded", cure))
    if settings.prices is not None:
        try:
            Prices.load(settings.prices)
        except ConfigError as error:
            found.append(Mistake("BRIDGE_PRICES", "cannot be read", str(error)))
    if settings.phrases is not None:
        try:
            settings.phrase_words()
        except Wrong as wrong:
            found.append(Mistake("BRIDGE_PHRASES", wrong.what, wrong.cure))
    return found


def _calls_out(settings: Settings) -> list[Mistake]:
    if not settings.outbound:
        return []
    name, found = "BRIDGE_OUTBOUND", []
    if settings.insecure:
        cure = "leave that out: callbacks have to be signed. To try it here, PUBLIC_URL=http://127.0.0.1:5050"
        found.append(Mistake(name, "is on under BRIDGE_INSECURE", cure))
    if find_spec("phonenumbers") is None:
        cure = "install it with `pip install phonenumbers`: it knows countries and their time"
        found.append(Mistake(name, "needs the package phonenumbers (the extra `outbound`)", cure))
    if not settings.call_from:
        cure = "set it to a number of your account, +1555…"
        found.append(Mistake(name, "is on, and BRIDGE_CALL_FROM names no number to call from", cure))
    if settings.twilio_account_sid is None or not settings.twilio_auth_token:
        cure = "calls are placed by the carrier's API, with both"
        found.append(Mistake(name, "is on without TWILIO_ACCOUNT_SID and TWILIO_AUTH_TOKEN", cure))
    return found
