"""The head of a request, while it comes: bytes with bounds, and nothing parsed."""

from __future__ import annotations

from http import HTTPStatus
from typing import Final

HEAD_BYTES: Final = 16 * 1024
"""Of a request's line and headers together."""
HEADER_LINES: Final = 100
_BLANK_BYTES: Final = 4


class RequestHead:
    """Takes bytes until the blank line has come. `len` is how many are kept."""

    __slots__ = ("_lines", "_read")

    def __init__(self) -> None:
        self._read = bytearray()
        self._lines = 0

    def __len__(self) -> int:
        return len(self._read)

    def clear(self) -> None:
        """The next bytes begin another request."""
        self._read = bytearray()
        self._lines = 0

    def begin(self, data: bytes) -> bytes | HTTPStatus:
        """What is left of a request's first bytes without the empty lines before it, or a refusal."""
        # RFC 9112, 2.2: a server should ignore an empty line that comes before a request.
        rest = data.lstrip(b"\r\n")
        if len(data) - len(rest) > _BLANK_BYTES or not (not rest or b"A" <= rest[:1] <= b"Z"):
            return HTTPStatus.BAD_REQUEST  # TLS, SSH, anything: no method begins so
        return rest

    def add(self, data: bytes) -> tuple[bytes, bytes] | HTTPStatus | None:
        """The whole head and what came behind it, why it is refused, or None while more has to come."""
        known_bytes = len(self._read)
        self._read += data
        end = _end_of_head(self._read, max(0, known_bytes - 2))
        head_bytes = end or len(self._read)
        self._lines += self._read.count(b"\n", known_bytes, head_bytes)
        if head_bytes > HEAD_BYTES:
            if b"\n" not in self._read[:HEAD_BYTES]:
                return HTTPStatus.REQUEST_URI_TOO_LONG
            return HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE
        if self._lines > HEADER_LINES + 2:  # the request's line, and the empty one
            return HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE
        if not end:
            return None
        head, rest = bytes(self._read[:end]), bytes(self._read[end:])
        self.clear()
        return head, rest


def _end_of_head(data: bytearray, start: int) -> int:
    """Where its blank line ends; 0 without one. Searching two texts is faster than a pattern."""
    with_return = data.find(b"\n\r\n", start) + 3
    bare = data.find(b"\n\n", start, with_return if with_return > 2 else len(data)) + 2
    return bare if bare > 1 else with_return if with_return > 2 else 0
