"""Unusual answers of the simulated API."""

from __future__ import annotations

from typing import Final, NamedTuple

from starlette.responses import JSONResponse, Response

from bridge.doubles.call_resource import error_json


class Fault(NamedTuple):
    """An unusual answer: `status` 0 answers as usual, after `delay_s`. `lost` is an answer that never comes,
    of a request that was done.
    """

    status: int = 0
    code: int = 0
    delay_s: float = 0.0
    message: str = ""
    lost: bool = False


NOT_FOUND: Final = Fault(404, 20404)
NOT_IN_PROGRESS: Final = Fault(400, 21220)
UNKNOWN_TOKEN: Final = Fault(401, 20003)
BROKEN: Final = Fault(500, 20500)
TOO_MANY: Final = Fault(429, 20429)
LOST: Final = Fault(lost=True)


def failed(fault: Fault) -> JSONResponse:
    """The answer that tells of it."""
    told = fault.message or f"the simulated API answers {fault.status}"
    return JSONResponse(error_json(fault.status, fault.code, told), fault.status)


class Cut(Response):
    """An answer of which nothing arrives: the connection is cut."""

    def __init__(self) -> None:
        super().__init__(b"", 200, {"Content-Length": "2"})
