"""The error tree: what an error carries, what it shows, and what it never shows."""

from __future__ import annotations

import base64
import enum
import inspect
import pickle
import re

import pytest

from bridge import errors
from bridge.errors import (
    AlreadyConnected,
    BridgeError,
    BrokenInvariant,
    CallEnded,
    CallRefused,
    CarrierError,
    ConfigError,
    ConnectionLost,
    HandlerError,
    NotConnected,
    ProtocolError,
    ReplayMismatch,
    SignatureError,
    UpstreamError,
    elide,
)


class Reason(enum.Enum):
    CALLER_HUNG_UP = "the caller hung up"


EVERY_ERROR = [
    CallRefused(422, "call_hours", "it is 21:30 there", 3_600),
    BridgeError("something"),
    ConfigError("BRIDGE_MODEL is empty"),
    SignatureError("no X-Twilio-Signature"),
    ProtocolError("no event", frame='{"a":1}', at_ms=20),
    CarrierError("no event", frame=b"[]", at_ms=20),
    UpstreamError("bad format", code="invalid_value", param="session.audio", fatal=True, frame="{}", at_ms=5),
    NotConnected(),
    AlreadyConnected(),
    ConnectionLost(1011, "server error"),
    CallEnded(Reason.CALLER_HUNG_UP, "caller"),
    HandlerError("tool 'balance' raised KeyError"),
    ReplayMismatch(12, "clear", None),
    BrokenInvariant("heard more than was sent"),
]


def media(sound: bytes) -> str:
    return '{"event":"media","media":{"payload":"' + base64.b64encode(sound).decode() + '"}}'


# -- the tree


def test_the_tree_in_the_docstring_is_the_tree_of_the_classes() -> None:
    parents: dict[str, str] = {}
    branch = ["BridgeError"]
    for line in (errors.__doc__ or "").splitlines():
        if found := re.match(r" {4}([│ ]*)[├└]── (\w+)", line):
            depth = len(found[1]) // 4 + 1
            branch[depth:] = [found[2]]
            parents[found[2]] = branch[depth - 1]
    classes = {
        name: cls.__base__.__name__
        for name, cls in inspect.getmembers(errors, inspect.isclass)
        if issubclass(cls, BridgeError) and cls is not BridgeError and cls.__base__ is not None
    }
    assert parents == classes
    assert len(classes) == 13


def test_one_except_clause_catches_every_one_of_them_and_no_bug_of_python() -> None:
    assert all(isinstance(error, BridgeError) for error in EVERY_ERROR)
    assert {type(error) for error in EVERY_ERROR} == {
        cls for _, cls in inspect.getmembers(errors, inspect.isclass) if issubclass(cls, BridgeError)
    }
    assert BridgeError.__bases__ == (Exception,)


@pytest.mark.parametrize("error", EVERY_ERROR, ids=lambda error: type(error).__name__)
def test_an_error_survives_the_way_to_another_process(error: BridgeError) -> None:
    back = pickle.loads(pickle.dumps(error))
    assert (type(back), str(back), vars(back)) == (type(error), str(error), vars(error))


def test_the_cause_is_chained() -> None:
    def tool_call() -> None:
        try:
            {}["account"]  # type: ignore[index]
        except KeyError as cause:
            raise HandlerError("tool 'balance' raised KeyError") from cause

    with pytest.raises(HandlerError) as caught:
        tool_call()
    assert isinstance(caught.value.__cause__, KeyError)


# -- what an error says


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (ProtocolError("no event"), "no event"),
        (CarrierError("no event", at_ms=0), "no event (at 0 ms)"),
        (CarrierError("no event", frame='{"a":1}', at_ms=20), 'no event (at 20 ms): {"a":1}'),
        (UpstreamError("refused", code="invalid_value"), "refused (code invalid_value)"),
        (
            UpstreamError("refused", code="invalid_value", param="session.audio", frame="{}", at_ms=5),
            "refused (code invalid_value, param session.audio, at 5 ms): {}",
        ),
        (
            CallEnded(Reason.CALLER_HUNG_UP, "caller"),
            "the call is over: the caller hung up (ended by caller)",
        ),
        (ReplayMismatch(12, "clear", "truncate 620"), "line 12: expected clear, got truncate 620"),
        (ReplayMismatch(12, "clear", None), "line 12: expected clear, got nothing"),
        (ReplayMismatch(13, None, "clear"), "line 13: expected nothing, got clear"),
        (BrokenInvariant("heard more than was sent"), "heard more than was sent"),
    ],
)
def test_an_error_says(error: BridgeError, text: str) -> None:
    assert str(error) == text


def test_the_gate_writes_down_when_an_adapter_s_error_happened() -> None:
    error = CarrierError("bad JSON", frame="{")
    assert error.at_ms is None
    error.at_ms = 1_240
    assert str(error) == "bad JSON (at 1240 ms): {"


def test_an_upstream_error_is_not_fatal_unless_the_adapter_says_so() -> None:
    assert not UpstreamError("unknown field").fatal
    assert UpstreamError("session over", code="session_expired", fatal=True).fatal


# -- what a frame may show


@pytest.mark.parametrize("size", [160, 161, 162, 1_000])
def test_sound_reads_as_its_size(size: int) -> None:
    assert elide(media(b"\xff" * size)) == '{"event":"media","media":{"payload":"<' + str(size) + ' bytes>"}}'
    assert elide(media(b"\xff" * size).encode()) == elide(media(b"\xff" * size))


@pytest.mark.parametrize(
    "secret",
    [
        "Zm9yZWlnbg.aRqUvA." + "x" * 43,  # a stream token
        "sk-proj-" + "Ab_9-" * 20,
        "a" * 47 + "_" * 2,
        "+15550001111",
        "%2B15550001111",
        "eA\\/" * 40,  # sound whose slashes were escaped
    ],
)
def test_no_token_key_or_number_is_shown(secret: str) -> None:
    shown = elide('{"event":"start","parameters":{"it":"' + secret + '"}}')
    assert secret not in shown
    assert secret[:12] not in shown
    assert shown.startswith('{"event":"start","parameters":{"it":"')
    assert shown.endswith('"}}')


@pytest.mark.parametrize(
    "name", ["CA" + "0" * 32, "MZ" + "f" * 32, "item_DkE4vXoRxJ2Rq1lZ9yQ0a", "event_" + "A" * 21]
)
def test_ids_are_shown(name: str) -> None:
    assert name in elide(f'{{"id":"{name}"}}')


def test_a_long_frame_shows_its_beginning_and_its_size() -> None:
    frame = '{"event":"' + "long words " * 100 + '"}'
    assert elide(frame) == f"{frame[:200]}… ({len(frame)} characters)"
    assert elide(frame.encode()) == f"{frame[:200]}… ({len(frame)} bytes)"


def test_of_a_megabyte_of_sound_nothing_is_shown() -> None:
    frame = media(b"\x7f" * 1_000_000)
    assert elide(frame) == f'{{"event":"media","media":{{"payload":"… ({len(frame)} characters)'


def test_a_phone_number_cut_in_half_is_not_shown() -> None:
    assert "+155500" not in elide(" " * 1_990 + '"+15550001111"')


def test_a_frame_that_is_not_text_reads_as_its_size() -> None:
    assert elide(b"\x00\xff\xfe\x80" * 40) == "<160 bytes>"
    assert elide(b"\xff" * 160) == "<160 bytes>"


def test_a_letter_cut_in_half_does_not_make_text_binary() -> None:
    frame = ("{" + "µ " * 1_500).encode()
    assert frame[:2_000][-1:] == b"\xc2"
    assert elide(frame).startswith("{µ µ ")


def test_a_short_frame_is_shown_as_it_is() -> None:
    assert elide('{"event":"mark","mark":{"name":"17"}}') == '{"event":"mark","mark":{"name":"17"}}'
    assert elide(b"") == ""


@pytest.mark.parametrize(
    "frame",
    [
        '{"event":"dtmf","dtmf":{"track":"inbound_track","digit":"7"}}',
        '{"event":"dtmf","dtmf":{"digit" : 7}}',
        '{"event":"dtmf","dtmf":{"digit":"7',
        '{"event":"dtmf","dtmf":{"digit":"7777"},"streamSid":"another"}',
    ],
)
def test_a_key_is_not_shown(frame: str) -> None:
    assert "7" not in elide(frame)
