"""What an operator can set: the environment and a file `.env`, read once at start.

The names are the platforms' and vendors' own where they exist, and begin with `BRIDGE_` otherwise. Whatever
is wrong is listed at once, each with what to do about it; `remarks` are what is allowed and still worth a
line.
"""

import difflib
import hmac
import os
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final, Literal
from urllib.parse import urlsplit

from dotenv import dotenv_values
from pydantic import Field, PrivateAttr, SecretBytes, SecretStr, ValidationError
from pydantic_settings import NoDecode, SettingsConfigDict

from bridge.core.messages import CallConfig, Limits, SessionConfig
from bridge.settings import calling, notice_values, values
from bridge.settings.calling import CallHours
from bridge.settings.console import ConsoleSettings
from bridge.settings.fleet import FleetSettings, own_name
from bridge.settings.rules import LEANS_ON, Mistake, WrongSettings, between, default_upstream
from bridge.settings.targets import SipLogin, Target
from bridge.settings.tracing import TracingSettings
from bridge.settings.values import SharedKey, Wrong, read_by
from bridge.settings.vendors import VendorSettings, plans
from bridge.sockets.peers import is_loopback
from bridge.sounds.phrases import ENGLISH, Phrases
from bridge.upstreams import REHEARSALS, UPSTREAMS, Vendor, azure

DEFAULT_INSTRUCTIONS: Final = (
    "You are a friendly assistant on a phone call. Speak plainly and keep each answer to a sentence or two."
)
TWILIO_API: Final = "https://api.twilio.com"
BACKLOG: Final = 512
"""Connections that may wait to be accepted. Four are in each turn of the loop, so the last of them waits for
a fraction of a second. One more is dropped, and its kernel tries again a second later.
"""
DEFAULT_GREETING: Final = "Hello, how can I help you?"


Positive = Annotated[int, Field(gt=0)]
Word = Annotated[str, Field(min_length=1)]
Money = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class Settings(FleetSettings, ConsoleSettings, TracingSettings, VendorSettings):
    """Every setting, checked. Raises ConfigError with all mistakes; keyword arguments go before the
    environment, by the names here or there.

    `demo` allows the embedded upstream without being asked for it. It is an argument and no setting, so that
    nothing in the environment can make real callers talk to a script.
    """

    model_config = SettingsConfigDict(
        env_file=".env",
        env_file_encoding="utf-8",
        env_ignore_empty=True,
        extra="ignore",
        validate_default=False,
        hide_input_in_errors=True,
        str_strip_whitespace=True,
    )

    # -- where we are
    port: Annotated[int, Field(ge=0, le=65_535)] = Field(5050, validation_alias="PORT")
    host: str = Field("0.0.0.0", validation_alias="HOST")
    public_url: Annotated[str | None, read_by(values.public_url)] = Field(None, validation_alias="PUBLIC_URL")
    backlog: Positive = Field(BACKLOG, validation_alias="BRIDGE_BACKLOG")

    # -- the carrier
    twilio_account_sid: Annotated[str | None, read_by(values.account_sid)] = Field(
        None, validation_alias="TWILIO_ACCOUNT_SID"
    )
    twilio_auth_token: Annotated[tuple[SecretStr, ...], NoDecode, read_by(values.auth_tokens, ())] = Field(
        (), validation_alias="TWILIO_AUTH_TOKEN"
    )
    shared_keys: Annotated[dict[str, SharedKey], NoDecode, read_by(values.shared_keys, {})] = Field(
        {}, validation_alias="BRIDGE_SHARED_KEYS"
    )
    insecure: bool = Field(False, validation_alias="BRIDGE_INSECURE")
    twilio_api_url: Annotated[str | None, read_by(values.api_url)] = Field(
        None, validation_alias="BRIDGE_TWILIO_API_URL"
    )
    verify_calls: Literal["auto", "always", "off"] = Field("auto", validation_alias="BRIDGE_VERIFY_CALLS")
    # Numbers are no secrets, but they have no business in a log either.
    transfers: Annotated[dict[str, str], NoDecode, read_by(values.transfers, {})] = Field(
        {}, validation_alias="BRIDGE_TRANSFERS", repr=False
    )
    sip_logins: Annotated[dict[str, SipLogin], NoDecode, read_by(values.sip_logins, {})] = Field(
        {}, validation_alias="BRIDGE_SIP_LOGINS", repr=False
    )
    hold_music: Annotated[dict[str, str], NoDecode, read_by(values.hold_music, {})] = Field(
        {}, validation_alias="BRIDGE_HOLD_MUSIC"
    )
    fallback: str | None = Field(None, validation_alias="BRIDGE_FALLBACK")
    routes: Annotated[Path | None, read_by(values.file)] = Field(None, validation_alias="BRIDGE_ROUTES")
    busy: Literal["say", "reject"] = Field("say", validation_alias="BRIDGE_BUSY")
    resolver_fails: Literal["agent", "refuse", "fallback"] = Field(
        "agent", validation_alias="BRIDGE_RESOLVER_FAILS"
    )
    dtmf: Literal["event", "text", "interrupt"] = Field("interrupt", validation_alias="BRIDGE_DTMF")
    dtmf_gap_ms: Annotated[int, Field(ge=500, le=30_000)] = Field(
        3_000, validation_alias="BRIDGE_DTMF_GAP_MS"
    )
    journal: Annotated[Path | None, read_by(values.off_or(values.expanded))] = Field(
        None, validation_alias="BRIDGE_JOURNAL"
    )

    # -- programs of the operator's
    api_keys: Annotated[dict[str, SecretStr], NoDecode, read_by(values.api_keys, {})] = Field(
        {}, validation_alias="BRIDGE_API_KEYS"
    )

    # -- calls out
    outbound: bool = Field(False, validation_alias="BRIDGE_OUTBOUND")
    call_from: Annotated[tuple[str, ...], NoDecode, read_by(values.numbers, ())] = Field(
        (), validation_alias="BRIDGE_CALL_FROM", repr=False
    )
    call_countries: Annotated[frozenset[str], NoDecode, read_by(calling.countries, frozenset())] = Field(
        frozenset(), validation_alias="BRIDGE_CALL_COUNTRIES"
    )
    call_hours: Annotated[CallHours, NoDecode, read_by(calling.call_hours, CallHours())] = Field(
        CallHours(), validation_alias="BRIDGE_CALL_HOURS"
    )
    do_not_call: Annotated[Path | None, read_by(values.expanded)] = Field(
        None, validation_alias="BRIDGE_DO_NOT_CALL"
    )
    call_attempts: Positive = Field(3, validation_alias="BRIDGE_CALL_ATTEMPTS")
    calls_a_second: Annotated[float, Field(gt=0, le=30)] = Field(
        1.0, validation_alias="BRIDGE_CALLS_A_SECOND"
    )
    calls_out: Positive = Field(20, validation_alias="BRIDGE_CALLS_OUT")
    key_calls_a_day: Positive = Field(500, validation_alias="BRIDGE_KEY_CALLS_A_DAY")
    key_calls: Positive = Field(20, validation_alias="BRIDGE_KEY_CALLS")
    key_day_cost: Money | None = Field(None, validation_alias="BRIDGE_KEY_DAY_COST")

    # -- systems that are told
    notices: Annotated[tuple[SecretStr, ...], NoDecode, read_by(notice_values.addresses, ())] = Field(
        (), validation_alias="BRIDGE_NOTICES"
    )
    notices_secret: Annotated[tuple[SecretBytes, ...], NoDecode, read_by(notice_values.keys, ())] = Field(
        (), validation_alias="BRIDGE_NOTICES_SECRET"
    )
    notices_private: bool = Field(False, validation_alias="BRIDGE_NOTICES_PRIVATE")
    notices_about: Annotated[tuple[str, ...], NoDecode, read_by(notice_values.kinds, ())] = Field(
        (), validation_alias="BRIDGE_NOTICES_ABOUT"
    )

    # -- the model
    upstream: str = Field("", validation_alias="BRIDGE_UPSTREAM")
    upstream_url: Annotated[str | None, read_by(values.websocket_url)] = Field(
        None, validation_alias="BRIDGE_UPSTREAM_URL"
    )
    model: str = Field("", validation_alias="BRIDGE_MODEL")
    voice: str = Field("", validation_alias="BRIDGE_VOICE")
    backend_model: str = Field("", validation_alias="BRIDGE_BACKEND_MODEL")
    instructions: str = Field(DEFAULT_INSTRUCTIONS, validation_alias="BRIDGE_INSTRUCTIONS")
    greeting: Annotated[str | None, read_by(values.off_or(str))] = Field(
        DEFAULT_GREETING, validation_alias="BRIDGE_GREETING"
    )
    transcribe: Annotated[str | None, read_by(values.off_or(str))] = Field(
        "", validation_alias="BRIDGE_TRANSCRIBE"
    )
    language: Annotated[str | None, Field(pattern=r"^[A-Za-z]{2,3}(-[A-Za-z0-9]{2,8})*$")] = Field(
        None, validation_alias="BRIDGE_LANGUAGE"
    )
    agent: Annotated[str | None, read_by(values.agent)] = Field(None, validation_alias="BRIDGE_AGENT")

    # -- sound
    playout_lead_ms: Annotated[int, Field(ge=2_000, le=10_000)] = Field(
        5_000, validation_alias="BRIDGE_PLAYOUT_LEAD_MS"
    )

    # -- a rehearsal
    ears: Word = Field("desk", validation_alias="BRIDGE_EARS")
    voice_file: Word = Field("espeak", validation_alias="BRIDGE_VOICE_FILE")
    turns: Literal["energy", "webrtc"] | None = Field(None, validation_alias="BRIDGE_TURNS")

    # -- limits
    max_calls: Positive = Field(200, validation_alias="BRIDGE_MAX_CALLS")
    max_call_seconds: Positive = Field(3600, validation_alias="BRIDGE_MAX_CALL_SECONDS")
    detour_keep_s: Annotated[int, Field(ge=0, le=120)] = Field(120, validation_alias="BRIDGE_DETOUR_KEEP")
    max_call_cost: Money | None = Field(None, validation_alias="BRIDGE_MAX_CALL_COST")
    max_day_cost: Money | None = Field(None, validation_alias="BRIDGE_MAX_DAY_COST")
    prices: Annotated[Path | None, read_by(values.file)] = Field(None, validation_alias="BRIDGE_PRICES")
    handler_loops: Annotated[int, Field(ge=1, le=64)] = Field(4, validation_alias="BRIDGE_HANDLER_LOOPS")
    drain_seconds: Annotated[int, Field(ge=0)] = Field(25, validation_alias="BRIDGE_DRAIN_SECONDS")

    # -- what is kept, and what is said about it
    recordings: Annotated[Path | None, read_by(values.folder)] = Field(
        None, validation_alias="BRIDGE_RECORDINGS"
    )
    record_audio: bool = Field(False, validation_alias="BRIDGE_RECORD_AUDIO")
    record_keys: bool = Field(False, validation_alias="BRIDGE_RECORD_KEYS")
    recording_days: Positive = Field(30, validation_alias="BRIDGE_RECORDING_DAYS")
    audio_days: Positive | None = Field(None, validation_alias="BRIDGE_AUDIO_DAYS")
    phrases: Annotated[Path | None, read_by(values.folder)] = Field(None, validation_alias="BRIDGE_PHRASES")
    disclosure: bool = Field(True, validation_alias="BRIDGE_DISCLOSURE")
    consent: Literal["announce", "handled"] | None = Field(None, validation_alias="BRIDGE_CONSENT")
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info", validation_alias="BRIDGE_LOG_LEVEL"
    )

    _remarks: tuple[str, ...] = PrivateAttr(())
    _local: bool = PrivateAttr(False)
    _console_code: str | None = PrivateAttr(None)
    _chosen: bool = PrivateAttr(False)
    _made_up_secret: bytes = PrivateAttr(default_factory=lambda: secrets.token_bytes(32))

    def __init__(self, *, demo: bool = False, **given: Any) -> None:
        fields = type(self).model_fields
        known = {name: field for field in fields for name in (field, _name_of(field))}
        for name in given:
            if name not in known and not name.startswith("_"):
                raise TypeError(f"there is no setting {name!r}")
        # By field here alone: in the environment LANGUAGE, MODEL or INSECURE are other programs' variables.
        given = {_name_of(known[name]) if name in known else name: value for name, value in given.items()}
        mistakes: list[Mistake] = []
        try:
            super().__init__(**given)
        except ValidationError as error:
            mistakes = [_mistake(detail) for detail in error.errors(include_url=False, include_input=False)]
            # Read again without them, so that what is wrong between the others is listed too.
            broken = {known[mistake.name] for mistake in mistakes}
            kept = {name: value for name, value in given.items() if known.get(name) not in broken}
            super().__init__(**kept, **{_name_of(field): fields[field].get_default() for field in broken})
        self._take_the_vendors(UPSTREAMS.get(self.upstream or default_upstream(self, demo)))
        already = {mistake.name for mistake in mistakes}
        for one in between(self, demo):
            if already.isdisjoint({one.name, *LEANS_ON.get(one.name, ())}):
                mistakes.append(one)
        if mistakes:
            raise WrongSettings(tuple(mistakes), tuple(_strangers(given.get("_env_file", ".env")))) from None
        self._remarks = tuple(_remarks(self, demo, given.get("_env_file", ".env")))
        # Simulated calls use their ids again: what became of the last call of that id is not their business.
        self._local = demo or self.insecure or is_loopback(urlsplit(self.public_url or "").hostname)
        if not self._local and "journal" not in self.model_fields_set:
            self.journal = values.default_journal()
        if self.do_not_call is None and self.journal is not None:
            self.do_not_call = self.journal.parent / "do-not-call.txt"
        if self.insecure:
            self.public_url = None  # stream URLs are made from the bound address
            self.host = self.host if is_loopback(self.host) else "127.0.0.1"
        self.machine = self.machine or own_name()
        if demo and self.insecure:
            self._console_code, self.console_listen = secrets.token_urlsafe(24), True
        self._chosen = bool(self.upstream)
        self.upstream = self.upstream or default_upstream(self, demo)

    def _take_the_vendors(self, vendor: Vendor | None) -> None:
        """What is not set is as it is usual at this vendor."""
        if vendor is None:
            return
        self.model = self.model or vendor.model
        self.voice = self.voice or vendor.voice
        if self.transcribe == "":
            self.transcribe = None if vendor.transcription == "off" else vendor.transcription

    def vendor_url(self, name: str) -> str | None:
        """Where that upstream's sessions are, if a setting says so. BRIDGE_UPSTREAM_URL is that of the one
        that calls begin with: no other vendor's key is shown there.
        """
        if self.upstream_url is not None and self.upstream in ("", name):
            return self.upstream_url
        its = UPSTREAMS.get(name)
        return self.azure_endpoint if its is not None and its.key == azure.KEY else None

    @property
    def upstream_chosen(self) -> bool:
        """Whether BRIDGE_UPSTREAM was set."""
        return self._chosen

    @property
    def console_code(self) -> str | None:
        """What opens the console once, in the place of its token; None but in a demo."""
        return self._console_code

    @property
    def remarks(self) -> tuple[str, ...]:
        """What is allowed and still worth a line in the log at start."""
        return self._remarks

    @property
    def rest_url(self) -> str | None:
        """Base of the carrier's REST API. None where calls are simulated and no API is: the vendor's would
        know nothing of them.
        """
        return self.twilio_api_url or (None if self._local else TWILIO_API)

    def session_config(self) -> SessionConfig:
        """What we ask of the model, without an agent's tools."""
        return SessionConfig(
            model=self.model,
            voice=self.voice,
            instructions=self.instructions,
            transcription=self.transcribe,
            language=self.spoken_language,
            backend=self.backend_model,
        )

    def call_config(self) -> CallConfig:
        """How every call begins, unless its agent says otherwise. Holds no secret and no number."""
        call_ms = self.max_call_seconds * 1000
        cost_micro_usd = None if self.max_call_cost is None else max(1, round(self.max_call_cost * 1_000_000))
        usual = Limits()
        return CallConfig(
            session=self.session_config(),
            capabilities=UPSTREAMS[self.upstream].capabilities,
            failover=plans(self, self.upstream),
            greeting=self.greeting,
            phrases=self.speech().sounds(self.spoken_language),
            disclosure=self.spoken_first(),
            fallback=self.fallback or "",
            digits=self.dtmf,
            digits_gap_ms=self.dtmf_gap_ms,
            playout_lead_ms=self.playout_lead_ms,
            detour_keep_ms=self.detour_keep_s * 1000,
            detour_let_go_ms=min(self.detour_keep_s * 1000, CallConfig().detour_let_go_ms),
            limits=Limits(
                call_ms=call_ms,
                goodbye_ms=min(usual.goodbye_ms, call_ms // 2),
                cost_micro_usd=cost_micro_usd,
                goodbye_micro_usd=min(usual.goodbye_micro_usd, (cost_micro_usd or 0) // 2),
            ),
        )

    def spoken_first(self) -> str:
        """The phrase that callers hear before anything else, empty for none. Where the sound is recorded and
        BRIDGE_CONSENT is `announce` it is `consent`, which says both.
        """
        if self.record_audio and self.consent == "announce":
            return "consent"
        return "disclosure" if self.disclosure else ""

    @property
    def spoken_language(self) -> str | None:
        """BRIDGE_LANGUAGE without its region (ISO 639-1)."""
        return self.language.partition("-")[0].lower() if self.language else None

    def phrase_words(self) -> dict[str, dict[str, str]]:
        """The words of BRIDGE_PHRASES by language and name. Raises Wrong for a folder without any."""
        if self.phrases is None:
            return {}
        return values.phrase_words(self.phrases, self.spoken_language or ENGLISH)

    def speech(self) -> Phrases:
        """All that is said without a model, those of BRIDGE_PHRASES before the bundled ones."""
        return Phrases(self.phrases, self.phrase_words(), self.spoken_language)

    def stream_token_secret(self) -> tuple[bytes, ...]:
        """The keys that stream tokens are signed with, the one in use last. Under BRIDGE_INSECURE, where
        there may be no auth token, a key that dies with these settings.
        """
        tokens = [token.get_secret_value().encode() for token in reversed(self.twilio_auth_token)]
        purpose = b"phonebridge stream token"
        return tuple(hmac.digest(token, purpose, "sha256") for token in tokens) or (self._made_up_secret,)

    def target(self, name: str) -> Target:
        """The target of that name, with what proves us to its host. Raises KeyError for an unknown one."""
        return self.dialled(self.transfers[name])

    def dialled(self, text: str) -> Target:
        """The same for a target that another table names, read as those of `transfers` are."""
        target = Target.of(text)
        return target._replace(login=self.sip_logins.get(target.host))

    def unspeakable(self) -> tuple[str, ...]:
        """Every secret and every phone number of the settings, so that logs can leave them out."""
        hidden = [*self.twilio_auth_token, *(key.secret for key in self.shared_keys.values())]
        hidden += (*self.api_keys.values(), *self._console_secrets(), *self._tracing_secrets())
        hidden += (*self._vendor_keys().values(), *self.failover_keys.values())
        hidden += [login.password for login in self.sip_logins.values()]
        targets = {part for text in self.transfers.values() for part in (text, Target.of(text).address)}
        return (
            *(one.get_secret_value() for one in hidden),
            *self._store_secrets(),
            *targets,
            *self.call_from,
        )


def load_settings(*, demo: bool = False, env_file: str | Path | None = ".env", **overrides: Any) -> Settings:
    """The settings of this process: environment, then `env_file`. `overrides` go before both, by field or by
    name (`port=0`, `PORT=0`); `demo` is for the demo.

    Raises WrongSettings, a ConfigError, that lists every mistake with what to do about it.
    """
    return Settings(demo=demo, _env_file=env_file, **overrides)


def _name_of(field: str) -> str:
    return str(Settings.model_fields[field].validation_alias)


def _mistake(detail: Mapping[str, Any]) -> Mistake:
    """What pydantic found, in our words: its own may quote the value."""
    field = str(detail["loc"][0])
    name = field if field.isupper() else _name_of(field)
    cause = detail.get("ctx", {}).get("error")
    if isinstance(cause, Wrong):
        return Mistake(name, cause.what, cause.cure)
    kind, limits = str(detail["type"]), detail.get("ctx", {})
    if kind.startswith("int_"):
        return Mistake(name, "is not a whole number", "write digits only")
    if kind.startswith(("float_", "finite_")):
        return Mistake(name, "is not a number", "write it like 12.50")
    if kind.startswith("bool_"):
        return Mistake(name, "is neither on nor off", "write 1 or 0")
    if kind == "literal_error":
        return Mistake(name, "is not one of the words it can be", f"write {limits['expected']}")
    for bound, words in (("gt", "above"), ("ge", "from"), ("le", "up to")):
        if bound in limits:
            return Mistake(name, "is out of range", f"write a number {words} {limits[bound]}")
    if kind == "string_pattern_mismatch" and name == "BRIDGE_STORE_PREFIX":
        return Mistake(name, "is no prefix", "use at most 40 letters, digits, _ and -")
    if kind == "string_pattern_mismatch":
        return Mistake(name, "is no language tag", "write it like en or en-GB")
    return Mistake(name, "is empty or of another kind", "see docs/settings.md")


def _remarks(settings: Settings, demo: bool, env_file: object) -> list[str]:
    found = []
    if settings.insecure:
        found.append("BRIDGE_INSECURE is on: no call has to prove itself, and we listen on this machine only")
        if settings.public_url is not None:
            found.append("BRIDGE_INSECURE is on: PUBLIC_URL is not used")
        if settings.openai_api_key is not None and not settings.upstream:
            words = "a script answers, though there is a key; BRIDGE_UPSTREAM=openai is what uses it"
            found.append(f"BRIDGE_INSECURE is on: {words}")
    elif settings.upstream in REHEARSALS and not demo:
        found.append(f"BRIDGE_UPSTREAM is {settings.upstream}: real callers get a rehearsal, and no model")
    if settings.spoken_language is not None:
        found += settings.speech().remarks(settings.spoken_language)
    return [*found, *_strangers(env_file)]


_VENDORS: Final = ("OPENAI_", "TWILIO_", "PUBLIC_")


def _strangers(env_file: object) -> list[str]:
    """Names that look like settings and are unknown: often the reason why another is not set."""
    found = []
    names = [_name_of(field) for field in Settings.model_fields]
    written = set(os.environ)
    if isinstance(env_file, str | Path):
        written |= set(dotenv_values(env_file))
    for stranger in sorted(name for name in written if name.startswith("BRIDGE_") and name not in names):
        close = difflib.get_close_matches(stranger, names, 1, 0.8)
        found.append(f"{stranger} is not a setting" + (f"; is it {close[0]}?" if close else ""))
    for stranger in sorted(name for name in written - set(names) if name.startswith(_VENDORS)):
        ours = [name for name in names if name.startswith(_VENDORS) and name not in written]
        close = difflib.get_close_matches(stranger, ours, 1, 0.7)
        found += [f"{stranger} is set and {one} is not: is that what is meant?" for one in close]
    return found
