"""The WebSocket frame codec (RFC 6455): bytes in, messages out. It holds no socket, clock or task.

One :class:`FrameCodec` serves one connection on either side, from the end of the opening handshake. Its owner
writes what it asks for, and closes the transport when it says that the peer's stream of frames is over::

    messages = codec.receive(data)
    if codec.replies:                      # pongs, due before anything else
        transport.write(codec.take_replies())
    ...                                    # deliver the messages
    if codec.ended:                        # the peer closed, or broke the protocol
        transport.write(codec.farewell)    # unless a close frame of our own went out before

An owner that must not be kept busy by one peer takes ``feed`` and ``read`` instead: the bytes now, the frames
one by one, some of them in a later turn of its loop.

Compression is never negotiated with it, so reserved bits are an error. What it holds is bounded by
``max_size_bytes`` and what is fed and not read yet; each byte costs the same, however the peer cuts its
messages and its writes.
"""

import codecs
import os
from collections.abc import Callable
from struct import Struct
from typing import Final, TypeAlias

from websockets import utils as _portable

apply_mask: Callable[[bytes | bytearray, bytes | bytearray], bytes] = _portable.apply_mask
try:
    from websockets import speedups as _compiled
except ImportError:  # no wheel for this platform: the portable one is slower and just as right
    pass
else:
    apply_mask = _compiled.apply_mask

Message: TypeAlias = str | bytes

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0x0, 0x1, 0x2, 0x8, 0x9, 0xA
_OPCODES: Final = frozenset((CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG))
_FIN: Final = 0x80
_RESERVED_BITS: Final = 0x70
_MASKED: Final = 0x80
_WHOLE_TEXT: Final = _FIN | TEXT
_LONG_TEXT: Final = _WHOLE_TEXT << 8 | 126
_LONG_MASKED_TEXT: Final = _LONG_TEXT | _MASKED
"""The first two bytes of a text of 126 bytes to 64 KiB, which most of a call are."""

NORMAL, PROTOCOL_ERROR, NO_STATUS, ABNORMAL = 1000, 1002, 1005, 1006
INVALID_PAYLOAD, POLICY_VIOLATION, TOO_BIG, INTERNAL_ERROR = 1007, 1008, 1009, 1011

_MAX_CONTROL_BYTES: Final = 125
_HEAD_16: Final = Struct("!BBH").pack
_LONG_HEAD: Final = Struct("!HH")
_HEAD_64: Final = Struct("!BBQ").pack

_mask_keys: list[bytes] = []
"""Unused masking keys. All clients of the process share it, threads too: ``list.pop`` is atomic."""


def _more_mask_keys() -> bytes:
    # RFC 6455, 5.3: the key "MUST be derived from a strong source of entropy". One system call makes a
    # thousand of them; a call to the kernel for each frame would cost more than the masking itself.
    block = os.urandom(4096)
    _mask_keys.extend([block[at : at + 4] for at in range(4, 4096, 4)])
    return block[:4]


def is_valid_close_code(code: int) -> bool:
    """Whether ``code`` may stand in a close frame (RFC 6455, 7.4, and the registry of later codes)."""
    return 3000 <= code < 5000 or (1000 <= code <= 1014 and code not in (1004, NO_STATUS, ABNORMAL))


def cut_reason(reason: str) -> str:
    """As much of it as a close frame can hold: RFC 6455, 5.5, 125 bytes with the code."""
    return reason.encode(errors="replace")[: _MAX_CONTROL_BYTES - 2].decode(errors="ignore")


class _ViolationError(Exception):
    """The peer broke the protocol; the connection fails with this code."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(code, reason)
        self.code = code
        self.reason = reason


class FrameCodec:
    """Encodes and decodes the frames of one connection.

    ``server`` says which side we are: a server's frames go out unmasked and must come in masked, a client's
    the other way round. ``max_size_bytes`` bounds an incoming message, whole or in fragments; one that is
    longer fails the connection with 1009 as soon as its length is known, before its payload is held.

    To be read by the owner: ``replies``, the pongs that are due; ``controls``, how many control frames have
    been read, to be reset by who counts them; ``ended``, the peer sent a close frame or broke the protocol,
    and what follows is ignored; ``failed``, it broke the protocol, so ``close_code`` and ``close_reason`` are
    our verdict, not its words; ``farewell``, the close frame that answers the end.
    """

    __slots__ = (
        "_at", "_long_text", "_mask_bit", "_max_size_bytes", "_message", "_needed_bytes", "_server",
        "_short_head_bytes", "_unread", "_utf8", "close_code", "close_reason", "controls", "ended", "failed",
        "farewell", "replies",
    )  # fmt: skip

    def __init__(self, *, server: bool, max_size_bytes: int) -> None:
        self._server = server
        self._max_size_bytes = max_size_bytes
        # How much of a frame's second byte is the mask, and how long the shortest header is.
        self._mask_bit, self._short_head_bytes = (_MASKED, 6) if server else (0, 2)
        self._long_text = _LONG_MASKED_TEXT if server else _LONG_TEXT
        self._unread: bytes | bytearray = b""  # what was fed; from `_at` on it is still to be read
        self._at = 0
        self._needed_bytes = 0  # how much there must be before another look is worth it
        self._message: bytearray | None = None  # the fragments of a message so far
        self._utf8: codecs.IncrementalDecoder | None = None  # validates them as they come, when they are text

        self.replies: list[bytes] = []
        self.controls = 0
        self.ended = False
        self.failed = False
        self.close_code = NO_STATUS
        self.close_reason = ""
        self.farewell = b""

    # Receiving

    def receive(self, data: bytes) -> list[Message]:
        """The messages that ``data`` completes, in order; ``[]`` when there are none. Never raises."""
        self.feed(data)
        messages: list[Message] = []
        while self.read(messages):
            pass
        return messages

    def feed(self, data: bytes) -> None:
        """Takes what has come, to be read later. Ignored once the peer's stream of frames is over."""
        if self.ended:
            return
        unread = self._unread
        if self._at == len(unread):
            self._unread, self._at = data, 0
            return
        if not isinstance(unread, bytearray):
            unread = self._unread = bytearray(unread)
        del unread[: self._at]  # moves the beginning, not the bytes
        self._at = 0
        unread += data

    def discard(self) -> None:
        """Forgets what was fed and not read."""
        self._unread, self._at, self._needed_bytes = b"", 0, 0

    @property
    def unread_bytes(self) -> int:
        """How much was fed and not read yet."""
        return len(self._unread) - self._at

    @property
    def kept_bytes(self) -> int:
        """How much is kept of messages that are not whole, or not read yet."""
        return self.unread_bytes + (0 if self._message is None else len(self._message))

    @property
    def between_messages(self) -> bool:
        """Whether the next byte begins a message, and nothing is left to be read before it."""
        return self._at == len(self._unread) and self._message is None and not self.ended

    def read(self, messages: list[Message]) -> int:
        """Reads one frame, and adds the message that it completes. Returns the frame's length in bytes, 0
        while none is whole or when the stream of frames is over. Never raises.
        """
        data, at = self._unread, self._at
        have_bytes = len(data) - at
        if have_bytes < self._needed_bytes or not have_bytes:
            return 0
        end = at
        try:
            start, end = self._whole_text(data, at)
            if end:
                messages.append(self._text(data, start, end))
            else:
                header_bytes, frame_bytes = self._measure(data, at)
                if have_bytes < frame_bytes:
                    self._needed_bytes = frame_bytes
                    if at:  # or the beginning of one frame would keep all that came before it
                        self._unread, self._at = data[at:], 0
                    return 0
                start, end = at + header_bytes, at + frame_bytes
                payload = data[start:end]
                if self._server:
                    payload = apply_mask(payload, data[start - 4 : start])
                self._take(data[at], payload, messages)
        except _ViolationError as broken:
            self._fail(broken.code, broken.reason)
        except UnicodeDecodeError as error:
            self._fail(INVALID_PAYLOAD, error.reason)
        if self.ended:
            return have_bytes
        self._needed_bytes = 0
        if end == len(data):
            self._unread, self._at = b"", 0
        else:
            self._at = end
        return end - at

    def only_text(self, data: bytes) -> str | None:
        """The message of ``data``, if that is one whole text frame; None for all else, good or bad. To be
        asked ``between_messages`` only. Raises ``UnicodeDecodeError``.
        """
        size_bytes = len(data)
        if 8 <= size_bytes <= self._max_size_bytes:
            head, length = _LONG_HEAD.unpack_from(data)
            if head == self._long_text:
                if length + (8 if self._server else 4) != size_bytes:
                    return None
                return (apply_mask(data[8:], data[4:8]) if self._server else data[4:]).decode()
        start, end = self._whole_text(data, 0)
        return self._text(data, start, end) if 0 < end == size_bytes else None

    def _whole_text(self, data: bytes | bytearray, at: int) -> tuple[int, int]:
        """Where the payload of the frame at ``at`` begins and ends, if it is what nearly every frame is: a
        whole text of less than 64 KiB, and all of it there. Zeros for any other, good or bad.
        """
        if len(data) - at < 8 or data[at] != _WHOLE_TEXT or self._message is not None:
            return 0, 0
        start = at + self._short_head_bytes
        length = data[at + 1] - self._mask_bit
        if length == 126:
            start += 2
            length = data[at + 2] << 8 | data[at + 3]
        elif not 0 <= length < 126:
            return 0, 0
        if length > self._max_size_bytes or start + length > len(data):
            return 0, 0
        return start, start + length

    def _text(self, data: bytes | bytearray, start: int, end: int) -> str:
        """The payload there. Raises ``UnicodeDecodeError``."""
        payload = data[start:end]
        return (apply_mask(payload, data[start - 4 : start]) if self._server else payload).decode()

    def _measure(self, data: bytes | bytearray, at: int) -> tuple[int, int]:
        """The length in bytes of the header and of the whole frame; while unknown, more than what is there.

        Everything that can be refused by its header alone is refused here, before the payload has come.
        """
        have_bytes = len(data) - at
        if have_bytes < 2:
            return 2, 2
        first, second = data[at], data[at + 1]
        opcode = first & 0x0F
        if first & _RESERVED_BITS:
            raise _ViolationError(PROTOCOL_ERROR, "reserved bits must be zero")
        if opcode not in _OPCODES:
            raise _ViolationError(PROTOCOL_ERROR, "unknown opcode")
        if bool(second & _MASKED) is not self._server:
            # RFC 6455, 5.1: a client "MUST mask all frames", a server "MUST NOT mask any frames".
            raise _ViolationError(PROTOCOL_ERROR, "incorrect masking")
        length = second & 0x7F
        if opcode >= CLOSE:
            # RFC 6455, 5.5: "All control frames MUST have a payload length of 125 bytes or less and MUST NOT
            # be fragmented."
            if not first & _FIN:
                raise _ViolationError(PROTOCOL_ERROR, "fragmented control frame")
            if length > _MAX_CONTROL_BYTES:
                raise _ViolationError(PROTOCOL_ERROR, "control frame too long")
        elif (opcode == CONTINUATION) is (self._message is None):
            missing = "a first frame" if opcode == CONTINUATION else "a continuation frame"
            raise _ViolationError(PROTOCOL_ERROR, f"expected {missing}")

        length_bytes = 2 if length == 126 else 8 if length == 127 else 0
        header_bytes = 2 + length_bytes + (4 if self._server else 0)
        if have_bytes < header_bytes:
            return header_bytes, header_bytes
        if length_bytes:
            length = int.from_bytes(data[at + 2 : at + 2 + length_bytes], "big")
        if opcode < CLOSE:
            so_far_bytes = 0 if self._message is None else len(self._message)
            if so_far_bytes + length > self._max_size_bytes:
                raise _ViolationError(TOO_BIG, f"message over {self._max_size_bytes} bytes")
        return header_bytes, header_bytes + length

    def _take(self, first: int, payload: bytes | bytearray, messages: list[Message]) -> None:
        """Takes one whole frame, whose header :meth:`_measure` has found good."""
        opcode = first & 0x0F
        if opcode >= CLOSE:
            self.controls += 1
        if opcode == PING:
            # RFC 6455, 5.5.3: a pong "must have identical "Application data" as found in the message body of
            # the Ping frame being replied to".
            self.replies.append(self._frame(PONG, payload))
        elif opcode == CLOSE:
            self._take_close(payload)
        elif opcode != PONG:
            whole = bool(first & _FIN)
            if self._message is None:
                if whole:
                    messages.append(payload.decode() if opcode == TEXT else bytes(payload))
                    return
                self._message = bytearray()
                self._utf8 = codecs.getincrementaldecoder("utf-8")() if opcode == TEXT else None
            self._message += payload
            if self._utf8 is not None:
                # Raises at the first bad byte, however much of the message is still to come.
                self._utf8.decode(payload, whole)
            if whole:
                messages.append(bytes(self._message) if self._utf8 is None else self._message.decode())
                self._message = self._utf8 = None

    def _take_close(self, payload: bytes | bytearray) -> None:
        if payload:
            if len(payload) == 1:
                raise _ViolationError(PROTOCOL_ERROR, "close frame too short")
            code = int.from_bytes(payload[:2], "big")
            if not is_valid_close_code(code):
                raise _ViolationError(PROTOCOL_ERROR, "invalid close code")
            self.close_reason = payload[2:].decode()
            self.close_code = code
        # RFC 6455, 5.5.1: "When sending a Close frame in response, the endpoint typically echos the status
        # code it received." A message that was still in fragments is forgotten: its sender gave it up.
        self.farewell = self._frame(CLOSE, payload)
        self._stop()

    def _fail(self, code: int, reason: str) -> None:
        self.failed = True
        self.close_code, self.close_reason = code, reason
        self.farewell = self.encode_close(code, reason)
        self._stop()

    def _stop(self) -> None:
        self.ended = True
        self.discard()
        self._message = self._utf8 = None

    # Sending

    def encode(self, message: Message) -> bytes:
        """One whole message as one frame: text for ``str``, binary for ``bytes``.

        Raises ``UnicodeEncodeError`` for text that is not valid (a lone surrogate).
        """
        if not isinstance(message, str):
            return self._frame(BINARY, message)
        payload = message.encode()
        length = len(payload)
        if not 126 <= length <= 65535:
            return self._frame(TEXT, payload)
        # As _frame does it, for nearly every message of a call.
        if self._server:
            return _LONG_HEAD.pack(_LONG_TEXT, length) + payload
        try:
            key = _mask_keys.pop()
        except IndexError:
            key = _more_mask_keys()
        return _LONG_HEAD.pack(_LONG_MASKED_TEXT, length) + key + apply_mask(payload, key)

    def encode_ping(self) -> bytes:
        """A ping without payload: any byte that comes back is proof of life, so nothing has to be matched."""
        return self._frame(PING, b"")

    def encode_close(self, code: int, reason: str = "") -> bytes:
        """A close frame; a reason too long for one is cut. Raises ``ValueError`` for an invalid code."""
        if not is_valid_close_code(code):
            raise ValueError(f"{code} can't stand in a close frame")
        return self._frame(CLOSE, code.to_bytes(2, "big") + cut_reason(reason).encode())

    def take_replies(self) -> bytes:
        """The pongs that are due, once."""
        replies = b"".join(self.replies)
        self.replies.clear()
        return replies

    def _frame(self, opcode: int, payload: bytes | bytearray) -> bytes:
        first = _FIN | opcode
        length = len(payload)
        masked = 0 if self._server else _MASKED
        if length < 126:
            head = bytes((first, masked | length))
        elif length < 65536:
            head = _HEAD_16(first, masked | 126, length)
        else:
            head = _HEAD_64(first, masked | 127, length)
        if self._server:
            return head + payload
        try:
            key = _mask_keys.pop()
        except IndexError:
            key = _more_mask_keys()
        return head + key + apply_mask(payload, key)
