"""Shows a service on the internet that smshook lives: it reports the absence of these requests."""

import asyncio
from collections.abc import Awaitable, Callable

import httpx
import structlog

from core.secret import Secret

from ..config.options import Config

#: Seconds for one request.
WITHIN = 10.0
#: Seconds between two looks at what is due.
_LOOK = 1.0

log = structlog.get_logger()


async def get(url: Secret) -> int:
    """GET a URL, and return the status. Raises httpx.HTTPError and OSError."""
    async with httpx.AsyncClient(trust_env=False, timeout=WITHIN) as client:
        return (await client.get(url.reveal(), headers={"user-agent": "smshook"})).status_code


class HeartbeatSender:
    """Sends a request again and again while the service is ready.

    `ticks` returns seconds that only go forward. A request that fails is logged once, and not
    repeated before the next one is due.
    """

    def __init__(
        self,
        *,
        ready: Callable[[], bool],
        ticks: Callable[[], float],
        get: Callable[[Secret], Awaitable[int]] = get,
    ) -> None:
        self._ready, self._ticks, self._get = ready, ticks, get
        self._url: Secret | None = None
        self._every = 60.0
        self._sent_at = float("-inf")
        self._fails = False

    def use(self, config: Config) -> None:
        """Send to another URL, or at another pace, from now on."""
        if config.heartbeat.url != self._url:
            self._sent_at = float("-inf")
        self._url, self._every = config.heartbeat.url, config.heartbeat.every

    async def run(self) -> None:
        """Send what is due, until cancelled."""
        while True:
            await self.look()
            await asyncio.sleep(min(_LOOK, self._every))

    async def look(self) -> None:
        """Send a request if it is due and the service is ready."""
        ticks = self._ticks()
        if self._url is None or ticks - self._sent_at < self._every or not self._ready():
            return
        self._sent_at = ticks
        try:
            async with asyncio.timeout(WITHIN):
                status = await self._get(self._url)
            works, error = 200 <= status <= 299, f"status {status}"  # noqa: PLR2004 - RFC 9110, 15.3
        except (httpx.HTTPError, httpx.InvalidURL, OSError, TimeoutError, ValueError) as exc:
            # Its text may have the URL.
            works, error = False, type(exc).__name__
        if not works and not self._fails:
            log.warning("heartbeat.failed", error=error, then="tried again")
        elif works and self._fails:
            log.info("heartbeat.recovered")
        self._fails = not works
