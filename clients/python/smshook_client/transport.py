"""The two ways to the network and the clock: with and without an event loop.

They use the transports of httpx. Its clients would log each URL, and a phone number in it, and
follow the environment to a proxy that may see the key.
"""

import asyncio
import ssl
import time
from collections.abc import AsyncIterator
from contextlib import aclosing, closing
from typing import Protocol

import httpx

#: Any number of connections: each call that waits has one. httpx would allow a hundred, and a code
#: would wait for the end of another call.
_LIMITS = httpx.Limits()

#: The certificates to trust: the system's (True), or a context.
Verify = ssl.SSLContext | bool


class Transport(Protocol):
    """Sends requests. Its methods raise the errors of httpx."""

    async def send(self, request: httpx.Request, *, stream: bool = False) -> httpx.Response:
        """Return the answer; with `stream`, before its body was read."""

    def chunks(self, response: httpx.Response) -> AsyncIterator[bytes]:
        """Yield the body as it comes."""

    async def release(self, response: httpx.Response) -> None:
        """Close an answer of a stream."""

    async def sleep(self, seconds: float) -> None: ...

    async def close(self) -> None: ...


class BlockingTransport:
    """A transport with methods that never suspend."""

    def __init__(self, verify: Verify) -> None:
        self._http = httpx.HTTPTransport(verify=verify, trust_env=False, limits=_LIMITS)

    async def send(self, request: httpx.Request, *, stream: bool = False) -> httpx.Response:
        response = self._http.handle_request(request)
        response.request = request
        if not stream:
            with closing(response):
                response.read()
        return response

    async def chunks(self, response: httpx.Response) -> AsyncIterator[bytes]:
        for chunk in response.iter_bytes():
            yield chunk

    async def release(self, response: httpx.Response) -> None:
        response.close()

    async def sleep(self, seconds: float) -> None:
        time.sleep(seconds)  # noqa: ASYNC251 - no event loop runs this

    async def close(self) -> None:
        self._http.close()


class AsyncioTransport:
    """A transport for asyncio."""

    def __init__(self, verify: Verify, http: httpx.AsyncBaseTransport | None = None) -> None:
        """`http` takes the place of the network, such as `httpx.ASGITransport(app)`."""
        self._http = http or httpx.AsyncHTTPTransport(
            verify=verify, trust_env=False, limits=_LIMITS
        )

    async def send(self, request: httpx.Request, *, stream: bool = False) -> httpx.Response:
        response = await self._http.handle_async_request(request)
        response.request = request
        if not stream:
            async with aclosing(response):
                await response.aread()
        return response

    def chunks(self, response: httpx.Response) -> AsyncIterator[bytes]:
        return response.aiter_bytes()

    async def release(self, response: httpx.Response) -> None:
        await response.aclose()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    async def close(self) -> None:
        await self._http.aclose()
