"""`POST /stream-tokens`: an operator's program asks for a token, and writes it into TwiML of its own.

    POST /stream-tokens
    Authorization: Bearer <a key of BRIDGE_API_KEYS>
    Content-Type: application/json

    {"call_sid": "CA…", "account_sid": "AC…", "parameters": {"campaign": "42"}, "expires_in": 60}

Every member may be left out. The answer has `url`, `token`, `expires_in`, and `twiml` that opens such a
stream; a refusal has `error`, a sentence.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any, Final

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from bridge.server import sids, twiml
from bridge.server.api_keys import ApiKeys
from bridge.server.calls import CallRegistry
from bridge.server.going_on import RESUMED, RETURNED
from bridge.server.json_requests import Unfit, json_object, texts
from bridge.server.keyed import Keyed, answer
from bridge.server.own_tokens import LIFE_S, MOST_LIFE_S, Grant, OwnTokens, TooLong
from bridge.server.proof import Proof
from bridge.server.stream_names import StreamNames
from bridge.settings.settings import Settings

logger = logging.getLogger(__name__)

TOKEN: Final = "token"  # noqa: S105  the parameter's name
MOST_BYTES: Final = 4_096
MOST_PARAMETERS: Final = 20
RESERVED: Final = frozenset({TOKEN, RESUMED, RETURNED, "CallSid", "AccountSid"})
"""Fields of a call that are not the operator's to give: with `resumed` or `returned` a new call would pass
for one that goes on.
"""
MEMBERS: Final = ("call_sid", "account_sid", "parameters", "expires_in")


class OwnStreams:
    """The endpoint, and the tokens that it gives."""

    def __init__(self, settings: Settings, registry: CallRegistry, proof: Proof) -> None:
        self.tokens = OwnTokens(settings.stream_token_secret(), registry.services.store)
        self._settings = settings
        self._registry = registry
        self._proof = proof
        self._keyed = Keyed(ApiKeys(settings.api_keys), proof, "a request for a stream token")
        self._names = StreamNames(settings.stream_token_secret())

    def _is_served(self, account_sid: str) -> bool:
        return self._registry.services.router.account(account_sid) is not None

    async def post(self, request: Request) -> Response:
        """A token, or a sentence why it is refused. The key is checked before the body is read."""
        name, refused = self._keyed.owner(request), self._keyed.refused
        if isinstance(name, Response):
            return name
        try:
            asked = await json_object(request, MEMBERS, MOST_BYTES)
            grant, life_s = _read(asked, self._settings.twilio_account_sid, self._is_served)
            reason = None if self._registry.waits_for(grant.call_sid) else self._registry.refusal
            if reason is not None:
                return refused(503, reason, f"no call may come in now: {reason}", wait_s=5)
            token = self.tokens.mint(grant, life_s)
        except (Unfit, ClientDisconnect) as error:
            return refused(400, "form", str(error))
        except TooLong as error:
            words = (
                f"the parameters do not fit into a token, {error}: write some as <Parameter>s of your TwiML"
            )
            return refused(400, "form", words)
        logger.info("a stream token for the key %s", name, extra={"call_sid": grant.call_sid or None})
        return answer(200, self._told(request, grant, token, life_s))

    def _told(self, request: Request, grant: Grant, token: str, life_s: int) -> dict[str, Any]:
        links = self._proof.links(request)
        document = twiml.connect(
            stream_url=links.media_stream,
            action_url=self._action_url(links, grant.call_sid),
            status_url=links.stream_status,
            parameters={TOKEN: token},
        )
        return {"url": links.media_stream, "token": token, "expires_in": life_s, "twiml": document}

    def _action_url(self, links: twiml.Links, call_sid: str) -> str | None:
        """Where the carrier asks what comes after that stream. The address names the call, so a call that is
        not known yet has None: then the operator's TwiML goes on behind `<Connect>`.
        """
        if not call_sid:
            return None
        number = self._registry.services.control.intents.streams(call_sid) + 1
        return self._names.action_url(links.after_stream, call_sid, number)


def _read(
    asked: Mapping[str, Any], account_sid: str | None, is_served: Callable[[str], bool]
) -> tuple[Grant, int]:
    """What is asked for: the grant, and for how many seconds. Raises Unfit."""
    call, account = asked.get("call_sid"), asked.get("account_sid")
    if call is not None and not sids.is_call(call):
        raise Unfit("call_sid has to be CA and 32 hexadecimal digits")
    if account is not None and not sids.is_account(account):
        raise Unfit("account_sid has to be AC and 32 hexadecimal digits")
    if account is not None and not is_served(account):
        raise Unfit("account_sid is another account than TWILIO_ACCOUNT_SID and those of BRIDGE_ROUTES")
    life_s = asked.get("expires_in", LIFE_S)
    if type(life_s) is not int or not 1 <= life_s <= MOST_LIFE_S:
        raise Unfit(f"expires_in has to be 1 to {MOST_LIFE_S} seconds")
    return Grant(call or "", account or account_sid or "", _parameters(asked.get("parameters"))), life_s


def _parameters(given: object) -> dict[str, str]:
    found = texts(given, "parameters", MOST_PARAMETERS)
    for name in found:
        if name in RESERVED:
            raise Unfit(f"the parameter {name!r} is the bridge's own")
    return found
