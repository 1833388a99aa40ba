"""Everything this project raises on purpose.

::

    BridgeError
    ├── ConfigError           settings that cannot work; at start, never mid-call
    ├── SignatureError        a webhook that is not the carrier's; answered with 403
    ├── ProtocolError         a peer broke its own protocol; .at_ms, .frame (elided)
    │   ├── CarrierError
    │   └── UpstreamError     .code, .param; .fatal is its own verdict
    ├── NotConnected          sending on a transport before it is connected, or after its end
    ├── AlreadyConnected      connecting one that was connected, or tried to, before
    ├── ConnectionLost        a connection's other end went away; .code, .reason
    ├── CallRefused           a call that is not placed; .rule, .wait_s
    ├── CallEnded             using a session whose call is over; .reason, .ended_by
    ├── HandlerError          the user's handler or tool raised; what it raised is the __cause__
    ├── ReplayMismatch        a recording and its replay differ; .line, .expected, .got
    └── BrokenInvariant       one of our rules was broken: a bug, which ends this one call; .reason

Where one of these stands for another exception it is raised `from` it, so that the cause stays readable. An
`error` event of a vendor is not raised: it reaches the core as an event.

All of them can be pickled (without their cause), since tests and benchmarks run calls in other processes.
"""

from __future__ import annotations

import enum
import re
from typing import Final

# An excerpt is for one line of a log, and a frame may be a megabyte long: only its beginning is looked at.
_READ: Final = 2_000
_SHOWN: Final = 200

# Sound, keys and stream tokens are long runs of these; ids are shorter (a CallSid has 34 characters).
_LONG_RUN: Final = re.compile(r"[A-Za-z0-9+/_.\\-]{48,}={0,2}")
_UNFINISHED_RUN: Final = re.compile(r"[A-Za-z0-9+/_.\\-]+={0,2}$")
_BASE64: Final = re.compile(r"[A-Za-z0-9+/]+={0,2}")
# E.164, the form of Twilio's numbers: a plus sign and at most fifteen digits.
_PHONE_NUMBER: Final = re.compile(r"(?:\+|%2B)[0-9]{6,15}")
# A key that a caller pressed; it may be one of a secret.
_KEY: Final = re.compile(r'"digit"\s*:\s*(?:"[^"]*"?|[^\s,}"]+)')


def elide(frame: str | bytes) -> str:
    """What of a frame may be shown: its beginning, without sound, tokens, phone numbers and keys.

    Sound reads as ``<160 bytes>``, any other long run as ``<64 characters>``, a number as ``+…``. At most 200
    characters are kept, and then the frame's size is added. A frame that is not text reads as its size alone.
    """
    text = frame[:_READ] if isinstance(frame, str) else frame[:_READ].decode(errors="replace")
    # The last letter may just be cut in half.
    if isinstance(frame, bytes) and "\N{REPLACEMENT CHARACTER}" in text[:-1]:
        return f"<{len(frame)} bytes>"
    cut = len(frame) > _READ
    if cut:  # the length of its last run is unknown
        text = _UNFINISHED_RUN.sub("", text)
    text = _KEY.sub('"digit":"•"', _PHONE_NUMBER.sub("+…", _LONG_RUN.sub(_run_length, text)))
    if not cut and len(text) <= _SHOWN:
        return text
    return f"{text[:_SHOWN]}… ({len(frame)} {'characters' if isinstance(frame, str) else 'bytes'})"


def _run_length(found: re.Match[str]) -> str:
    run = found.group()
    if len(run) % 4 == 0 and _BASE64.fullmatch(run):
        return f"<{len(run) // 4 * 3 - run.count('=')} bytes>"
    return f"<{len(run)} characters>"


class BridgeError(Exception):
    """Base of everything this project raises on purpose."""


class ConfigError(BridgeError):
    """Settings that cannot work. Raised at start, with what to do about it; never during a call."""


class SignatureError(BridgeError):
    """A webhook whose signature is missing or wrong: it is not the carrier's. Answered with 403."""


class ProtocolError(BridgeError):
    """A peer broke its own protocol.

    `frame` is what it sent, already elided and fit for a log. `at_ms` is when, in milliseconds since the call
    was accepted: an adapter has no clock, so it stays None until the gate that caught the error sets it.
    """

    def __init__(self, message: str, *, frame: str | bytes | None = None, at_ms: int | None = None) -> None:
        super().__init__(message)
        self.frame: str | None = None if frame is None else elide(frame)
        self.at_ms: int | None = at_ms

    def __str__(self) -> str:
        details = ", ".join(self._details())
        shown = f" ({details})" if details else ""
        return f"{self.args[0]}{shown}" + ("" if self.frame is None else f": {self.frame}")

    def _details(self) -> list[str]:
        return [] if self.at_ms is None else [f"at {self.at_ms} ms"]


def why_refused(error: Exception) -> str:
    """What is noted of a frame whose adapter raised this: the verdict of a ProtocolError, of any other only
    its kind, for its words may be the frame's.
    """
    return str(error) if isinstance(error, ProtocolError) else f"unreadable: {type(error).__name__}"


class CarrierError(ProtocolError):
    """The carrier sent something its own protocol does not have."""


class UpstreamError(ProtocolError):
    """The upstream sent something its own protocol does not have, or refused what a call cannot do without.

    `code` and `param` are the vendor's words, None where it gave none. `fatal` says whether the upstream
    session is lost with this; the adapter that raises it decides that once, by the code.
    """

    def __init__(
        self,
        message: str,
        *,
        code: str | None = None,
        param: str | None = None,
        fatal: bool = False,
        frame: str | bytes | None = None,
        at_ms: int | None = None,
    ) -> None:
        super().__init__(message, frame=frame, at_ms=at_ms)
        self.code: str | None = code
        self.param: str | None = param
        self.fatal: bool = fatal

    def _details(self) -> list[str]:
        named = [f"{name} {value}" for name, value in (("code", self.code), ("param", self.param)) if value]
        return named + super()._details()


class _SameWords:
    """Errors of one class with the same fields are equal, so that tests can compare them with ==."""

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and vars(self) == vars(other)

    def __hash__(self) -> int:
        return hash((type(self), *vars(self).values()))


class NotConnected(_SameWords, BridgeError):
    """Something was sent before the connection was there, or after it ended."""

    def __str__(self) -> str:
        return "not connected: connect() first, and do not send after the end"


class AlreadyConnected(_SameWords, BridgeError):
    """`connect` was called a second time. One object is one connection; the next one wants a new object."""

    def __str__(self) -> str:
        return "connect() was called before: one object is one connection"


class ConnectionLost(_SameWords, BridgeError):
    """The other end closed the connection, or it broke. `code` is the WebSocket close code (1006 where none
    came), `reason` what was said with it.
    """

    def __init__(self, code: int, reason: str = "") -> None:
        super().__init__(code, reason)
        self.code: int = code
        self.reason: str = reason

    def __str__(self) -> str:
        return f"closed unexpectedly ({self.code})" + (f": {self.reason}" if self.reason else "")


class CallRefused(_SameWords, BridgeError):
    """A call is not placed. `rule` is the name of what forbids it, `words` says it to people, `wait_s` when
    asking again may help, None for never; `status` is the HTTP answer.
    """

    def __init__(self, status: int, rule: str, words: str, wait_s: int | None = None) -> None:
        super().__init__(status, rule, words, wait_s)
        self.status: int = status
        self.rule: str = rule
        self.words: str = words
        self.wait_s: int | None = wait_s

    def __str__(self) -> str:
        return f"{self.rule}: {self.words}"


class CallEnded(BridgeError):
    """A session was used after its call was over.

    `reason` is the call's one reason, as in its summary; `ended_by` names the side that ended it.
    """

    def __init__(self, reason: enum.Enum, ended_by: str) -> None:
        super().__init__(reason, ended_by)
        self.reason: enum.Enum = reason
        self.ended_by: str = ended_by

    def __str__(self) -> str:
        return f"the call is over: {self.reason.value} (ended by {self.ended_by})"


class HandlerError(BridgeError):
    """The user's handler or tool raised an exception, which is the `__cause__`. The caller hears the
    fallback, then the call drains.
    """


class ReplayMismatch(BridgeError):
    """A recording and its replay differ, first at this line (1 is the header).

    `expected` is what the recording has there, `got` what the replay did; None where one has nothing more.
    """

    def __init__(self, line: int, expected: str | None, got: str | None) -> None:
        super().__init__(line, expected, got)
        self.line: int = line
        self.expected: str | None = expected
        self.got: str | None = got

    def __str__(self) -> str:
        expected, got = ("nothing" if text is None else text for text in (self.expected, self.got))
        return f"line {self.line}: expected {expected}, got {got}"


class BrokenInvariant(BridgeError):
    """One of the bridge's own rules was broken: a bug. It ends this one call, whose recording is kept, never
    the process.

    An exception and not `assert`, which ``python -O`` removes.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason: str = reason
