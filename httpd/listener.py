"""A listening socket and the server behind it."""

import asyncio
import contextlib
import socket

import uvicorn
from uvicorn._types import ASGI3Application

from .protocol import DoorProtocol


class Listener(uvicorn.Server):
    """Serves one app on one bound socket. It handles no signals: call `finish` to end it."""

    #: Seconds for cancelled tasks to end.
    cancel_time = 0.3

    def __init__(self, app: ASGI3Application, protocol: type[DoorProtocol] = DoorProtocol) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                http=protocol,
                loop="none",
                ws="none",
                lifespan="off",
                interface="asgi3",
                log_config=None,
                access_log=False,
                proxy_headers=False,
                server_header=False,
                date_header=False,
            )
        )
        self.servers = []
        self._sock: socket.socket | None = None

    async def start(self, sock: socket.socket) -> None:
        """Listen on `sock`, which belongs to the listener from now on."""
        self._sock = sock
        self.config.load()
        self.lifespan = self.config.lifespan_class(self.config)
        await self.startup(sockets=[sock])

    def stop_accepting(self) -> None:
        """Refuse new connections, and keep those that are open."""
        for server in self.servers:
            server.close()
        if self._sock is not None:
            self._sock.close()

    def _busy(self) -> int:
        """Let busy connections close with their answers; return their number."""
        open_ = [one for one in self.server_state.connections if isinstance(one, DoorProtocol)]
        return sum([connection.end_with_answer() for connection in open_])

    async def finish(self, deadline: float) -> None:
        """Let running requests end, for `deadline` seconds; then cut them off."""
        self.stop_accepting()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(deadline):
                # While a request runs, idle connections stay: a request on one is still answered.
                while self._busy() or self.server_state.tasks:  # noqa: ASYNC110 - many answers
                    await asyncio.sleep(0.02)
                while self.server_state.connections or self.server_state.tasks:
                    # Again each time: connections that the kernel had accepted appear only now.
                    for connection in list(self.server_state.connections):
                        connection.shutdown()
                    await asyncio.sleep(0.02)
        for connection in list(self.server_state.connections):
            if isinstance(connection, DoorProtocol):
                connection.abort()
        tasks = list(self.server_state.tasks)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=self.cancel_time)
        await asyncio.sleep(0)  # an aborted connection is notified in the next round of the loop
