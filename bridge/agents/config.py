"""From an agent to what a call is configured with: the settings' values, or the agent's where it has some."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final

import msgspec

from bridge.agents.agent import TRANSPORTS, Agent, roster
from bridge.agents.machines import answer_rules, message_sound
from bridge.agents.mcp import McpServer, Vault
from bridge.agents.prices import OPENAI, TIMES, Price, Prices
from bridge.agents.tool_names import hand_off_names
from bridge.agents.tools import AnyTool, hand_off_to, transfer, transfer_among
from bridge.core.mailbox_message import MESSAGE
from bridge.core.messages import (
    AgentRules,
    CallConfig,
    Capabilities,
    SemanticVad,
    ServerVad,
    SessionConfig,
    Sound,
    ToolConfig,
    TurnBounds,
    TurnDetection,
    VendorPlan,
)
from bridge.core.open_turn import usual_quiet_ms
from bridge.core.vendor_errors import PROMPT_OBJECTS
from bridge.errors import ConfigError
from bridge.sounds.phrases import Phrases
from bridge.upstreams import REHEARSALS, UPSTREAMS, adapter_of
from bridge.upstreams.live_session import BACKEND
from bridge.upstreams.plans import plan_of

APPROVAL_MS: Final = 60_000
"""How long a human may take to approve a tool."""

NO_INSTRUCTIONS: Final = "You are on a phone call. Answer briefly."
"""What a model is told whose agent has blank instructions. API reference, session.update, `instructions`: "If
this field is not set, the server provides default instructions", a persona of the vendor's."""

_NOBODY: Final[Mapping[str, Agent]] = MappingProxyType({})
_PLAIN: Final = (
    "instructions", "noise_reduction", "speed", "tool_choice", "max_output_tokens", "extra",
)  # fmt: skip
"""Fields of a session that are an agent's own, as they are."""
_BOUNDS: Final = {
    "words_ms": "words_ms",
    "longest_turn_ms": "longest_ms",
    "wordless_ms": "wordless_ms",
    "hold_ms": "hold_ms",
}
"""An agent's fields, and those of `TurnBounds` that they become."""
_CHOICES: Final = ("auto", "none", "required")
_KINDS: Final = ("text", "audio", "image")
_ANYWHERE: Final = "ws://127.0.0.1/v1/realtime"


@dataclass(frozen=True, slots=True)
class AgentConfigs:
    """How agents become configurations here: on top of `base`, the settings' own, with the names of
    `transfers` that are configured, at the prices of `vendor`.
    """

    base: CallConfig
    transfers: Collection[str] = ()
    prices: Prices = field(default_factory=Prices.load)
    speech: Phrases = field(default_factory=Phrases)
    vault: Vault = field(default_factory=Vault)
    vendor: str = OPENAI
    endpoint: str | None = None
    """The resource of Azure OpenAI, where a call goes on there."""
    unkeyed: Callable[[VendorPlan], tuple[str, str, str] | None] = lambda _plan: None
    """What keeps a call from going on there: a setting, what is wrong with it, and the cure."""

    def tools(self, agent: Agent, known: Mapping[str, Agent] = _NOBODY) -> dict[str, AnyTool]:
        """The tools that the model can call as this agent, by name. `known` are those whom it may hand
        off to by name.
        """
        others = [one if isinstance(one, Agent) else known[one] for one in agent.handoffs]
        tools = [
            transfer_among(tuple(self.transfers)) if one is transfer else one for one in agent.functions()
        ]
        hand_offs = map(hand_off_to, others, hand_off_names(one.name for one in others))
        return {one.name: one for one in (*tools, *hand_offs)}

    def session(self, agent: Agent, known: Mapping[str, Agent] = _NOBODY) -> SessionConfig:
        """What is asked of the model when it is this agent."""
        base = self.base.session
        language = base.language if agent.language is None else agent.language.partition("-")[0].lower()
        transcription = _or(agent.transcription, base.transcription)
        tools = self.tools(agent, known)
        extra = {**base.extra, **agent.extra}
        instructions = str(extra.pop("instructions", _or(agent.instructions, base.instructions)))
        if not instructions.strip() and not extra.get("prompt"):
            instructions = NO_INSTRUCTIONS
        return SessionConfig(
            model=_or(agent.model, base.model),
            voice=_or(agent.voice, base.voice),
            instructions=instructions,
            turn_detection=_detection(agent),
            transcription=None if transcription == "off" else transcription,
            language=language or None,
            noise_reduction=_or(agent.noise_reduction, base.noise_reduction),
            speed=_or(agent.speed, base.speed),
            tools=(
                *(one.wire() for one in tools.values()),
                *(one.wire(self.vault) for one in agent.servers()),
            ),
            tool_choice=agent.tool_choice if isinstance(agent.tool_choice, str) else dict(agent.tool_choice),
            max_output_tokens=agent.max_output_tokens,
            extra=extra,
            tool_configs=self._tool_configs(tools),
            backend=_or(agent.backend_model, base.backend),
            delegate=agent.delegate,
            agent=self._rules(agent, known),
        )

    def _rules(self, agent: Agent, known: Mapping[str, Agent]) -> AgentRules:
        limits = self.base.limits
        return AgentRules(
            name=agent.name,
            handler=agent.handler is not None,
            silence_ms=agent.silence_ms,
            backchannel_ms=_confirm_ms(agent),
            # Those of agents it may become, too: a response of this one may go on after a hand-off.
            running_words=any(one.guardrails for one in (agent, *known.values())),
            reads_keys=any(one.reads_keys for one in (agent, *known.values())),
            turn_bounds=_turn_bounds(agent),
            nudge_ms=agent.nudge_ms or limits.nudge_ms,
            nudges=agent.nudges if agent.nudge_ms else limits.nudges,
            wait_ms=agent.wait_ms,
        )

    def call(self, agent: Agent, *, placed: bool = False) -> CallConfig:
        """What a call begins with; `placed`: we have placed it."""
        everybody = roster(agent)
        base, session = self.base, self.session(agent, everybody)
        day = dt.datetime.now(dt.UTC).date()
        greeting = agent.greeting
        if greeting is None and agent.handler is None:
            greeting = base.greeting
        return msgspec.structs.replace(
            base,
            session=session,
            greeting=greeting or None,
            greeting_interruptible=agent.greeting_interruptible,
            phrases=self.phrases(session.language) | (self._message(agent) if placed else {}),
            outbound=answer_rules(agent) if placed else base.outbound,
            prices=base.prices or self.rates(session, day),
            failover=tuple(self._priced(plan, session, day) for plan in self._failover(agent)),
        )

    def _failover(self, agent: Agent) -> Iterable[VendorPlan]:
        """With whom its calls go on."""
        if agent.failover is None:
            return self.base.failover
        can = self.base.capabilities
        return [plan_of(text, can, self.endpoint, self.vendor) for text in agent.failover]

    def _priced(self, plan: VendorPlan, session: SessionConfig, day: dt.date) -> VendorPlan:
        prices = self.rates(plan.dress(session), day, UPSTREAMS[plan.name].prices, plan.capabilities)
        return msgspec.structs.replace(plan, prices=prices)

    def _message(self, agent: Agent) -> dict[str, Sound]:
        """The recorded message for a mailbox, among the phrases."""
        sound = message_sound(agent)
        return {} if sound is None else {MESSAGE: sound}

    def phrases(self, language: str | None) -> dict[str, Sound]:
        """What is said without the model in calls in that language."""
        usual = self.base.phrases
        return usual if not usual or language == self.base.session.language else self.speech.sounds(language)

    def unpriced(self, agent: Agent, upstream: str) -> Iterator[tuple[str, str]]:
        """Of the vendors that its calls may have, those whose model has no known price: what follows of that,
        and what to do about it.
        """
        session, day = self.session(agent, roster(agent)), dt.datetime.now(dt.UTC).date()
        for plan in (VendorPlan(upstream), *self._failover(agent)):
            vendor, model = UPSTREAMS[plan.name].prices, plan.dress(session).model
            if plan.name not in REHEARSALS and self.prices.of(model, day, vendor) is None:
                what = f"{plan.name}'s {model} has no known price, so no limit of money is ever reached"
                cure = f'give it one in a file of BRIDGE_PRICES: vendor = "{vendor}", model = "{model}"'
                yield f"{what}, and its calls cost nothing in our figures", cure

    def rates(
        self, session: SessionConfig, day: dt.date, vendor: str = "", can: Capabilities | None = None
    ) -> dict[str, float]:
        """Prices as the core counts with them, by the names of `bridge.core.limits.Spending`; those that are
        known. `vendor` is another one than the calls begin with, by its name in the table of prices, and
        `can` what it can do.
        """
        vendor, can = vendor or self.vendor, can or self.base.capabilities
        price = self.prices.of(session.model, day, vendor)
        found = {} if price is None else _by_field(price)
        scribe = session.transcription and self.prices.of(session.transcription, day, vendor)
        backend = self.prices.of(session.backend or BACKEND, day, vendor)
        if can.tools == "backend" and session.tools and backend is not None:
            found |= {f"backend_{name}": dollars for name, dollars in _by_field(backend).items()}
        if scribe:
            found |= {f"transcription_{name}": dollars for name, dollars in _by_field(scribe).items()}
        return found

    def check(self, agent: Agent, upstream: str) -> None:
        """At start: everything about this agent, and the agents it hands off to, that only shows here. Raises
        ConfigError.
        """
        everybody = roster(agent)
        for one in everybody.values():
            self.check_one(one, everybody, upstream)

    def check_one(self, agent: Agent, known: Mapping[str, Agent], upstream: str) -> None:
        """Everything about this agent alone that only shows here. Raises ConfigError."""
        self._check_provider(agent, upstream)
        if transfer in agent.functions() and not self.transfers:
            raise ConfigError(f"agent {agent.name} can transfer, but BRIDGE_TRANSFERS names no target")
        for one in self.tools(agent, known).values():
            if one.filler is not None and self.base.phrases and one.filler not in self.base.phrases:
                have = ", ".join(sorted(self.base.phrases))
                raise ConfigError(f"tool {one.name}: there is no phrase {one.filler!r}; there is {have}")
        if agent.turn_detection is None and agent.handler is None:
            raise ConfigError(
                f"agent {agent.name}: with turn_detection=None no turn of the caller's ends by itself; "
                "give it a handler that calls session.commit()"
            )
        session = self.session(agent, known)
        if agent.delegate and agent.delegate not in self.tools(agent, known):
            have = ", ".join(sorted(self.tools(agent, known))) or "none"
            raise ConfigError(f"agent {agent.name}: delegate names {agent.delegate!r}; its tools: {have}")
        self._check_choice(agent, session)
        # It looks at `extra` and at whether JSON has words for all of it.
        UPSTREAMS[upstream](1, _ANYWHERE).dial(session)
        for plan in self._failover(agent):
            adapter_of(plan, 1).dial(plan.dress(session))
            if agent.failover is not None and (wrong := self.unkeyed(plan)) is not None:
                raise ConfigError(f"agent {agent.name}: failover names {plan.name}: {' '.join(wrong[:2])}")

    def _check_choice(self, agent: Agent, session: SessionConfig) -> None:
        """`tool_choice` names a tool that there is."""
        choice = session.tool_choice
        if isinstance(choice, str):
            if choice not in _CHOICES:
                raise ConfigError(
                    f"agent {agent.name}: tool_choice is one of {', '.join(_CHOICES)}, or a tool"
                )
            return
        chosen = (
            choice.get("name") if choice.get("type") == "function" else f"mcp:{choice.get('server_label')}"
        )
        if chosen not in _tool_names(session):
            have = ", ".join(sorted(_tool_names(session))) or "none"
            raise ConfigError(f"agent {agent.name}: tool_choice names {chosen!r}; it has {have}")

    def as_carried(self, agent: Agent, session: SessionConfig, known: Mapping[str, Agent]) -> Agent:
        """The agent as it was changed by `update` in another process, whose session this was: fields that are
        plain values, and tools that an agent of the roster has. Code does not travel, so anything else is as
        it was declared.
        """
        usual = self.session(agent, known)
        changes = {
            name: getattr(session, name) for name in _PLAIN if getattr(session, name) != getattr(usual, name)
        }
        if session.transcription != usual.transcription:
            changes["transcription"] = session.transcription or "off"
        if session.language != usual.language:
            changes["language"] = session.language or ""
        if session.turn_detection != usual.turn_detection:
            changes["turn_detection"] = _own_detection(agent, session.turn_detection)
        rules, declared = session.agent, usual.agent
        if rules and declared:
            changes |= {
                name: getattr(rules, name)
                for name in ("silence_ms", "nudge_ms", "nudges", "wait_ms")
                if getattr(rules, name) != getattr(declared, name)
            }
            changes |= _changed_bounds(session, rules.turn_bounds, declared.turn_bounds)
            if rules.backchannel_ms != declared.backchannel_ms:
                pause_ms = _pause_ms(session.turn_detection)
                changes["backchannel_ms"] = max(0, rules.backchannel_ms - pause_ms)
        wanted = _tool_names(session)
        if wanted != _tool_names(usual):
            everyone = {_tool_name(tool): tool for one in (*known.values(), agent) for tool in one.tools}
            changes["tools"] = [tool for name, tool in everyone.items() if name in wanted]
        try:
            return agent.replace(**changes) if changes else agent
        except ConfigError:
            return agent

    def remarks(self, agent: Agent, upstream: str, known: Mapping[str, Agent] = _NOBODY) -> list[str]:
        """What works today, of this agent and those it hands off to, and is still worth a line at start."""
        everybody = {**known, **roster(agent, known)}
        found = []
        for one in everybody.values():
            session = self.session(one, everybody)
            if upstream not in REHEARSALS and session.extra.get("prompt"):
                found.append(f"agent {one.name} sends session.prompt: {PROMPT_OBJECTS}")
            if one.language is not None and session.language is not None:
                found += [f"agent {one.name}: {remark}" for remark in self.speech.remarks(session.language)]
        return found

    def models(self, agent: Agent) -> list[str]:
        """The models that answer and transcribe for it and the agents it hands off to."""
        everybody = roster(agent)
        sessions = [self.session(one, everybody) for one in everybody.values()]
        named = [name for one in sessions for name in (one.model, one.transcription) if name]
        return list(dict.fromkeys(named))

    def _check_provider(self, agent: Agent, upstream: str) -> None:
        own = callable(agent.transport)
        if upstream not in TRANSPORTS or not (own or agent.transport in TRANSPORTS[upstream]):
            raise ConfigError(f"agent {agent.name}: {upstream} over {agent.transport!r} is not supported")
        if agent.provider not in (None, upstream) and upstream not in REHEARSALS:
            declared = f"agent {agent.name} is declared for provider {agent.provider}"
            raise ConfigError(f"{declared}, and BRIDGE_UPSTREAM is {upstream}")

    def _tool_configs(self, tools: Mapping[str, AnyTool]) -> tuple[ToolConfig, ...]:
        return tuple(one.config(APPROVAL_MS) for one in tools.values())


def _or(given: Any, otherwise: Any) -> Any:
    return otherwise if given is None else given


def _detection(agent: Agent) -> TurnDetection | None:
    """With a handler the handler answers: the vendor must not. For backchannels it must not cut either."""
    detection: Any = agent.turn_detection
    if not isinstance(detection, ServerVad | SemanticVad):
        return None
    if agent.backchannel_ms:
        return msgspec.structs.replace(detection, create_response=False, interrupt_response=False)
    return msgspec.structs.replace(detection, create_response=False) if agent.handler else detection


def _confirm_ms(agent: Agent) -> int:
    """From the vendor's word that speech began to when it must have ended to be a backchannel. That it ended
    is told late by as long as a pause must be to count as an end.
    """
    if not agent.backchannel_ms:
        return 0
    return agent.backchannel_ms + _pause_ms(agent.turn_detection)


def _turn_bounds(agent: Agent) -> TurnBounds:
    quiet_ms = agent.quiet_turn_ms
    if quiet_ms is None:
        quiet_ms = usual_quiet_ms(_detection(agent))
    return TurnBounds(quiet_ms, **{field: getattr(agent, name) for name, field in _BOUNDS.items()})


def _changed_bounds(
    session: SessionConfig, now: TurnBounds | None, declared: TurnBounds | None
) -> dict[str, int]:
    """Fields of the agent by which the bounds of its turns were changed."""
    if now is None or declared is None:
        return {}
    changes = {
        name: getattr(now, field)
        for name, field in _BOUNDS.items()
        if getattr(now, field) != getattr(declared, field)
    }
    if now.quiet_ms not in (declared.quiet_ms, usual_quiet_ms(session.turn_detection)):
        changes["quiet_turn_ms"] = now.quiet_ms
    return changes


def _pause_ms(detection: object) -> int:
    """How long a pause must be to count as an end of speech."""
    known = detection if isinstance(detection, ServerVad) else ServerVad()
    return known.silence_duration_ms


def _own_detection(agent: Agent, detection: TurnDetection | None) -> TurnDetection | None:
    """Voice detection in force, without what a handler or `backchannel_ms` has made of it."""
    own = agent.turn_detection
    if detection is None or not isinstance(own, ServerVad | SemanticVad):
        return detection
    return msgspec.structs.replace(
        detection, create_response=own.create_response, interrupt_response=own.interrupt_response
    )


def _tool_name(tool: AnyTool | McpServer) -> str:
    return f"mcp:{tool.label}" if isinstance(tool, McpServer) else tool.name


def _tool_names(session: SessionConfig) -> set[str]:
    return {str(one.get("name") or f"mcp:{one.get('server_label')}") for one in session.tools}


def _by_field(price: Price) -> dict[str, float]:
    found = {}
    for kind in _KINDS:
        rate = getattr(price, kind)
        cached = rate.into if rate.cached is None else rate.cached
        named = {f"{kind}_in": rate.into, f"cached_{kind}": cached, f"{kind}_out": rate.out}
        found.update({name: float(dollars) for name, dollars in named.items() if dollars is not None})
    times = ((name, getattr(price, name)) for name in TIMES)
    return found | {name: float(dollars) for name, dollars in times if dollars is not None}
