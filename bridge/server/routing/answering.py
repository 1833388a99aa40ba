"""Which agent answers a row, and what it is configured with there."""

from __future__ import annotations

import dataclasses
from typing import Final

import msgspec

from bridge.agents.agent import Agent
from bridge.agents.calls import Answerer
from bridge.agents.config import AgentConfigs
from bridge.core.messages import CallConfig
from bridge.server.routing.table import Route

MOST_KEPT: Final = 10_000


class Answering:
    """Makes them, each once: most rows differ in their numbers only. `upstream` is the vendor's side that
    every agent has to suit.
    """

    def __init__(self, configs: AgentConfigs, upstream: str) -> None:
        self._usual = configs
        self._upstream = upstream
        self._configs: dict[tuple[str | None, str | None, tuple[str, ...]], AgentConfigs] = {}
        self._agents: dict[tuple[Agent, str], Agent] = {}
        self._checked: set[tuple[Agent, str | None, bool]] = set()

    def of(self, route: Route, agent: Agent) -> Answerer:
        """The agent, in the language and with the targets of the row."""
        return Answerer(self._in_language(agent, route.language), self._configs_of(route))

    def check(self, route: Route, agent: Agent) -> None:
        """Raise ConfigError for an agent that cannot work in that row."""
        one = (agent, route.language, bool(route.transfers))
        if one not in self._checked:
            found = self.of(route, agent)
            found.configs.check(found.agent, self._upstream)
            self._checked.add(one)

    def _in_language(self, agent: Agent, language: str | None) -> Agent:
        if language is None:
            return agent
        if len(self._agents) > MOST_KEPT:
            self._agents.clear()
        key = (agent, language)
        if key not in self._agents:
            self._agents[key] = agent.replace(language=language)
        return self._agents[key]

    def _configs_of(self, route: Route) -> AgentConfigs:
        key = (route.language, route.fallback, tuple(route.transfers))
        if len(self._configs) > MOST_KEPT:
            self._configs.clear()
        if key not in self._configs:
            base = self._base(route)
            names = tuple(route.transfers)
            self._configs[key] = dataclasses.replace(self._usual, base=base, transfers=names)
        return self._configs[key]

    def _base(self, route: Route) -> CallConfig:
        base = msgspec.structs.replace(self._usual.base, fallback=route.fallback or "")
        if route.language is None:
            return base
        spoken = route.language.partition("-")[0].lower()
        session = msgspec.structs.replace(base.session, language=spoken)
        # As without a language: none are said where none are configured.
        phrases = self._usual.phrases(spoken)
        return msgspec.structs.replace(base, session=session, phrases=phrases)
