"""Limits the time in which the body of a request for the app arrives.

The door has a limit of its own. Without one, slow bodies would hold connections for ever, which
count against `server.connections`.
"""

import asyncio
import contextlib
from collections.abc import Awaitable

from .own_host import App, Receive, Scope, Send

#: The key of a request's state; true if its body was cut off.
CUT_OFF = "body_cut_off"


class BodyTime:
    """ASGI middleware: if a body is late, the app sees that its client went away."""

    def __init__(self, app: App, seconds: float) -> None:
        self._app, self._seconds = app, seconds

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        # Such a call reads no body. Thousands may wait, so each has one coroutine less.
        if scope["type"] != "http" or scope["method"] in ("GET", "HEAD"):
            return self._app(scope, receive, send)
        return self._timed(scope, receive, send)

    async def _timed(self, scope: Scope, receive: Receive, send: Send) -> None:
        ends: float | None = asyncio.get_running_loop().time() + self._seconds

        async def receive_in_time() -> Scope:
            nonlocal ends
            message: Scope = {"type": "http.disconnect"}
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout_at(ends):
                    message = await receive()
            if ends is not None and message["type"] == "http.disconnect":
                scope["state"][CUT_OFF] = True
            if not message.get("more_body", False):
                ends = None
            return message

        await self._app(scope, receive_in_time, send)
