"""Reading what a program sends as JSON: small, of known members; where it is not, in words for its sender."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any, Final

from starlette.requests import Request

JSON: Final = "application/json"
_NAME: Final = re.compile("[A-Za-z][A-Za-z0-9_.-]{0,63}")


class Unfit(ValueError):
    """A request that cannot be answered; the message says why, in words for its sender."""


async def json_object(request: Request, members: Sequence[str], most_bytes: int) -> dict[str, Any]:
    """The object in a request's body. Raises Unfit for another kind of body, for one of more than
    `most_bytes`, which is not read further, and for a member that is not one of these.
    """
    try:
        asked = json.loads(await _body(request, most_bytes))
    except (ValueError, RecursionError) as error:
        raise error if isinstance(error, Unfit) else Unfit("the body is not JSON") from None
    if not isinstance(asked, dict):
        raise Unfit("the body has to be a JSON object")
    strangers = sorted(set(asked) - set(members))
    if strangers:
        # Left out unseen, a misspelt member would ask for something else.
        raise Unfit(f"{strangers[0][:50]!r} is unknown; there is {', '.join(members)}")
    return asked


async def _body(request: Request, most_bytes: int) -> bytes:
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != JSON:
        raise Unfit(f"the body has to be {JSON}")
    body = bytearray()
    async for piece in request.stream():
        body += piece
        if len(body) > most_bytes:
            raise Unfit(f"the body has more than {most_bytes} bytes")
    return bytes(body)


def texts(given: object, member: str, most: int) -> dict[str, str]:
    """An object of texts with plain names, {} for none. Raises Unfit for anything else."""
    if given is None:
        return {}
    if not isinstance(given, dict) or not all(isinstance(value, str) for value in given.values()):
        raise Unfit(f"{member} has to be an object of texts")
    if len(given) > most:
        raise Unfit(f"there are more than {most} {member}")
    for name in given:
        if not _NAME.fullmatch(name):
            raise Unfit(f"{name[:50]!r} is no name of a parameter: letters, digits, _ . and -")
        if not _is_text(given[name]):
            raise Unfit(f"the parameter {name!r} holds half a surrogate pair")
    return given


def text(given: object, member: str, most: int) -> str:
    """A text, "" for none. Raises Unfit for anything else, and for one of more than `most` characters."""
    if given is None:
        return ""
    if not isinstance(given, str) or len(given) > most or not _is_text(given):
        raise Unfit(f"{member} has to be a text of at most {most} characters")
    return given


def _is_text(value: str) -> bool:
    """JSON can write halves of surrogate pairs, which no text has."""
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True
