"""Agents that tables name."""

from __future__ import annotations

from bridge.agents.agent import Agent

sales = Agent(name="sales", instructions="You sell.")
support = Agent(name="support", instructions="You help.")
