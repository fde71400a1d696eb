"""Keeps a sink open, and gives up if its own machinery stays broken."""

import asyncio
from collections.abc import Callable
from functools import partial

import structlog

from sinks.sink import Failed, Outgoing, Receipt, Refused, Send, Sink, Unusable
from sinks.worker import Worker

#: Seconds until a sink that failed as a whole is opened again.
REOPEN = 1.0
#: Seconds for which a sink's machinery may be broken without interruption.
PATIENCE = 60.0
#: If more seconds lie between two failures, they are two breakdowns. Retries wait up to a minute.
_APART = 120.0

log = structlog.get_logger()


class SinkRunner:
    """Runs the worker of one sink.

    A sink is opened again if its `open` fails or it raises `Unusable`. After a minute of failures
    `give_up` is called. A descriptor or thread that is missing for so long comes back only with a
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
        """Deliver until cancelled. A fault of this sink stops no other sink."""
        while True:
            try:
                async with self._sink.open() as send:
                    await self._worker.run(partial(self._send, send))
            except Exception as exc:  # noqa: BLE001 - whatever a sink raises stays with the sink
                log.error("sink.fault", sink=self._worker.name, error=type(exc).__name__)  # noqa: TRY400 - a traceback shows values
                self._failed()
                await asyncio.sleep(self._reopen)

    async def _send(self, send: Send, outgoing: Outgoing) -> Receipt:
        """Send, and notice whether the machinery of the sink works."""
        try:
            receipt = await send(outgoing)
        except Unusable:
            self._failed()
            raise
        except (Failed, Refused):
            self._broken_since = None  # it could report an error: the machinery works
            raise
        self._broken_since = None
        return receipt

    def _failed(self) -> None:
        now = self._ticks()
        if self._broken_since is None or now - self._broken_at > _APART:
            self._broken_since = now
        self._broken_at = now
        if now - self._broken_since >= PATIENCE:
            self._give_up()
