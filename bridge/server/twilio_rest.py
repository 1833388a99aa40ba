"""Placing a call, ending it, sending it on, and asking how it is, by the carrier's REST API.

For a call that has begun it is never the only way. Names go in, no digits come out: which number a name means
stands in the settings. What cannot be done within a few seconds is reported as failed, and then the intent,
noted before, does it when the stream is closed.

https://www.twilio.com/docs/voice/api/call-resource#update-a-call-resource and #fetch-a-call-resource
"""

from __future__ import annotations

import asyncio
import enum
import logging
import random
import re
import traceback
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from weakref import WeakValueDictionary

from requests import ConnectionError as NotConnected
from requests import ConnectTimeout, RequestException
from twilio.base.exceptions import TwilioException
from urllib3.exceptions import NewConnectionError

from bridge.ops.logs import Seldom
from bridge.server import new_calls, twiml
from bridge.server.new_calls import Ambiguous, Created, ListedCall, NewCall, Placed
from bridge.server.rest_client import Login, make_client, status_of
from bridge.server.rest_http import RestHttp, Wait
from bridge.server.routing.router import Router
from bridge.server.store.intents import OVER_STATUSES
from bridge.settings.settings import Settings

if TYPE_CHECKING:
    from twilio.rest import Client

logger = logging.getLogger(__name__)

REQUEST_S: Final = 1.5
TOTAL_S: Final = 4.0
"""For everything, waiting for a thread included: meanwhile the caller hears nothing."""
RETRIES: Final = 2
RETRY_S: Final = 0.2
GIVE_UP_S: Final = 0.05
_THREADS: Final = 4
ASK_S: Final = 1.0
"""For asking how a call is, everything included: its phone rings on meanwhile."""
ASK_AGAIN_S: Final = 0.3
_ASKING_THREADS: Final = 8
CREATE_S: Final = 4.0
"""For placing a call, everything included. No one waits on a line meanwhile."""
LIST_S: Final = 4.0
MOST_LISTED: Final = 50
_PLACING_THREADS: Final = 4
_REPEAT: Final = "I-Twilio-Idempotency-Token"
"""Not documented, and sent by others: what it does is unknown, so nothing leans on it."""

MOST_CLIENTS: Final = 64
"""Of the SDK, each with the credentials of one account."""
_NOBODY: Final = f"AC{0:032x}"
# The SDK pastes it into a path.
_SID: Final = re.compile(r"[A-Za-z0-9]{2,64}")
# The SDK's HTTP client logs URLs and headers at INFO.
_SILENT: Final = logging.getLogger(f"{__name__}.sdk")
_SILENT.disabled = True


class Outcome(enum.Enum):
    """What became of a request. `achieved` is what the caller of this module wants to know."""

    DONE = "done"
    ALREADY_OVER = "the call is over already"
    NO_CREDENTIALS = "there are no credentials"
    UNKNOWN_TARGET = "no target of that name is configured"
    REFUSED = "the carrier refused"
    FAILED = "the carrier could not be reached, or had a fault"

    @property
    def achieved(self) -> bool:
        """Whether the call is, or goes, where it was to go."""
        return self in (Outcome.DONE, Outcome.ALREADY_OVER)


class Standing(enum.Enum):
    """How a call is, by the carrier's word; the last five say why it is unknown."""

    GOES_ON = "it goes on"
    OVER = "it is over"
    FOREIGN = "our account has no such call"
    NO_CREDENTIALS = "there are no credentials"
    NOT_ALLOWED = "the carrier does not take our credentials"
    TOO_MANY = "the carrier has too many requests"
    FAULTY = "the carrier's API has a fault"
    NO_ANSWER = "the carrier's API did not answer"


class _Answer(NamedTuple):
    """Status and the vendor's code, 0 for no answer at all; and the call, where it was asked for. `fault` is
    what came out of an answer that is not the API's. `unsent` says that no connection could be made.
    """

    status: int
    code: int
    call: Any = None
    fault: Exception | None = None
    unsent: bool = False


class CarrierRest:
    """The REST half of a carrier. `action_url` makes the URL that is asked what follows when a target was
    dialled, from a CallSid. `router` knows the accounts, each with credentials of its own, and the targets
    of each call.

    Lives on one event loop; the SDK blocks, and runs in a few threads of its own. Requests about the same
    call wait for each other.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        action_url: Callable[[str], str] | None = None,
        chance: Callable[[], float] = random.random,
        router: Router | None = None,
    ) -> None:
        self._settings = settings
        self._router = Router.of_settings(settings) if router is None else router
        self._account_sid = settings.twilio_account_sid
        self._action_url = action_url
        self._chance = chance
        self._base = settings.rest_url
        self._tokens = [token.get_secret_value() for token in settings.twilio_auth_token]
        self._clients: dict[tuple[Login, float], Client] = {}
        self._https: dict[float, RestHttp] = {}
        self._preferred: dict[str, str] = {}
        self._turns: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._given_up: set[Wait] = set()
        self._seldom = Seldom(logger)
        self._pool = ThreadPoolExecutor(_THREADS, thread_name_prefix="carrier-rest")
        # Of their own: a goodbye does not wait behind questions without an answer.
        self._askers = ThreadPoolExecutor(_ASKING_THREADS, thread_name_prefix="carrier-ask")
        self._placers = ThreadPoolExecutor(_PLACING_THREADS, thread_name_prefix="carrier-place")
        if self.available:  # imports for half a second: not during a call
            self._client(Login(self._account_sid or _NOBODY, self._tokens[0]))

    @property
    def available(self) -> bool:
        """Whether there are credentials at all. An account SID may also come with a call."""
        return bool(self._tokens) and self._base is not None

    async def hang_up(self, call_sid: str, account_sid: str | None = None) -> Outcome:
        """End the call. Never raises. `account_sid` is the one of the call's webhook, the configured one if
        None.
        """
        return await self._update(call_sid, account_sid, {"status": "completed"})

    async def cancel(self, call_sid: str, account_sid: str | None = None) -> Outcome:
        """End a call that is queued or rings; one that was answered goes on. Never raises.

        Twilio, "Update a Call resource": "canceled" does not "affect calls already in progress".
        """
        return await self._update(call_sid, account_sid, {"status": "canceled"})

    async def redirect(self, call_sid: str, document_url: str, account_sid: str | None = None) -> Outcome:
        """Let the call go on with the TwiML that is answered there. Never raises."""
        return await self._update(call_sid, account_sid, {"url": document_url, "method": "POST"})

    async def create_call(self, wanted: NewCall, account_sid: str | None = None) -> Created:
        """Ask for a call, once: nothing here repeats a request that may have been answered. Returns within
        `CREATE_S`, never raises.
        """
        account = account_sid or self._account_sid
        if not self.available or account is None or not _SID.fullmatch(account):
            return new_calls.NO_CREDENTIALS
        headers = {_REPEAT: wanted.ref} if wanted.ref else {}
        try:
            async with asyncio.timeout(CREATE_S):
                answer = await self._with_each_token(self._placers, headers, self._create, account, wanted)
        except TimeoutError:
            return Ambiguous(f"no answer within {CREATE_S:.0f} s")
        if not isinstance(created := _created(answer), Placed):
            logger.warning("a call was not placed: %s", _words(created))
        return created

    async def list_calls(
        self, to: str, from_: str, since: datetime, account_sid: str | None = None
    ) -> tuple[ListedCall, ...] | None:
        """The calls between these numbers that were asked for at `since` or later, as far as the carrier
        knows by now: "eventually consistent". None if it cannot be asked. Never raises.
        """
        account = account_sid or self._account_sid
        if not self.available or account is None or not _SID.fullmatch(account):
            return None
        try:
            async with asyncio.timeout(LIST_S):
                answer = await self._with_each_token(self._askers, {}, self._list, account, to, from_)
        except TimeoutError:
            return None
        if not 200 <= answer.status < 300:
            return None
        found = [_listed(one) for one in answer.call]
        return tuple(one for one in found if one.created is None or one.created >= since)

    async def look_up(self, call_sid: str, account_sid: str | None = None) -> ListedCall | None:
        """How a call is, or how it ended, with status "" where the account has no such call. None if the
        carrier cannot be asked. Never raises.
        """
        account = account_sid or self._account_sid or ""
        if not self.available or not _SID.fullmatch(account) or not _SID.fullmatch(call_sid):
            return None
        try:
            async with asyncio.timeout(LIST_S):
                answer = await self._ask(call_sid, account)
        except TimeoutError:
            return None
        if answer.status == 404:
            return ListedCall(call_sid, "")
        return _listed(answer.call) if 200 <= answer.status < 300 else None

    async def _with_each_token(
        self,
        pool: ThreadPoolExecutor,
        headers: Mapping[str, str],
        request: Callable[..., _Answer],
        account: str,
        *args: object,
    ) -> _Answer:
        """The answer to that request, with the next token where one is turned away."""
        answer = _Answer(0, 0, unsent=True)
        for login in self._logins(account):
            answer = await self._on_thread(pool, request, login, account, *args, headers=headers)
            if answer.status != 401:
                self._prefer(login)
                break
        return answer

    def _create(self, login: Login, account: str, wanted: NewCall) -> _Answer:
        """One request, on a thread."""
        client = self._client(login, CREATE_S)
        calls = client.api.v2010.accounts(account).calls
        return _answered(lambda: calls.create(**wanted.parameters()))

    def _list(self, login: Login, account: str, to: str, from_: str) -> _Answer:
        """One question, on a thread. Not by the calls' start: those in the carrier's queue have none."""
        client = self._client(login, CREATE_S)
        calls = client.api.v2010.accounts(account).calls
        return _answered(lambda: calls.list(to=to, from_=from_, limit=MOST_LISTED))

    async def transfer(self, call_sid: str, name: str, account_sid: str | None = None) -> Outcome:
        """Send the caller to a configured target, which ends the stream. Never raises."""
        targets = self._router.of(call_sid).route.transfers
        if name not in targets:
            return Outcome.UNKNOWN_TARGET
        action_url = None if self._action_url is None else self._action_url(call_sid)
        document = twiml.dial(self._settings.dialled(targets[name]), action_url)
        return await self._update(call_sid, account_sid, {"twiml": document})

    async def follow(self, call_sid: str, document: str, account_sid: str | None = None) -> Outcome:
        """Let the call follow that TwiML, which ends its stream. Never raises."""
        return await self._update(call_sid, account_sid, {"twiml": document})

    async def standing(self, call_sid: str, account_sid: str) -> Standing:
        """How a call of that account is. Returns within `ASK_S`, never raises."""
        if not self.available:
            return Standing.NO_CREDENTIALS
        if not _SID.fullmatch(call_sid) or not _SID.fullmatch(account_sid):
            return Standing.FOREIGN
        try:
            async with asyncio.timeout(ASK_S):
                answer = await self._ask(call_sid, account_sid)
                if answer.status == 404:
                    # A call that has only begun may not be everywhere yet.
                    await asyncio.sleep(ASK_AGAIN_S)
                    answer = await self._ask(call_sid, account_sid)
        except TimeoutError:
            return Standing.NO_ANSWER
        return _standing(answer, account_sid)

    async def _ask(self, call_sid: str, account: str) -> _Answer:
        answer = _Answer(0, 0)
        for login in self._logins(account):
            answer = await self._on_thread(self._askers, self._fetch, call_sid, account, login)
            if answer.status != 401:
                break
        return answer

    async def _on_thread(
        self,
        pool: ThreadPoolExecutor,
        request: Callable[..., _Answer],
        *args: object,
        headers: Mapping[str, str] = MappingProxyType({}),
    ) -> _Answer:
        """The answer to that request. Once it is not awaited any more, its thread is free in a moment."""
        wait, loop = Wait(headers), asyncio.get_running_loop()
        try:
            answer = await loop.run_in_executor(pool, wait.run, request, *args)
        except asyncio.CancelledError:
            # A thread that is free takes the next that waits: not one that is given up a moment later.
            self._given_up.add(wait)
            loop.call_later(GIVE_UP_S, self._give_up, wait)
            raise
        if answer.fault is not None:
            stack = "".join(traceback.format_exception(answer.fault, limit=-6))
            what = "the carrier's API answered what cannot be read:\n%s"
            self._seldom.log(type(answer.fault).__name__, logging.WARNING, what, stack)
        return answer

    def _give_up(self, wait: Wait) -> None:
        self._given_up.discard(wait)
        wait.give_up()

    def _fetch(self, call_sid: str, account: str, login: Login) -> _Answer:
        """One question, on a thread."""
        client = self._client(login)
        return _answered(client.api.v2010.accounts(account).calls(call_sid).fetch)

    def close(self) -> None:
        """Let the threads go; what still waits for one is not sent."""
        for wait in list(self._given_up):
            self._give_up(wait)
        self._pool.shutdown(wait=False, cancel_futures=True)
        self._askers.shutdown(wait=False, cancel_futures=True)
        self._placers.shutdown(wait=False, cancel_futures=True)
        for http in self._https.values():
            http.session.close()

    async def _update(self, call_sid: str, account_sid: str | None, wanted: dict[str, str]) -> Outcome:
        account = account_sid or self._account_sid
        if not self.available or account is None:
            return Outcome.NO_CREDENTIALS
        if not _SID.fullmatch(call_sid) or not _SID.fullmatch(account):
            return Outcome.REFUSED
        turn = self._turns.setdefault(call_sid, asyncio.Lock())
        try:
            async with asyncio.timeout(TOTAL_S), turn:
                outcome = await self._insist(call_sid, account, wanted)
        except TimeoutError:
            outcome = Outcome.FAILED
        if not outcome.achieved:
            logger.warning("%s by REST: %s", *wanted, outcome.value, extra={"call_sid": call_sid})
        return outcome

    async def _insist(self, call_sid: str, account: str, wanted: dict[str, str]) -> Outcome:
        """Try the other token on a 401, and again, twice, where trying again may help."""
        logins, faults = self._logins(account), 0
        while logins and faults <= RETRIES:
            answer = await self._on_thread(self._pool, self._post, call_sid, account, logins[0], wanted)
            if answer.status not in (0, 401):
                self._prefer(logins[0])
            if 200 <= answer.status < 300:
                return Outcome.DONE
            # "20404 Not found", "21220 Invalid call state": the line is empty.
            if answer[:2] in ((404, 20404), (400, 21220)):
                return Outcome.ALREADY_OVER
            logger.info("HTTP %d, code %d", answer.status, answer.code, extra={"call_sid": call_sid})
            if answer.status == 401:
                logins.pop(0)
            elif answer.status in (0, 429) or answer.status >= 500:
                faults += 1
                if faults <= RETRIES:
                    await asyncio.sleep(RETRY_S * 2 ** (faults - 1) * (1 + self._chance()))
            else:
                return Outcome.REFUSED
        return Outcome.FAILED if logins else Outcome.REFUSED

    def _logins(self, account_sid: str) -> list[Login]:
        """What may be asked with about that account: its own tokens, or the main account's with the other in
        the path, never the reverse (Twilio, "Subaccounts").
        """
        account = self._router.account(account_sid)
        own = account is not None and account.sid not in (None, self._account_sid) and account.rest == "own"
        if own and account is not None:
            username, tokens = account_sid, [token.get_secret_value() for token in account.tokens]
        else:
            username, tokens = self._account_sid or account_sid, self._tokens
        first = self._preferred.get(username)
        return [Login(username, token) for token in sorted(tokens, key=lambda token: token != first)]

    def _prefer(self, login: Login) -> None:
        """A token that was not turned away is tried first next time."""
        self._preferred[login.username] = login.token

    def _post(self, call_sid: str, account: str, login: Login, wanted: dict[str, str]) -> _Answer:
        """One request, on a thread of the pool."""
        client = self._client(login)
        calls = client.api.v2010.accounts(account).calls(call_sid)
        return _answered(lambda: calls.update(**wanted))

    def _client(self, login: Login, request_s: float | None = None) -> Client:
        request_s = request_s or REQUEST_S
        client = self._clients.get((login, request_s))
        if client is None:
            http = self._https.get(request_s) or self._https.setdefault(
                request_s, RestHttp(request_s, _SILENT)
            )
            client = self._clients[login, request_s] = make_client(str(self._base), login, http)
            if len(self._clients) > MOST_CLIENTS:
                self._clients.pop(next(iter(list(self._clients))), None)
        return client


def _answered(request: Callable[[], Any]) -> _Answer:
    """What the SDK makes of an answer, or of there being none."""
    try:
        call = request()
    except TwilioException as error:
        status, code = status_of(error), getattr(error, "code", 0)
        return _Answer(status if isinstance(status, int) else 500, code if isinstance(code, int) else 0)
    except RequestException as error:
        return _Answer(0, 0, unsent=_is_unsent(error))
    except Exception as error:  # noqa: BLE001  bytes of a peer's: nested too deeply, no JSON, another shape
        return _Answer(500, 0, fault=error)
    return _Answer(200, 0, call)


def _is_unsent(error: RequestException) -> bool:
    """Whether no connection came about, so that nothing can have been asked."""
    if isinstance(error, ConnectTimeout):
        return True
    cause = error.args[0] if isinstance(error, NotConnected) and error.args else None
    return isinstance(getattr(cause, "reason", None), NewConnectionError)


def _created(answer: _Answer) -> Created:
    if 200 <= answer.status < 300:
        sid, queue_ms = answer.call.sid, str(answer.call.queue_time or "0")
        if not isinstance(sid, str) or not _SID.fullmatch(sid):
            return Ambiguous("an answer without the call's id")
        return Placed(sid, int(queue_ms) if queue_ms.isdecimal() else 0)
    if answer.unsent:
        return new_calls.NOT_REACHED
    if 400 <= answer.status < 500 and answer.status != 408:
        return new_calls.refusal(answer.status, answer.code)
    return Ambiguous(f"HTTP {answer.status}" if answer.status else "the connection broke")


def _listed(call: Any) -> ListedCall:
    talk_s = str(call.duration or "0")
    return ListedCall(
        str(call.sid), str(call.status), call.date_created, int(talk_s) if talk_s.isdecimal() else 0
    )


def _words(created: Created) -> str:
    match created:
        case Ambiguous(why):
            return f"unknown, {why}"
        case new_calls.Refused(status, code, meaning, advice):
            return f"{meaning} (HTTP {status}, code {code}): {advice.value}"
    return "it was"


def _standing(answer: _Answer, account_sid: str) -> Standing:
    match answer.status:
        case 0:
            return Standing.NO_ANSWER
        case 404:
            return Standing.FOREIGN
        case 401 | 403:
            return Standing.NOT_ALLOWED
        case 429:
            return Standing.TOO_MANY
        case 200 if isinstance(answer.call.status, str):
            if answer.call.account_sid not in (None, account_sid):
                return Standing.FOREIGN
            return Standing.OVER if answer.call.status in OVER_STATUSES else Standing.GOES_ON
    return Standing.FAULTY
