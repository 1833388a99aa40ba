"""What an operator does with a call: ``POST /console/calls/ID/ACTION``.

The body has a ``key``, new for each wish: the same key again changes nothing and gets the same answer, with
``"repeated": true``; with another wish it gets 409. Each is logged with who it was, and noted in the call,
and so in its recording, without what was written.

=============  ====================================  ===============================================
action         the body, beside ``key``              what follows
=============  ====================================  ===============================================
``say``        ``text``                              the model says these words, and no others
``whisper``    ``text``                              the model is told, as the system; the caller
                                                     hears nothing
``mute``       ``on``                                the model falls silent and hears nothing of the
                                                     caller; until ``on`` is false
``hang_up``    –                                     what is being said is cut, and the call ends
``transfer``   ``to``, a name; ``mode``: ``cold``    as `session.transfer` does, without user code;
               (usual) or ``warm``                   answer: ``mode`` as it was begun
``listen``     ``on``                                answer: ``audio``, the socket's path; with
                                                     ``on`` false this session's sockets of the call
                                                     are closed
``take_over``  –                                     a warm transfer to BRIDGE_CONSOLE_PHONE
``reveal``     ``tool``, ``path`` of `Tool.hidden`,  answer: ``value``, as JSON text
               ``reason``
=============  ====================================  ===============================================

Answers: 200 ``{"done": action, …}``, or ``{"error": sentence}`` with 400 (the body), 404 (no such call here,
or it is over; no such target or field), 409 (the key; a call that is being sent on already).
"""

from __future__ import annotations

import json
import logging
import re
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

from bridge.agents.detours import transfer_wish
from bridge.core import messages as m
from bridge.core.detours import title
from bridge.server.calls import CallRegistry

from . import hidden
from .listening import Listening
from .live import LiveCalls

logger = logging.getLogger("bridge.console")

MOST_TEXT: Final = 2_000
MOST_REASON: Final = 200
MOST_KEYS: Final = 2_000
SAY_ID: Final = "console"
_KEY: Final = re.compile(r"[\x21-\x7e]{1,100}")
_RING_S: Final = 25
_TALK_S: Final = 10

Given = Mapping[str, Any]
Answer = dict[str, Any]


class Wrong(Exception):
    """A wish that cannot be done; `status` is that of the answer."""

    def __init__(self, status: int, words: str) -> None:
        super().__init__(words)
        self.status = status


class _Done(NamedTuple):
    """What is noted of a wish, what is asked of the call, and what the answer says beside `done`."""

    what: str = ""
    wishes: tuple[m.Event, ...] = ()
    more: Mapping[str, Any] = {}


class Actions:
    """Those of this process's calls. `phone` is a target's name, or None; `listens`: calls may be listened
    to.
    """

    def __init__(self, registry: CallRegistry, live: LiveCalls, phone: str | None, *, listens: bool) -> None:
        self._registry = registry
        self._live = live
        self._phone = phone
        self.listening = Listening(registry, live.listeners, self.note)
        self._listening = self.listening if listens else None
        self._said = 0
        self._answers: OrderedDict[tuple[str, str], tuple[str, int, Answer]] = OrderedDict()
        self._doing: dict[str, Callable[[str, Given], _Done]] = {
            "say": self._say,
            "whisper": self._whisper,
            "mute": self._mute,
            "hang_up": self._hang_up,
            "transfer": self._transfer,
            "take_over": self._take_over,
            "listen": self._listen,
            "reveal": self._reveal,
        }

    def act(self, call_sid: str, action: str, given: Given, who: str) -> tuple[int, Answer]:
        """Do it, once for each key: the answer's status and body. Never raises for what is given."""
        key = given.get("key")
        if not isinstance(key, str) or not _KEY.fullmatch(key):
            return 400, {"error": "key has to be 1 to 100 characters without blanks, new for each wish"}
        wish = json.dumps([action, dict(given)], sort_keys=True)
        known = self._answers.get((call_sid, key))
        if known is not None:
            if known[0] != wish:
                return 409, {"error": "this key was that of another wish"}
            return known[1], {**known[2], "repeated": True}
        status, answer = self._act(call_sid, action, given, who)
        if action != "reveal":  # no answer of that is kept, and the same again is the same
            self._answers[call_sid, key] = wish, status, answer
            while len(self._answers) > MOST_KEYS:
                self._answers.popitem(last=False)
        return status, answer

    def note(self, call_sid: str, who: str, what: str) -> None:
        """Write down what an operator does: in the log and in the call's record."""
        logger.info("= operator %s: %s", who, what, extra={"call_sid": call_sid})
        self._registry.feed(call_sid, m.OperatorActed(what))

    def _act(self, call_sid: str, action: str, given: Given, who: str) -> tuple[int, Answer]:
        doing = self._doing.get(action)
        if doing is None:
            return 404, {"error": "there is no such action"}
        if self._registry.runner(call_sid) is None:
            return 404, {"error": "this call is not here, or it is over"}
        try:
            done = doing(call_sid, {**given, "who": who})
        except Wrong as wrong:
            return wrong.status, {"error": str(wrong)}
        if done.what:
            self.note(call_sid, who, done.what)  # first: a call that is over writes nothing down
        for wish in done.wishes:
            self._registry.feed(call_sid, wish)
        return 200, {"done": action, **done.more}

    def _say(self, _call_sid: str, given: Given) -> _Done:
        text = _text(given, "text", MOST_TEXT)
        self._said += 1
        return _Done(f"lets the model say {len(text)} characters", (m.Say(f"{SAY_ID}-{self._said}", text),))

    def _whisper(self, call_sid: str, given: Given) -> _Done:
        text = _text(given, "text", MOST_TEXT)
        live = self._live.find(call_sid)
        if live is not None:
            live.whispered.add(text)
        return _Done(f"whispers {len(text)} characters to the model", (m.AddText(text, "system"),))

    def _mute(self, _call_sid: str, given: Given) -> _Done:
        match given.get("on", True):
            case True:
                return _Done("mutes the model", (m.Mute(), m.Interrupt()), {"muted": True})
            case False:
                return _Done("lets the model hear and speak again", (m.Mute(on=False),), {"muted": False})
        raise Wrong(400, "on has to be true or false")

    def _hang_up(self, _call_sid: str, _given: Given) -> _Done:
        return _Done("hangs up", (m.Interrupt(), m.HangUp("an operator hung up")))

    def _transfer(self, call_sid: str, given: Given) -> _Done:
        mode = given.get("mode", "cold")
        if mode not in ("cold", "warm"):
            raise Wrong(400, "mode has to be cold or warm")
        name = _text(given, "to", 100)
        return self._send_on(call_sid, name, m.TransferMode(mode), f"transfers to {name}")

    def _take_over(self, call_sid: str, _given: Given) -> _Done:
        if self._phone is None:
            raise Wrong(404, "BRIDGE_CONSOLE_PHONE names no phone that could take the call")
        return self._send_on(call_sid, self._phone, m.TransferMode.WARM, "takes the call over")

    def _send_on(self, call_sid: str, name: str, mode: m.TransferMode, what: str) -> _Done:
        services = self._registry.services
        targets = services.router.of(call_sid).route.transfers
        if name not in targets:
            raise Wrong(404, f"there is no target of that name; there is {', '.join(targets) or 'none'}")
        runner = self._registry.runner(call_sid)
        if runner is not None and (its := runner.call.detours.under_way) is not None:
            raise Wrong(409, f"the call is on its way already: {title(its.wish.kind, its.wish.name)}")
        if not services.detours or call_sid in services.one_way:  # the caller could not come back
            return _Done(what, (m.Transfer(name),), {"mode": "cold", "returns": False})
        wish = transfer_wish(
            name, mode=mode.value, brief="", accept="1", ring_s=_RING_S, after="hang_up", min_talk_s=_TALK_S
        )
        return _Done(f"{what}, {mode.value}", (wish,), {"mode": mode.value, "returns": True})

    def _listen(self, call_sid: str, given: Given) -> _Done:
        """The socket itself is noted, when it opens and when it closes."""
        if self._listening is None:
            raise Wrong(403, "listening is off: BRIDGE_CONSOLE_LISTEN")
        if given.get("on", True) is False:
            return _Done("", more={"stopped": self._listening.stop(str(given["who"]), call_sid)})
        return _Done("", more={"audio": f"/console/calls/{call_sid}/audio"})

    def _reveal(self, call_sid: str, given: Given) -> _Done:
        reason = _text(given, "reason", MOST_REASON)
        path = _text(given, "path", MOST_TEXT).split(".")
        live = self._live.find(call_sid)
        calls = {} if live is None else live.call.playout.conversation.tools.calls
        tool = calls.get(_text(given, "tool", MOST_TEXT))
        text = None if tool is None else {"input": tool.arguments, "output": tool.output}.get(path[0])
        value = None if text is None else hidden.revealed(text, path[1:])
        if tool is None or value is None:
            raise Wrong(404, "there is no such field")
        return _Done(f"reveals {'.'.join(path)} of {tool.name}: {reason}", (), {"value": value})


def _text(given: Given, name: str, most: int) -> str:
    text = given.get(name)
    if not isinstance(text, str) or not text.strip() or len(text) > most:
        raise Wrong(400, f"{name} has to be a text of 1 to {most} characters")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise Wrong(400, f"{name} holds half a surrogate pair") from None
    return text.strip()
