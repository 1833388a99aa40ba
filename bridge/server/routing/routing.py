"""The table of BRIDGE_ROUTES, or of a list in Python: read at start, and again when that is asked for."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Mapping

from dotenv import dotenv_values

from bridge.agents.agent import Agent
from bridge.agents.calls import Answerer
from bridge.agents.config import AgentConfigs
from bridge.errors import ConfigError
from bridge.ops import logs
from bridge.server.routing.answering import Answering
from bridge.server.routing.reading import Given, make_table, read_table
from bridge.server.routing.router import Router, whole_world
from bridge.server.routing.table import Route, RoutingTable
from bridge.settings.settings import Settings

logger = logging.getLogger(__name__)


class Routing:
    """Everything that goes by the table. `usual` is the agent of rows that name none. Raises WrongTable, a
    ConfigError, with every fault, and ConfigError for a table that is given twice.
    """

    def __init__(self, settings: Settings, given: Given | None, configs: AgentConfigs, usual: Agent) -> None:
        if given is not None and settings.routes is not None:
            raise ConfigError("routes are given in Python and by BRIDGE_ROUTES: leave one of them")
        self._settings = settings
        self._given = given
        self._usual = usual
        self._answering = Answering(configs, settings.upstream)
        self._reading = asyncio.Lock()
        self._asked: set[asyncio.Task[bool]] = set()
        self.router = Router.of_settings(settings, self._read())
        logs.hide(self.hidden)

    def answers(self, call_sid: str, usual: Agent) -> Answerer:
        """What answers that call, given the agent of rows that name none."""
        routed = self.router.of(call_sid)
        return self._answering.of(routed.route, routed.agent or usual)

    @property
    def has_table(self) -> bool:
        """Whether there is one, with rows or without."""
        return self._given is not None or self._settings.routes is not None

    @property
    def hidden(self) -> tuple[str, ...]:
        """What the table adds to what logs leave out: tokens and numbers."""
        table = self.router.table
        tokens = [token.get_secret_value() for one in table.accounts.values() for token in one.tokens]
        return *tokens, *{number for route in table.routes for number in route.transfers.values()}

    def ask_again(self) -> None:
        """Let `read_again` run soon, for SIGHUP."""
        logger.info("SIGHUP: the routes are read again, if there are some")
        task = asyncio.get_running_loop().create_task(self.read_again(), name="routes")
        self._asked.add(task)
        task.add_done_callback(self._asked.discard)

    async def read_again(self) -> bool:
        """Read the table and its files again: calls that come from now on go by it. One that is wrong changes
        nothing, and the log has every fault. Returns whether it is in force.
        """
        if not self.has_table:
            return False
        async with self._reading:
            try:
                table = await asyncio.to_thread(self._read)
            except ConfigError as error:
                logger.error("the routes stay as they were: %s", error)  # noqa: TRY400
                return False
            self.router.table = table
            logs.hide(self.hidden)
            logger.info("the routes were read again: %d rows", len(table.routes))
        return True

    def _read(self) -> RoutingTable:
        """On any thread. It imports agents that were not imported before."""
        settings = self._settings
        if self._given is not None:
            return make_table(self._given, settings, environment(), check=self._check)
        if settings.routes is not None:
            return read_table(settings.routes, settings, environment(), check=self._check)
        return whole_world(settings)

    def _check(self, route: Route) -> None:
        self._answering.check(route, route.agent or self._usual)
        if isinstance(route.closed, Agent):
            self._answering.check(route, route.closed)


def environment() -> Mapping[str, str]:
    """Variables that a table may name, found as settings are: in the environment, then in `.env`."""
    written = {name: value for name, value in dotenv_values(".env").items() if value is not None}
    return {**written, **os.environ}
