"""Reading a webhook: small, once, and to the byte as it was signed."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final
from urllib.parse import parse_qsl, quote

from starlette.requests import HTTPConnection, Request
from starlette.responses import Response

from bridge.server import sids
from bridge.server.gates import Signatures

MOST_BYTES: Final = 64 * 1024
"""Twilio's forms have a kilobyte or two, and a caller's name and city do not make them sixty."""
MOST_FIELDS: Final = 500
MOST_ESCAPES: Final = 4_096
"""`%41` in a form. Each is decoded by itself; a thousand CJK characters are 3,000 of them."""
MOST_QUERY_BYTES: Final = 8 * 1024
"""A webhook that is a GET has its fields in the query: about 60, with the caller's SIP headers a few KiB."""
MOST_QUERY_FIELDS: Final = 200
_FORM: Final = "application/x-www-form-urlencoded"


class TooLarge(Exception):
    """The body is larger than any webhook's."""


class LongQuery(Exception):
    """The query is longer than any webhook's."""


def served_path(connection: HTTPConnection) -> str:
    """Path and raw query as the carrier requested them below PUBLIC_URL, byte for byte, wherever this
    application is mounted.
    """
    scope = connection.scope
    raw: bytes | None = scope.get("raw_path")
    # Servers need not tell the raw path; then one that was written in no unusual way is put together again.
    path = quote(scope["path"], safe="/~:@!$&'()*+,;=") if raw is None else raw.decode("latin-1")
    query: bytes = scope["query_string"]
    path = path.removeprefix(scope.get("root_path", ""))
    return f"{path}?{query.decode('latin-1')}" if query else path


class Misshapen(ValueError):
    """The signature is right and the fields are not as the carrier sends them; the message says why."""


async def proven_fields(request: Request, signatures: Signatures, *, of_call: bool = True) -> dict[str, str]:
    """The webhook's fields, those of its query among them. Raises SignatureError if the carrier did not send
    them for the account that they claim, TooLarge before more than 64 KiB were read, Misshapen for ids that
    are not of their exact form, ValueError for a malformed form, LongQuery for a query of more than 8 KiB or
    200 fields. A stranger can send all of it, so it is bounded before any of it is decoded. Where it is not
    `of_call` it may have no CallSid.
    """
    query: bytes = request.scope["query_string"]
    if len(query) > MOST_QUERY_BYTES or query.count(b"&") >= MOST_QUERY_FIELDS:
        raise LongQuery
    body = await _body(request)
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if body and kind != _FORM:
        claimed = request.query_params.get("AccountSid", "")
        signatures.check_webhook(request.method, served_path(request), body, request.headers, claimed)
        form = []
    else:
        if body.count(b"%") > MOST_ESCAPES:
            raise ValueError("a form of escapes")
        # "Blank values count": a field without a value is signed too.
        form = parse_qsl(body.decode("latin-1"), keep_blank_values=True, max_num_fields=MOST_FIELDS)
        claimed = dict(form).get("AccountSid") or request.query_params.get("AccountSid", "")
        signatures.check_webhook(request.method, served_path(request), form, request.headers, claimed)
    fields = {**dict(request.query_params), **dict(form)}
    if signatures.demanded:
        fault = sids.form_fault(fields, form, None, query.decode("latin-1"), of_call=of_call)
        if fault is not None:
            raise Misshapen(fault)
    return fields


Endpoint = Callable[[Request], Awaitable[Response]]


def one_a_connection(endpoint: Endpoint) -> Endpoint:
    """A webhook's endpoint whose answers, refusals too, say that the connection ends with them: a client that
    asks next has to come in anew, and a request hidden behind another is never read.
    """

    async def answered(request: Request) -> Response:
        response = await endpoint(request)
        if request.scope.get("http_version", "1.1").startswith("1"):  # RFC 9113, 8.2.2: HTTP/2 forbids it
            response.headers["connection"] = "close"
        return response

    return answered


async def _body(request: Request) -> bytes:
    length = request.headers.get("content-length", "0")
    if not length.isdecimal() or int(length) > MOST_BYTES:
        raise TooLarge
    body = bytearray()
    async for piece in request.stream():
        body += piece
        if len(body) > MOST_BYTES:
            raise TooLarge
    return bytes(body)
