"""How user code ends a call, sends the caller on, and lets them wait: the part of a session that does it."""

from __future__ import annotations

import asyncio

from bridge.agents.detours import BEGUN, After, Detours, Hold, Mode, TransferResult, transfer_wish
from bridge.agents.inputs import ENDED_BY
from bridge.core import messages as m
from bridge.errors import CallEnded


class Leaving:
    """What a `Session` is made of, beside what it hears and says."""

    _detours: Detours
    _leaving: list[asyncio.Future[bool]]
    _ended: m.Ended | None

    @property
    def ended(self) -> m.Reason | None:
        """Why the call is over; None while it goes on."""
        return None if self._ended is None else self._ended.reason

    def check(self) -> None:
        """Raise CallEnded if the call is over."""
        if self._ended is not None:
            raise CallEnded(self._ended.reason, ENDED_BY.get(self._ended.reason, "bridge"))

    def _post(self, command: m.SessionCommand) -> None:
        raise NotImplementedError

    @property
    def detours(self) -> bool:
        """Whether a caller who leaves the stream can come back to this session. Where they cannot, a transfer
        ends the call.
        """
        return self._detours.possible

    async def hang_up(self, why: str = "", *, wait: bool = True) -> bool:
        """End the call once everything said so far was heard. `why` is for the log.

        Returns True when the call is over, False when the caller spoke meanwhile: then it goes on. With
        `wait=False` it returns True at once. Raises CallEnded if the call was over before.
        """
        return await self._leave(m.HangUp(why), wait)

    async def transfer(
        self,
        name: str,
        mode: Mode = "cold",
        *,
        brief: str = "",
        accept: str = "1",
        ring_s: int = 25,
        after: After = "hang_up",
        min_talk_s: int = 10,
        wait: bool = True,
    ) -> TransferResult:
        """Send the caller to the configured target of that name (BRIDGE_TRANSFERS) once everything said so
        far was heard, and return what came of it. Unless they are connected, the caller comes back to this
        session, and the model tells them why. With `after="return"` they do so after the talk too.

        `mode` cold: the caller leaves at once and hears it ring. warm: they stay with the model until the
        target has accepted. The target hears `brief`, and takes the call by the key `accept` ("" for none).
        It rings for `ring_s`; a talk below `min_talk_s` counts as dropped. With `wait=False` it returns at
        once, as `begun`. Cancelled while it rings, it is taken back. Raises ValueError for a name that is not
        configured, CallEnded.
        """
        targets = self._detours.targets
        if name not in targets:
            known = ", ".join(targets) or "none; set BRIDGE_TRANSFERS"
            raise ValueError(f"there is no transfer target {name!r}; configured: {known}")
        if not self.detours:
            gone = await self._leave(m.Transfer(name), wait)
            return TransferResult(("connected" if wait else BEGUN) if gone else "interrupted", name)
        self.check()
        wish = transfer_wish(
            name, mode=mode, brief=brief, accept=accept, ring_s=ring_s, after=after, min_talk_s=min_talk_s
        )
        end = self._detours.begin(wish)
        try:
            return await end if wait else TransferResult(BEGUN, name)
        except asyncio.CancelledError:  # as by a timeout of user code
            self._detours.end(wish.detour_id)
            raise

    async def send_digits(self, keys: str) -> TransferResult:
        """Press these keys for the other side, which is a menu: 1 to 32 of 0-9, *, #, A-D, with w for half a
        second of waiting. Returns when we hear the line again; what is said meanwhile is not heard. No
        recording and no log holds them; never send a card's number. Raises ValueError for other keys,
        CallEnded.
        """
        self.check()
        return await self._detours.press(keys)

    def hold(self, music: str = "") -> Hold:
        """`async with session.hold(): …` lets the caller wait with music, while your code does what takes
        long. The model is silent and hears nothing meanwhile. Raises CallEnded.
        """
        self.check()
        return Hold(self._detours, music)

    async def _leave(self, command: m.HangUp | m.Transfer, wait: bool) -> bool:
        self._post(command)
        if not wait:
            return True
        left: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._leaving.append(left)
        return await left

    def _left(self, over: bool) -> None:
        leaving, self._leaving = self._leaving, []
        for left in leaving:
            if not left.done():
                left.set_result(over)
