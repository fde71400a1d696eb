"""The tools over streamable HTTP. Each call goes to the API in the same process."""

import asyncio
import logging
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
from mcp.server.auth.middleware.bearer_auth import AuthenticatedUser
from mcp.server.auth.provider import AccessToken
from mcp.server.streamable_http_manager import StreamableHTTPSessionManager

from core.errors import origin
from smshook_client import AsyncClient, Unreachable
from smshook_client.transport import AsyncioTransport

from .protocol import Context, make_server

log = logging.getLogger(__name__)

#: Bytes of a request: a call of a tool is short.
_MOST_BYTES = 64 * 1024
#: Sessions of programs that speak an older version of the protocol, and how long an idle one is
#: kept, in seconds. After the end of its session, a program begins another.
_MOST_SESSIONS, _IDLE = 1000, 1800.0
#: The API is in this process: no name is looked up.
_URL = "http://smshook"


class InProcess(AsyncioTransport):
    """Calls an ASGI app in place of the network. A failure is never tried again here."""

    def __init__(self, app: Any, peer: tuple[str, int]) -> None:
        """`peer` is the address of the program that called: the audit log names it."""
        super().__init__(verify=False, http=httpx.ASGITransport(app, client=peer))

    async def sleep(self, seconds: float) -> None:
        """Raise the failure that the client handles: the program that called may try again.

        The service may be about to stop, and must not wait for this call.
        """
        raise sys.exception() or Unreachable(f"try again in {seconds:.0f} s", connected=True)


class McpApp:
    """An ASGI app for requests with a valid key. Use it in one event loop."""

    def __init__(self, api: Any) -> None:
        """`api` is the ASGI app of the API."""

        @asynccontextmanager
        async def connect(context: Context) -> AsyncIterator[AsyncClient]:
            scope = context.request.scope if context.request else {}
            headers, peer = dict(scope.get("headers", ())), tuple(scope.get("client") or ("", 0))
            key = headers[b"authorization"].partition(b" ")[2].strip().decode()
            async with AsyncClient(_URL, key, retries=0, transport=InProcess(api, peer)) as client:
                yield client

        self._manager = StreamableHTTPSessionManager(
            make_server(connect),
            session_idle_timeout=_IDLE,
            max_sessions=_MOST_SESSIONS,
            max_request_body_size=_MOST_BYTES,
        )
        self._started = asyncio.Event()
        # The end of the loop cancels it.
        self._running = asyncio.create_task(self._run())
        self._running.add_done_callback(_log_fault)

    @property
    def has_ended(self) -> bool:
        """Whether it can answer no further request."""
        return self._running.done()

    async def start(self) -> None:
        """Return when it can answer requests. Raises the error of a start that failed."""
        starting = asyncio.create_task(self._started.wait())
        await asyncio.wait((starting, self._running), return_when=asyncio.FIRST_COMPLETED)
        starting.cancel()
        if self._running.done():
            self._running.result()

    async def _run(self) -> None:
        async with self._manager.run():
            self._started.set()
            await asyncio.Event().wait()

    async def __call__(self, name: str, scope: Any, receive: Any, send: Any) -> None:
        """Answer a request of the key with that name, which owns the sessions that it begins."""
        user = AuthenticatedUser(AccessToken(token="", client_id=name, scopes=[]))
        await self._manager.handle_request({**scope, "user": user}, receive, send)


def _log_fault(running: asyncio.Task[None]) -> None:
    exc = None if running.cancelled() else running.exception()
    if exc is not None:
        log.error("the tools ended: %s at %s", type(exc).__name__, origin(exc))
