"""What is to change in a number, and what would break: decided before anything is changed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple

from bridge.server.phone_numbers.numbers import PhoneNumber, host, is_tunnel, plain
from bridge.server.twiml import Links

OVERRIDES: Final = "#rc=2&rp=ct,rt,5xx"
"""Twilio, "Connection overrides": two more tries where the connection or the answer is not there in time, or
the server says 5xx, before the fallback is asked. A webhook that is asked again gets the same answer here, so
a restart or a lost packet costs a caller a ring and not the call.
"""


class Change(NamedTuple):
    """One field of a number, before and after."""

    field: str
    old: str
    new: str


@dataclass(frozen=True, slots=True)
class Plan:
    """`breaks` says in sentences what would not work any more, `remarks` what is worth knowing."""

    number: PhoneNumber
    changes: tuple[Change, ...]
    breaks: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()

    @property
    def wanted(self) -> dict[str, str]:
        """The fields to change, with what they become."""
        return {change.field: change.new for change in self.changes}


def plan_set(number: PhoneNumber, base: str, fallback: str | None = None) -> Plan:
    """Lead a number to the bridge at that base. `fallback` is what is asked when we are down; None leaves
    what is there.
    """
    links = Links.below(base)
    wanted = {
        "voice_url": links.incoming_call + OVERRIDES,
        "voice_method": "POST",
        "status_callback": f"{base}/call-status",
        "status_callback_method": "POST",
        "voice_application_sid": "",
        "trunk_sid": "",
    }
    if fallback is not None:
        wanted |= {"voice_fallback_url": fallback, "voice_fallback_method": "POST"}
    if number.fields["voice_receive_mode"] == "fax":
        wanted["voice_receive_mode"] = "voice"
    kept = fallback or number.fields["voice_fallback_url"]
    remarks = []
    if not kept:
        remarks.append("no fallback is set: when this bridge is down, callers hear an error; see --fallback")
    elif host(kept) == host(base):
        remarks.append("the fallback is on this bridge's own host: when it is down, so is its fallback")
    if is_tunnel(base):
        remarks.append("PUBLIC_URL is a tunnel: when it ends, calls to this number go nowhere")
    if number.looks_up_names:
        remarks.append("the caller's name is looked up at each call, which costs money (CNAM)")
    return Plan(number, changes(number, wanted), tuple(_breaks(number, links.incoming_call)), tuple(remarks))


def plan_unset(
    number: PhoneNumber, base: str, before: Mapping[str, str] | None, after: Mapping[str, str]
) -> Plan:
    """Lead it back to where it led `before` it was set; None if that is unknown. `after` is what was written
    then: a field that differs from it now was changed by another program or person.
    """
    links, remarks, breaks = Links.below(base), [], []
    if before is None:
        remarks.append("nothing is known of where it led before: it will lead nowhere")
        ours = {"voice_url": plain(links.incoming_call), "status_callback": f"{base}/call-status"}
        before = {name: "" for name, url in ours.items() if plain(number.fields[name]) == url}
        if "voice_url" in before:  # "21405": no fallback without a webhook
            before["voice_fallback_url"] = ""
    for name, written in after.items():
        if name in before and number.fields[name] not in (written, before[name]):
            breaks.append(f"{name} was changed since: {_shown(number.fields[name])} would be lost")
    return Plan(number, changes(number, before), tuple(breaks), tuple(remarks))


def changes(number: PhoneNumber, wanted: Mapping[str, str]) -> tuple[Change, ...]:
    """Where it is not as wanted."""
    return tuple(
        Change(name, number.fields[name], new) for name, new in wanted.items() if number.fields[name] != new
    )


def _breaks(number: PhoneNumber, incoming_call: str) -> list[str]:
    fields = number.fields
    found = []
    if fields["trunk_sid"]:
        found.append(f"{number.handler} loses this number")
    if fields["voice_application_sid"]:
        found.append(f"{number.handler} answers it no more")
    elif not fields["trunk_sid"] and fields["voice_url"] and not number.leads_here(incoming_call):
        kind = " (a tunnel)" if is_tunnel(fields["voice_url"]) else ""
        found.append(f"the webhook {plain(fields['voice_url'])}{kind} is asked no more")
    theirs = fields["status_callback"]
    if theirs and host(theirs) != host(incoming_call):
        found.append(f"{plain(theirs)} is told of its calls no more")
    if fields["voice_receive_mode"] == "fax":
        found.append("it receives faxes no more")
    return found


def _shown(value: str) -> str:
    return value if not value.startswith("http") else plain(value)
