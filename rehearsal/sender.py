"""Sends the callbacks of a simulated provider, again and again as its schedule says."""

from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime
from random import Random

import httpx
import msgspec

from .exchange import OutgoingCallback
from .schedule import Schedule

#: "must return HTTP 200 code": 201, 204 and redirects count as failures.
_DONE = 200


class CallbackAttempt(msgspec.Struct, frozen=True, kw_only=True):
    """One attempt, and what came of it."""

    callback: int
    #: From 1.
    attempt: int
    order_id: str
    at: datetime
    #: None where nobody answered in time.
    status: int | None
    #: `connect` or `timeout`, where there is no status.
    error: str | None = None


class SimulatedCallback(msgspec.Struct, frozen=True, kw_only=True):
    """What is sent, byte for byte the same at each attempt."""

    #: Counts.
    id: int
    order_id: str
    url: str
    sent: OutgoingCallback


class Sender:
    """`sleep` and `now` are the clock; `signed` says which headers a body gets beside its own."""

    def __init__(
        self,
        *,
        client: httpx.AsyncClient,
        schedule: Schedule,
        speed: float,
        sleep: Callable[[float], Awaitable[None]],
        now: Callable[[], datetime],
        chance: Random,
        signed: Callable[[bytes], Mapping[str, str]],
    ) -> None:
        self._client, self._schedule, self._speed = client, schedule, speed
        self._sleep, self._now, self._chance, self._signed = sleep, now, chance, signed
        self.attempts: list[CallbackAttempt] = []

    async def send(self, callback: SimulatedCallback) -> None:
        """Until it is answered with 200, or the provider gives up."""
        if not await self.first(callback):
            await self.again(callback)

    async def first(self, callback: SimulatedCallback) -> bool:
        """The first attempt alone; whether it was answered with 200."""
        return await self._attempt(callback, 1)

    async def again(self, callback: SimulatedCallback) -> None:
        """Those after the first."""
        waits = self._schedule.drawn(self._chance, speed=self._speed)
        for number, wait in enumerate(waits, start=2):
            await self._sleep(wait)
            if await self._attempt(callback, number):
                return

    async def _attempt(self, callback: SimulatedCallback, number: int) -> bool:
        at = self._now()
        status, error = await self._posted(callback)
        self.attempts.append(
            CallbackAttempt(
                callback=callback.id,
                attempt=number,
                order_id=callback.order_id,
                at=at,
                status=status,
                error=error,
            )
        )
        return status == _DONE

    async def _posted(self, callback: SimulatedCallback) -> tuple[int | None, str | None]:
        body = callback.sent.body
        headers = {"content-type": callback.sent.content_type, **self._signed(body)}
        try:
            response = await self._client.post(
                callback.url,
                content=body,
                headers=headers,
                timeout=self._schedule.timeout,
                follow_redirects=False,
            )
        except httpx.TimeoutException:
            return None, "timeout"
        except httpx.RequestError:
            return None, "connect"
        return response.status_code, None
