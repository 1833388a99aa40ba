"""A page of this server is known by a signed cookie, which another site's page can neither read nor send."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from itsdangerous import BadSignature, TimestampSigner
from starlette.requests import HTTPConnection
from starlette.responses import Response

COOKIE: Final = "bridge-page"
LASTS_S: Final = 12 * 3600


class SignIn:
    """Signs who has opened a page, and knows them again for twelve hours. `keys` has the one in use last."""

    def __init__(self, keys: Sequence[bytes], page: str) -> None:
        self._signer = TimestampSigner(list(keys), salt=f"phonebridge page {page}")
        self._page = page

    def greet(self, response: Response) -> Response:
        """The response, with the cookie."""
        signed = self._signer.sign(self._page).decode()
        response.set_cookie(COOKIE, signed, max_age=LASTS_S, httponly=True, samesite="strict")
        return response

    def fault(self, connection: HTTPConnection) -> str | None:
        """Why this request is not from a page that was opened here; None if it is."""
        try:
            found = self._signer.unsign(connection.cookies.get(COOKIE, ""), max_age=LASTS_S)
        except BadSignature:
            return "it does not come from this server's page; open /phone again"
        return None if found == self._page.encode() else "it comes from another page of this server"
