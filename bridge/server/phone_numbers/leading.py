"""Leading a number here, and back: what is planned, what speaks against it, and carrying it out."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Final

from bridge.errors import BridgeError, ConfigError
from bridge.server.phone_numbers.numbers import PhoneNumber
from bridge.server.phone_numbers.plan import Plan, plan_set, plan_unset
from bridge.server.phone_numbers.rest import NumberRest
from bridge.server.phone_numbers.undo import Undo, UndoFile
from bridge.server.routing.table import Account
from bridge.settings.settings import Settings
from bridge.settings.values import default_journal

_NUMBER: Final = re.compile(r"\+[1-9][0-9]{6,14}")
UNDO_FILE: Final = "numbers.jsonl"


class NotRead(BridgeError):
    """What was written is not what the carrier has now."""


class Leading:
    """Numbers of the accounts that `rest` knows. Raises ConfigError without PUBLIC_URL."""

    def __init__(self, settings: Settings, rest: NumberRest) -> None:
        if settings.public_url is None:
            raise ConfigError("set PUBLIC_URL: it is where numbers are to lead")
        self.base: str = settings.public_url
        self._rest = rest
        self.undo = UndoFile(undo_path(settings))

    def found(self, text: str) -> tuple[Account, PhoneNumber]:
        """The number that is meant. Raises ConfigError if `text` is not a number or no account has it."""
        number = re.sub(r"[ ().-]", "", text)
        if not _NUMBER.fullmatch(number):
            raise ConfigError(f"{text!r} is no number: write it like +15550100001")
        found = self._rest.find(number)
        if found is None:
            names = ", ".join(account.name or "main" for account in self._rest.accounts)
            raise ConfigError(f"{number} is in none of the accounts that are served ({names})")
        return found

    def plan_set(self, account: Account, number: PhoneNumber, fallback: str | None) -> Plan:
        """What leading it here changes."""
        plan = plan_set(number, self.base, fallback)
        status, kind = self._rest.standing(account)
        remarks = list(plan.remarks)
        if status != "active":
            remarks.append(f"the account is {status}: no call comes in before that is settled")
        if kind.lower() == "trial":
            remarks.append("the account is a trial: callers hear the carrier's message first")
        if not number.has_voice:
            remarks.append("the number takes no voice calls")
        return replace(plan, remarks=tuple(remarks))

    def plan_unset(self, number: PhoneNumber) -> Plan:
        """What leading it back changes."""
        undo = self.undo.last(number.sid)
        if undo is None:
            return plan_unset(number, self.base, None, {})
        return plan_unset(number, self.base, undo.before, undo.after)

    def set(self, account: Account, plan: Plan) -> PhoneNumber:
        """Carry it out, with a line that takes it back. Raises NotRead, RestError, ConfigError."""
        before = {change.field: change.old for change in plan.changes}
        self.undo.write(Undo(plan.number.number, plan.number.sid, before, plan.wanted))
        return self._changed(account, plan)

    def unset(self, account: Account, plan: Plan) -> PhoneNumber:
        """Carry it out. Raises as `set` does."""
        changed = self._changed(account, plan)
        self.undo.taken_back(plan.number.sid)
        return changed

    def _changed(self, account: Account, plan: Plan) -> PhoneNumber:
        changed = self._rest.change(account, plan.number, plan.wanted)
        differs = sorted(name for name, new in plan.wanted.items() if changed.fields[name] != new)
        if differs:
            raise NotRead(f"the carrier has another value than was written in: {', '.join(differs)}")
        return changed


def undo_path(settings: Settings) -> Path:
    """The file of what numbers were before: beside the journal, or where that is by default."""
    return (settings.journal or default_journal()).with_name(UNDO_FILE)
