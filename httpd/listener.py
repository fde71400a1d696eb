"""A listening socket and the server behind it."""

import asyncio
import contextlib
import socket

import uvicorn
from uvicorn._types import ASGI3Application

from .protocol import DoorProtocol


class Listener(uvicorn.Server):
    """One app on one bound socket. Who starts it ends it: it handles no signals."""

    #: Seconds for what was cancelled to notice.
    cancelling = 0.3

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
        """Listen on `sock`, which is the listener's from now on."""
        self._sock = sock
        self.config.load()
        self.lifespan = self.config.lifespan_class(self.config)
        await self.startup(sockets=[sock])

    def stop_accepting(self) -> None:
        """New connections are refused; those that are open stay."""
        for server in self.servers:
            server.close()
        if self._sock is not None:
            self._sock.close()

    async def finish(self, deadline: float) -> None:
        """Let what is being answered end, for so many seconds; then cut it off."""
        self.stop_accepting()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(deadline):
                await self._quiet()
        await self._cut()

    async def _quiet(self) -> None:
        # While anything is in flight, idle connections stay: who still asks on one is answered.
        while self.server_state.tasks:
            for connection in list(self.server_state.connections):
                if isinstance(connection, DoorProtocol):
                    connection.end_with_answer()
            await asyncio.wait(self.server_state.tasks, timeout=0.02)
        while self.server_state.connections or self.server_state.tasks:
            # Again each time: the kernel had accepted some that we are told of only now.
            for connection in list(self.server_state.connections):
                connection.shutdown()
            await asyncio.sleep(0.02)

    async def _cut(self) -> None:
        for connection in list(self.server_state.connections):
            if isinstance(connection, DoorProtocol):
                connection.abort()
        tasks = list(self.server_state.tasks)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=self.cancelling)
        await asyncio.sleep(0)  # a connection that was aborted hears of it in the next round
