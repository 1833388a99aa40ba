"""The frame codec: RFC 6455 as a peer would try it, in any slicing, against an independent oracle."""

import itertools
import os
from contextlib import suppress

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from websockets.client import ClientProtocol
from websockets.frames import Close, Frame, Opcode
from websockets.protocol import OPEN, Protocol
from websockets.server import ServerProtocol
from websockets.uri import parse_uri
from websockets.utils import apply_mask as portable_mask

from bridge.sockets import frames
from bridge.sockets.frames import FrameCodec, Message

LIMIT = 100_000


def codec(*, server: bool = True, limit: int = LIMIT) -> FrameCodec:
    return FrameCodec(server=server, max_size_bytes=limit)


def wire(opcode: int, payload: bytes = b"", *, fin: bool = True, masked: bool = True, rsv: int = 0) -> bytes:
    """A frame as a peer writes it, made from the figure in RFC 6455, 5.2 and not by the code under test."""
    head = bytes([(0x80 if fin else 0) | rsv << 4 | opcode])
    bit = 0x80 if masked else 0
    if len(payload) < 126:
        head += bytes([bit | len(payload)])
    elif len(payload) < 65536:
        head += bytes([bit | 126]) + len(payload).to_bytes(2, "big")
    else:
        head += bytes([bit | 127]) + len(payload).to_bytes(8, "big")
    if not masked:
        return head + payload
    key = os.urandom(4)
    return head + key + bytes(byte ^ key[at % 4] for at, byte in enumerate(payload))


def close(code: int, reason: bytes = b"") -> bytes:
    return wire(0x8, code.to_bytes(2, "big") + reason)


def read(one: FrameCodec, stream: bytes, cuts: tuple[int, ...] = ()) -> list[Message]:
    """Everything the stream says when it comes cut at these places."""
    messages: list[Message] = []
    edges = [0, *sorted(cuts), len(stream)]
    for start, end in itertools.pairwise(edges):
        if start != end:
            messages += one.receive(stream[start:end])
    return messages


def verdict(one: FrameCodec) -> tuple[bool, bool, int, str]:
    return one.ended, one.failed, one.close_code, one.close_reason


# Messages


@pytest.mark.parametrize("size", [0, 1, 2, 125, 126, 127, 300, 65_535, 65_536, 70_000])
@pytest.mark.parametrize("server", [True, False])
def test_a_text_comes_out_as_it_went_in_at_every_length_of_header(size: int, server: bool) -> None:
    text = "µ" * (size // 2) + "x" * (size % 2)
    assert codec(server=server).receive(wire(0x1, text.encode(), masked=server)) == [text]
    assert codec(server=server).receive(wire(0x2, text.encode(), masked=server)) == [text.encode()]
    assert codec(server=server).receive(codec(server=not server).encode(text)) == [text]
    assert codec(server=server).receive(codec(server=not server).encode(text.encode())) == [text.encode()]


def test_several_frames_in_one_read_come_out_in_order() -> None:
    one = codec()
    stream = wire(0x1, b"one") + wire(0x2, b"\x02") + wire(0x1, b"three" * 100)
    assert one.receive(stream) == ["one", b"\x02", "three" * 100]
    assert one.receive(wire(0x1, b"four")) == ["four"]


def test_half_a_frame_is_held_and_the_next_one_with_it_is_not_lost() -> None:
    one = codec()
    stream = wire(0x1, b"a" * 300) + wire(0x1, b"b" * 300)
    assert one.receive(stream[:200]) == []
    assert one.receive(stream[200:400]) == ["a" * 300]
    assert one.receive(stream[400:]) == ["b" * 300]


def test_a_long_message_may_come_byte_by_byte() -> None:
    one = codec()
    stream = wire(0x1, b"z" * 1000)
    assert [m for at in range(len(stream)) for m in one.receive(stream[at : at + 1])] == ["z" * 1000]


def test_fragments_are_joined_and_control_frames_pass_between_them() -> None:
    one = codec()
    first, second = "½ und".encode()[:1], "½ und".encode()[1:]
    assert one.receive(wire(0x1, first, fin=False) + wire(0x9, b"still there?")) == []
    assert one.take_replies() == wire(0xA, b"still there?", masked=False)
    assert one.take_replies() == b""
    assert one.receive(wire(0x0, second, fin=False) + wire(0xA, b"unasked")) == []
    assert one.receive(wire(0x0, b"!")) == ["½ und!"]
    assert not one.replies
    assert one.receive(wire(0x2, b"\xff", fin=False) + wire(0x0, b"\xfe")) == [b"\xff\xfe"]
    assert one.receive(wire(0x1, b"", fin=False) + wire(0x0, b"", fin=False) + wire(0x0)) == [""]
    assert not one.ended


def test_a_read_that_looks_like_one_whole_frame_but_is_the_middle_of_a_longer_one() -> None:
    inner = wire(0x1, b"not a message", masked=False)
    stream = wire(0x2, b"head" + inner + b"tail", masked=False)
    cut = stream.index(inner)
    assert read(codec(server=False), stream, (cut, cut + len(inner))) == [b"head" + inner + b"tail"]


def test_every_ping_of_a_read_is_answered_in_order() -> None:
    one = codec(server=False)
    assert one.receive(b"".join(wire(0x9, bytes([n]), masked=False) for n in range(10))) == []
    back = codec()
    server_side = Frames(one.take_replies())
    assert server_side.opcodes == [0xA] * 10
    assert server_side.payloads == [bytes([n]) for n in range(10)]
    assert back.receive(one.encode("after")) == ["after"]


class Frames:
    """Frames of ours, taken apart by the figure in RFC 6455, 5.2."""

    def __init__(self, stream: bytes) -> None:
        self.opcodes: list[int] = []
        self.payloads: list[bytes] = []
        self.masked: list[bool] = []
        while stream:
            masked, length, at = bool(stream[1] & 0x80), stream[1] & 0x7F, 2
            if length == 126:
                length, at = int.from_bytes(stream[2:4], "big"), 4
            elif length == 127:
                length, at = int.from_bytes(stream[2:10], "big"), 10
            key = stream[at : at + 4] if masked else bytes(4)
            at += 4 if masked else 0
            payload = stream[at : at + length]
            assert len(payload) == length
            self.opcodes.append(stream[0])
            self.opcodes[-1] &= 0x0F
            self.payloads.append(bytes(byte ^ key[n % 4] for n, byte in enumerate(payload)))
            self.masked.append(masked)
            stream = stream[at + length :]


# Sending


def test_a_client_masks_each_frame_with_a_key_of_its_own() -> None:
    one = codec(server=False)
    made = [one.encode("same words") for _ in range(3000)]
    keys = {frame[2:6] for frame in made}
    assert len(keys) >= 2999  # four bytes may meet by chance once in a while, never as a habit
    assert {text for frame in made for text in codec().receive(frame)} == {"same words"}


def test_a_server_does_not_mask() -> None:
    assert codec().encode("hello") == b"\x81\x05hello"
    assert codec().encode_ping() == b"\x89\x00"
    assert Frames(codec(server=False).encode_ping()).masked == [True]


def test_a_text_that_is_none_is_refused_before_it_is_sent() -> None:
    with pytest.raises(UnicodeEncodeError):
        codec().encode("\ud800")


def test_masking_is_the_same_with_and_without_the_compiled_half() -> None:
    for size in (0, 1, 3, 4, 7, 300):
        payload, key = os.urandom(size), os.urandom(4)
        assert frames.apply_mask(payload, key) == portable_mask(payload, key)


# The close handshake


def test_a_close_frame_is_echoed_and_ends_the_stream() -> None:
    one = codec()
    assert one.receive(wire(0x1, b"last words") + close(1001, b"going") + wire(0x1, b"too late")) == [
        "last words"
    ]
    assert verdict(one) == (True, False, 1001, "going")
    assert one.farewell == wire(0x8, b"\x03\xe9going", masked=False)
    assert one.receive(wire(0x1, b"ghost")) == []
    assert one.receive(wire(0x9, b"ghost")) == []
    assert not one.replies


def test_a_close_frame_without_a_code_is_echoed_without_one() -> None:
    one = codec()
    assert one.receive(wire(0x8)) == []
    assert verdict(one) == (True, False, 1005, "")
    assert one.farewell == b"\x88\x00"


def test_a_close_in_the_middle_of_a_fragmented_message_is_still_a_clean_close() -> None:
    one = codec()
    assert one.receive(wire(0x1, b"half", fin=False) + close(1000) + wire(0x0, b"rest")) == []
    assert verdict(one) == (True, False, 1000, "")


@pytest.mark.parametrize("code", [1000, 1001, 1002, 1003, *range(1007, 1015), 3000, 3999, 4000, 4999])
def test_codes_that_may_be_sent(code: int) -> None:
    one = codec()
    one.receive(close(code))
    assert verdict(one) == (True, False, code, "")
    assert Frames(codec().encode_close(code, "so")).payloads == [code.to_bytes(2, "big") + b"so"]


@pytest.mark.parametrize("code", [0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65_535])
def test_codes_that_may_not(code: int) -> None:
    one = codec()
    one.receive(close(code))
    assert verdict(one) == (True, True, 1002, "invalid close code")
    with pytest.raises(ValueError):
        codec().encode_close(code)


def test_a_reason_too_long_for_a_control_frame_is_cut_between_characters() -> None:
    [payload] = Frames(codec().encode_close(1000, "µ" * 100)).payloads
    assert payload[2:].decode() == "µ" * 61


# What is refused, and with which code


@pytest.mark.parametrize(
    ("stream", "code"),
    [
        pytest.param(wire(0x1, b"x", rsv=1), 1002, id="reserved bit 1"),
        pytest.param(wire(0x1, b"x", rsv=4), 1002, id="reserved bit 3: compression was never agreed"),
        *(pytest.param(wire(op, b"x"), 1002, id=f"opcode {op:x}") for op in (3, 7, 0xB, 0xF)),
        pytest.param(wire(0x1, b"naked text", masked=False), 1002, id="a client that does not mask"),
        pytest.param(wire(0x9, b"x", fin=False), 1002, id="a ping in fragments"),
        pytest.param(wire(0x8, fin=False), 1002, id="a close in fragments"),
        pytest.param(wire(0x9, b"x" * 126), 1002, id="a ping too long"),
        pytest.param(wire(0x8, b"\x03\xe8" + b"x" * 124), 1002, id="a close too long"),
        pytest.param(wire(0x8, b"\x03"), 1002, id="half a close code"),
        pytest.param(close(1000, b"\xff"), 1007, id="a reason that is no text"),
        pytest.param(wire(0x0, b"x"), 1002, id="a continuation of nothing"),
        pytest.param(wire(0x0, b"x", fin=False), 1002, id="a continuation of nothing, unfinished"),
        pytest.param(wire(0x1, b"x", fin=False) + wire(0x1, b"y"), 1002, id="a message inside a message"),
        pytest.param(wire(0x1, b"x" * 12 + b"\xff"), 1007, id="text that is none, one read"),
        pytest.param(wire(0x1, b"\xff"), 1007, id="text that is none, short"),
        pytest.param(
            wire(0x1, b"x", fin=False) + wire(0x0, b"\xed\xa0\x80", fin=False), 1007, id="surrogate"
        ),
        pytest.param(wire(0x1, b"\xc2", fin=False) + wire(0x0), 1007, id="a character left half"),
        pytest.param(wire(0x1, b"x" * (LIMIT + 1))[:14], 1009, id="too big, from the header alone"),
        pytest.param(wire(0x2, b"x" * LIMIT, fin=False) + wire(0x0, b"y"), 1009, id="too big in fragments"),
        pytest.param(b"\x82\xff" + b"\xff" * 8 + b"mask", 1009, id="a length of 64 bits"),
    ],
)
def test_a_broken_rule_fails_the_connection(stream: bytes, code: int) -> None:
    one = codec()
    assert one.receive(wire(0x1, b"before it, all was well") + stream) == ["before it, all was well"]
    assert one.ended
    assert one.failed
    assert one.close_code == code
    assert Frames(one.farewell).payloads[0][:2] == code.to_bytes(2, "big")
    assert one.receive(wire(0x1, b"after it, nothing is read")) == []


def test_a_server_that_masks_is_refused_whatever_its_length_looks_like() -> None:
    for size in range(130):
        one = codec(server=False)
        assert one.receive(wire(0x1, b"x" * size, masked=True)) == []
        assert verdict(one) == (True, True, 1002, "incorrect masking")


def test_a_length_in_its_long_form_is_not_mistaken_for_a_short_frame() -> None:
    # A 64-bit length may say 119; the whole frame is then as long as a 7-bit "127" would make it.
    payload = b"x" * 119
    assert codec(server=False).receive(b"\x81\x7f" + (119).to_bytes(8, "big") + payload) == ["x" * 119]
    assert codec().receive(b"\x81\xff" + (119).to_bytes(8, "big") + bytes(4) + payload) == ["x" * 119]


def test_the_limit_is_the_largest_message_that_passes() -> None:
    small = codec(limit=300)
    assert small.receive(wire(0x1, b"x" * 300)) == ["x" * 300]
    assert small.receive(wire(0x1, b"x" * 200, fin=False) + wire(0x0, b"y" * 100)) == ["x" * 200 + "y" * 100]
    assert small.receive(wire(0x1, b"x" * 301)) == []
    assert small.close_code == 1009


def test_a_whole_message_in_a_read_of_its_own_does_not_fit_into_an_unfinished_one() -> None:
    one = codec()
    assert one.receive(wire(0x1, b"unfinished", fin=False)) == []
    assert one.receive(wire(0x1, b"and yet another")) == []
    assert verdict(one) == (True, True, 1002, "expected a continuation frame")


@pytest.mark.parametrize("server", [True, False])
@pytest.mark.parametrize("size", [12, 300])
def test_text_that_is_none_in_a_read_of_its_own(server: bool, size: int) -> None:
    one = codec(server=server)
    assert one.receive(wire(0x1, b"x" * size + b"\xff", masked=server)) == []
    assert verdict(one) == (True, True, 1007, "invalid start byte")


def test_text_that_is_none_is_refused_before_its_last_fragment() -> None:
    one = codec()
    one.receive(wire(0x1, b"good so far", fin=False))
    one.receive(wire(0x0, b"\xf8", fin=False))
    assert one.close_code == 1007


# Any slicing, any peer


@st.composite
def conversations(draw: st.DrawFn) -> list[tuple[int, bytes, bool]]:
    """Frames as (opcode, payload, fin): mostly right, so that they get far, and now and then wrong."""
    said: list[tuple[int, bytes, bool]] = []
    sizes = st.one_of(st.integers(0, 8), st.sampled_from([119, 125, 126, 130, 300, 1500]))
    for _ in range(draw(st.integers(1, 8))):
        kind = draw(st.integers(0, 19))
        letter = draw(st.sampled_from(["a", "µ", "€", "😀"])).encode()
        payload = (letter * draw(sizes))[: 3 * 1500]
        if kind < 8:
            said.append((0x1, payload, True))
        elif kind < 10:
            said.append((0x2, payload, True))
        elif kind < 14:
            at = draw(st.integers(0, len(payload)))
            said.append((draw(st.sampled_from([0x1, 0x2])), payload[:at], False))
            if draw(st.booleans()):
                said.append((0x9, b"between", True))
            said.append((0x0, payload[at:], True))
        elif kind < 16:
            said.append((draw(st.sampled_from([0x9, 0xA])), payload[:125], True))
        elif kind < 17:
            said.append(
                (0x8, draw(st.sampled_from([b"", b"\x03\xe8", b"\x03\xe9bye", b"\x00\x01", b"\x03"])), True)
            )
        elif kind < 18:
            said.append((0x1, draw(st.binary(max_size=12)), draw(st.booleans())))
        else:
            said.append((draw(st.integers(0, 15)), payload[:125], draw(st.booleans())))
    return said


@given(conversations(), st.lists(st.integers(0, 6000), max_size=12), st.booleans())
@settings(max_examples=150, deadline=None)
@example([(0x1, b"x" * 119, True)], [], False)
def test_no_slicing_of_the_bytes_changes_what_they_say(
    said: list[tuple[int, bytes, bool]], cuts: list[int], server: bool
) -> None:
    stream = b"".join(wire(op, payload, fin=fin, masked=server) for op, payload, fin in said)
    whole, sliced, dripped = (codec(server=server, limit=4000) for _ in range(3))
    expected = read(whole, stream)
    assert read(sliced, stream, tuple(cut % (len(stream) + 1) for cut in cuts)) == expected
    assert verdict(sliced) == verdict(whole)
    assert Frames(sliced.take_replies()).payloads == Frames(whole.take_replies()).payloads
    assert read(dripped, stream, tuple(range(len(stream)))) == expected
    assert verdict(dripped) == verdict(whole)


def oracle(*, server: bool) -> Protocol:
    if server:
        return ServerProtocol(state=OPEN, max_size=4000)
    return ClientProtocol(parse_uri("ws://localhost/"), state=OPEN, max_size=4000)


def oracle_reads(peer: Protocol, stream: bytes) -> list[Message]:
    """What the library makes of the stream: whole messages, in order."""
    peer.receive_data(stream)
    messages: list[Message] = []
    parts: list[bytes] = []
    kind = Opcode.TEXT
    for event in peer.events_received():
        assert isinstance(event, Frame)
        if event.opcode in (Opcode.TEXT, Opcode.BINARY):
            kind = event.opcode
        if event.opcode in (Opcode.TEXT, Opcode.BINARY, Opcode.CONT):
            parts.append(bytes(event.data))
            if event.fin:
                joined, parts = b"".join(parts), []
                messages.append(joined.decode() if kind is Opcode.TEXT else joined)
    return messages


@given(conversations(), st.booleans())
@settings(max_examples=150, deadline=None)
def test_we_understand_what_websockets_understands(said: list[tuple[int, bytes, bool]], server: bool) -> None:
    stream = b"".join(wire(op, payload, fin=fin, masked=server) for op, payload, fin in said)
    one, peer = codec(server=server, limit=4000), oracle(server=server)
    messages = read(one, stream)
    if one.failed and one.close_code == 1007:
        return  # the library leaves the validation of text to its next layer, so it reads on
    open_message = False
    for opcode, _, fin in said:
        if opcode == 0x8 and open_message:
            return  # a close inside a fragmented message: an error to the library, clean to us (and Autobahn)
        if opcode < 0x3:
            open_message = not fin
    assert oracle_reads(peer, stream) == messages
    assert (peer.close_sent is not None) == one.ended
    if one.failed:
        assert isinstance(peer.close_sent, Close)
        # A frame may break two rules at once; which is said first is taste.
        verdicts = {int(peer.close_sent.code), one.close_code}
        assert len(verdicts) == 1 or verdicts in ({1002, 1009}, {1002, 1007})
    elif one.ended:
        assert peer.close_rcvd == Close(one.close_code, one.close_reason)
    written = b"".join(data for data in peer.data_to_send() if data)
    ours = Frames(one.take_replies() + one.farewell)
    theirs = Frames(written)
    assert ours.opcodes == theirs.opcodes
    if not one.failed:
        assert ours.payloads == theirs.payloads
    assert set(ours.masked) <= {not server}


@given(st.lists(st.one_of(st.text(max_size=400), st.binary(max_size=400)), max_size=10), st.booleans())
@settings(max_examples=100, deadline=None)
def test_websockets_understands_what_we_say(messages: list[Message], server: bool) -> None:
    one, peer = codec(server=server), oracle(server=not server)
    stream = b"".join(one.encode(message) for message in messages)
    if stream:
        assert oracle_reads(peer, stream + one.encode_ping()) == messages
        assert one.receive(b"".join(peer.data_to_send())) == []
        assert not one.ended
    peer.receive_data(one.encode_close(1000, "done"))
    assert peer.close_rcvd == Close(1000, "done")
    one.receive(b"".join(data for data in peer.data_to_send() if data))
    assert verdict(one) == (True, False, 1000, "done")


def read_at_once(one: FrameCodec, data: bytes) -> list[Message]:
    """As a socket does where nothing is left to be read."""
    if one.between_messages:
        with suppress(UnicodeDecodeError):
            text = one.only_text(data)
            if text is not None:
                return [text]
    return one.receive(data)


@pytest.mark.parametrize("server", [True, False])
@given(
    payload=st.one_of(
        st.sampled_from((125, 126, 300, 65_535)).map(lambda size: b"x" * size), st.binary(max_size=200)
    ),
    head=st.sampled_from((0x817E, 0x81FE, 0x017E, 0x827E, 0xC17E, 0x897E, 0x81FF, 0x8105)),
    off=st.sampled_from((0, 0, 0, 1, -1, 4, -4)),
    before=st.sampled_from((b"", bytes((0x01, 0x00)), bytes((0x01, 0x80, 0, 0, 0, 0)))),
    limit=st.sampled_from((300, 1 << 20)),
)
def test_the_quick_way_reads_what_the_thorough_one_does(
    server: bool, payload: bytes, head: int, off: int, before: bytes, limit: int
) -> None:
    """Headers that look like a whole text's, and nearly so; alone, twice, and in the middle of a message."""
    length = max(0, len(payload) + off - 4 * server) & 0xFFFF
    raw = head.to_bytes(2, "big") + length.to_bytes(2, "big") + payload
    quick, quickest, thorough = (FrameCodec(server=server, max_size_bytes=limit) for _ in range(3))
    thorough._mask_bit = 300  # no length fits
    for data in (before, raw, raw):
        assert quick.receive(data) == read_at_once(quickest, data) == thorough.receive(data)
        assert verdict(quick) == verdict(quickest) == verdict(thorough)
        assert quick.replies == quickest.replies == thorough.replies


@pytest.mark.parametrize("server", [True, False])
@given(
    sizes=st.lists(st.sampled_from((0, 1, 2, 5, 60, 124, 125, 126)), min_size=1, max_size=6),
    byte=st.sampled_from((0x41, 0xC3)),
    opcode=st.sampled_from((1, 1, 1, 2, 9)),
    cuts=st.lists(st.integers(0, 400), max_size=3),
)
def test_short_frames_are_read_in_one_step_as_the_thorough_way_reads_them(
    server: bool, sizes: list[int], byte: int, opcode: int, cuts: list[int]
) -> None:
    """Nearly every frame of the carrier's that is no sound, an echo or a key, has less than 126 bytes."""
    raw = b"".join(wire(opcode, bytes([byte]) * size, masked=server) for size in sizes)
    quick, thorough = codec(server=server), codec(server=server)
    thorough._mask_bit = 300  # no length fits
    if not cuts:
        assert read_at_once(codec(server=server), raw) == codec(server=server).receive(raw)
    places = tuple(cut for cut in cuts if cut < len(raw))
    assert read(quick, raw, places) == read(thorough, raw, places)
    assert verdict(quick) == verdict(thorough)
    assert [*map(len, quick.replies)] == [*map(len, thorough.replies)]  # a client's keys are random


@pytest.mark.parametrize("server", [True, False])
def test_a_whole_short_text_never_takes_the_thorough_way(
    server: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(FrameCodec, "_measure", lambda *_: pytest.fail("read step by step"))
    for size in (6, 60, 125):
        text = "x" * size
        assert codec(server=server).receive(wire(1, text.encode(), masked=server)) == [text]
