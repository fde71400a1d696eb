"""Keep a sink open, and give up where its own machinery stays broken."""

import asyncio
from collections.abc import Callable

import structlog

from sinks.sink import Failed, Outgoing, Receipt, Refused, Send, Sink, Unusable
from sinks.worker import Worker

#: Seconds until a sink that failed as a whole is opened again.
REOPEN = 1.0
#: Seconds for which a sink's machinery may be broken without a break.
PATIENCE = 60.0
#: Failures that are further apart, in seconds, are of two breakdowns. Retries wait up to a minute.
_APART = 120.0

log = structlog.get_logger()


class SinkRunner:
    """Runs the worker of one sink.

    A sink whose `open` fails, or that raises `Unusable`, is tried again. After a minute of that,
    `give_up` is called: a descriptor or thread that is missing for so long comes back only with a
    restart, and the service must not be ready while it delivers nothing.
    """

    def __init__(
        self,
        sink: Sink,
        worker: Worker,
        *,
        ticks: Callable[[], float],
        give_up: Callable[[], None],
        reopen: float = REOPEN,
    ) -> None:
        self._sink, self._worker = sink, worker
        self._ticks, self._give_up, self._reopen = ticks, give_up, reopen
        self._broken_since: float | None = None
        self._broken_at = 0.0

    async def run(self) -> None:
        """Deliver until cancelled. A sink that fails as a whole stops no other."""
        while True:
            try:
                async with self._sink.open() as send:
                    await self._worker.run(self._watched(send))
            except Exception as exc:  # noqa: BLE001 - whatever a sink raises stays with the sink
                log.error("sink.fault", sink=self._worker.name, error=type(exc).__name__)  # noqa: TRY400 - a traceback shows values
                self._failed()
                await asyncio.sleep(self._reopen)

    def _watched(self, send: Send) -> Send:
        async def watched(outgoing: Outgoing) -> Receipt:
            try:
                receipt = await send(outgoing)
            except Unusable:
                self._failed()
                raise
            except (Failed, Refused):
                self._broken_since = None  # it could say what is wrong: the machinery works
                raise
            self._broken_since = None
            return receipt

        return watched

    def _failed(self) -> None:
        now = self._ticks()
        if self._broken_since is None or now - self._broken_at > _APART:
            self._broken_since = now
        self._broken_at = now
        if now - self._broken_since >= PATIENCE:
            self._give_up()
