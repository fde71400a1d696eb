"""`/mcp`: tools for programs that speak the Model Context Protocol, over streamable HTTP."""

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, cast

from litestar import asgi
from litestar.exceptions import MethodNotAllowedException
from litestar.handlers import ASGIRouteHandler
from litestar.types import HTTPScope, Receive, Scope, Send

from httpd.body_time import CUT_OFF

from ..mcp import is_installed
from ..runtime.keys import Access, Keys
from .auth import authenticated
from .errors import late_body

if TYPE_CHECKING:
    from ..mcp.http import McpApp

#: No GET: its stream would be for messages without a request, and smshook sends no such message.
_METHODS = ("DELETE", "POST")


def mcp(keys: Keys) -> Sequence[ASGIRouteHandler]:
    """Declare the call, if the extra `mcp` is installed."""
    if not is_installed():
        return ()
    starting: list[asyncio.Task[McpApp]] = []

    async def start(api: object) -> "McpApp":
        app = (await asyncio.to_thread(_load))(api)
        await app.start()
        return app

    @asgi("/mcp", guards=[authenticated(keys)], copy_scope=False)
    async def answered(scope: Scope, receive: Receive, send: Send) -> None:
        request = cast("HTTPScope", scope)
        if request["method"] not in _METHODS:
            raise MethodNotAllowedException(headers={"allow": ", ".join(_METHODS)})
        if not starting or _has_ended(starting[0]):
            starting[:] = [asyncio.create_task(start(request["litestar_app"]))]
        endpoint = await asyncio.shield(starting[0])

        async def received() -> Any:
            message = await receive()
            if request["state"].get(CUT_OFF):
                # The SDK would take it for a fault.
                raise late_body()
            return message

        await endpoint(cast("Access", request["auth"]).name, scope, received, send)

    return (answered,)


def _has_ended(starting: "asyncio.Task[McpApp]") -> bool:
    """Return whether a start failed, or what it started has ended."""
    if not starting.done():
        return False
    return starting.cancelled() or starting.exception() is not None or starting.result().has_ended


def _load() -> "type[McpApp]":
    # The SDK takes a second to import, which a service without such calls does not need.
    from ..mcp.http import McpApp  # noqa: PLC0415

    return McpApp
