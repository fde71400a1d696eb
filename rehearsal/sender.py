"""Sends the callbacks of a simulated provider, and retries by its schedule."""

import asyncio
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
    """An attempt and its result."""

    callback: int
    #: From 1.
    attempt: int
    order_id: str
    at: datetime
    #: None without an answer in time.
    status: int | None
    #: `connect` or `timeout`, if there is no status.
    error: str | None = None


class SimulatedCallback(msgspec.Struct, frozen=True, kw_only=True):
    """A callback, with the same bytes at each attempt."""

    #: A counter.
    id: int
    order_id: str
    url: str
    sent: OutgoingCallback


class Sender:
    """Sends callbacks. `signed` returns more headers for a body."""

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
        """Send a callback until it is answered with 200 or the schedule ends."""
        if not await self._attempt(callback, 1):
            await self._retry(callback)

    async def send_swapped(self, later: SimulatedCallback, earlier: SimulatedCallback) -> None:
        """Send two callbacks, the later one first."""
        is_delivered = await self._attempt(later, 1)
        async with asyncio.TaskGroup() as group:
            group.create_task(self.send(earlier))
            if not is_delivered:
                group.create_task(self._retry(later))

    async def _retry(self, callback: SimulatedCallback) -> None:
        """Make the attempts after the first."""
        waits = self._schedule.draw(self._chance, speed=self._speed)
        for number, wait in enumerate(waits, start=2):
            await self._sleep(wait)
            if await self._attempt(callback, number):
                return

    async def _attempt(self, callback: SimulatedCallback, number: int) -> bool:
        """Make one attempt. Return whether it was answered with 200."""
        at = self._now()
        status, error = None, None
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
            status = response.status_code
        except httpx.TimeoutException:
            error = "timeout"
        except httpx.RequestError:
            error = "connect"
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
