"""POST to one URL that a stranger chose: only to vetted addresses, no proxy, no redirect."""

import asyncio
import ssl
import time
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from typing import Any

import httpcore
from pyreqwest.http import Url

from ..sink import ANSWER_KEPT, Failed
from .answer import MOST_READ, SinkAnswer, read_beginning
from .guard import AddressGuard
from .openssl import error_word

#: Seconds for which an idle connection is kept.
_IDLE = 4.0
#: Seconds until the next address of a name is tried, if more are left.
_NEXT_ADDRESS = 3.0
#: Bytes of a whole answer, with headers, interim answers and chunk sizes; and of one read.
_MOST_RECEIVED = 2 * MOST_READ
_PIECE = 4096
_PORTS = {"http": 80, "https": 443}
_BROKEN = (httpcore.NetworkError, httpcore.ProtocolError, httpcore.TimeoutException)


def port_of(url: Url) -> int:
    """Return the port of a URL, or the default port of its scheme."""
    return url.port or _PORTS[url.scheme]


@cache
def system_trust() -> ssl.SSLContext:
    """Return the context that trusts the system's authorities."""
    return ssl.create_default_context()


class GuardedClient:
    """Posts to `url`, which has no user.

    Each post looks the host up and vets all its addresses. It connects to these addresses and not
    to the name, so that a second answer of the resolver changes nothing. Host and certificate are
    those of the name. `connections` stay open between posts, as long as the host has the same
    addresses. `trust` is for tests; None: the system's authorities.
    """

    def __init__(
        self,
        url: str,
        guard: AddressGuard,
        *,
        connections: int,
        trust: ssl.SSLContext | None = None,
    ) -> None:
        parsed = Url(url)
        self._guard, self._trust, self._connections = guard, trust, connections
        # The parser has read odd spellings of an address, such as 0x7f.1, as browsers do.
        self._host, self._port = str(parsed.host_str), port_of(parsed)
        query = f"?{parsed.query_string}" if parsed.query_string is not None else ""
        self._url = httpcore.URL(
            scheme=parsed.scheme.encode(),
            host=self._host.strip("[]").encode(),
            port=self._port,
            target=f"{parsed.path}{query}".encode(),
        )
        host = f"{self._host}:{parsed.port}" if parsed.port else self._host
        self._fields = [
            (b"Host", host.encode()),
            (b"User-Agent", b"smshook"),
            (b"Accept", b"*/*"),
            (b"Accept-Encoding", b"identity"),
        ]
        self._pool: _Pool | None = None
        self._vetting: asyncio.Task[Sequence[str]] | None = None

    async def post(
        self,
        headers: Mapping[str, str],
        body: bytes,
        *,
        within: float,
        keep: int = ANSWER_KEPT,
        patience: float | None = None,
    ) -> SinkAnswer:
        """POST, and return the answer with the first `keep` bytes of its body.

        `within` is the deadline in seconds; `patience` is that of `body_until`. Raises Failed as
        `posting` says, and with `blocked` if the guard refuses the host.
        """
        began = time.monotonic()
        try:
            async with asyncio.timeout(within):
                if self._trust is None and self._url.scheme == b"https":
                    # Reading the authorities would hold up callbacks.
                    self._trust = await asyncio.to_thread(system_trust)
                pool = self._pool_for(await self._addresses())
                async with pool:
                    return await self._post(
                        pool.http, headers, body, until=began + within, keep=keep, patience=patience
                    )
        except (*_BROKEN, httpcore.PoolTimeout, TimeoutError, OSError, ValueError) as error:
            word = error_word(error)
        # Outside the handler: the library's error holds the URL, and no failure may carry it.
        raise Failed(word)

    async def close(self) -> None:
        if self._vetting is not None:
            self._vetting.cancel()
        if self._pool is not None:
            await self._pool.http.aclose()

    async def _post(
        self,
        http: httpcore.AsyncConnectionPool,
        headers: Mapping[str, str],
        body: bytes,
        *,
        until: float,
        keep: int,
        patience: float | None,
    ) -> SinkAnswer:
        fields = [(name.encode(), value.encode()) for name, value in headers.items()]
        async with http.stream(
            "POST", self._url, headers=[*self._fields, *fields], content=body
        ) as response:
            retry_after = None
            for name, value in response.headers:
                if name.lower() == b"retry-after" and value.isascii():
                    retry_after = value.decode()
            chunks = response.aiter_stream().__aiter__()
            beginning = await read_beginning(
                lambda: anext(chunks, None),
                until=until,
                broken=_BROKEN,
                keep=keep,
                patience=patience,
            )
            return SinkAnswer(status=response.status, beginning=beginning, retry_after=retry_after)

    async def _addresses(self) -> Sequence[str]:
        """Return the vetted addresses. One look-up serves all posts that wait for it."""
        if self._vetting is None:
            vetting = asyncio.create_task(self._guard.vet(self._host.strip("[]"), self._port))
            vetting.add_done_callback(self._end_vetting)
            self._vetting = vetting
        return await asyncio.shield(self._vetting)

    def _end_vetting(self, vetting: "asyncio.Task[Sequence[str]]") -> None:
        self._vetting = None
        if not vetting.cancelled():
            vetting.exception()  # the posts that waited for it may be gone

    def _pool_for(self, addresses: Sequence[str]) -> "_Pool":
        """Return connections that lead to these addresses and to no other."""
        if self._pool is None or self._pool.addresses != frozenset(addresses):
            if self._pool is not None:
                self._pool.retire()
            http = httpcore.AsyncConnectionPool(
                ssl_context=self._trust,
                max_connections=None,
                max_keepalive_connections=self._connections,
                keepalive_expiry=_IDLE,
                network_backend=_PinnedBackend(addresses),
            )
            self._pool = _Pool(http, frozenset(addresses))
        return self._pool


class _Pool:
    """Connections to some addresses, and the number of posts that use them."""

    def __init__(self, http: httpcore.AsyncConnectionPool, addresses: frozenset[str]) -> None:
        self.http, self.addresses = http, addresses
        self._posts, self._is_retired = 0, False
        self._closing: asyncio.Task[None] | None = None

    async def __aenter__(self) -> None:
        self._posts += 1

    async def __aexit__(self, *_: object) -> None:
        self._posts -= 1
        self._close_unused()

    def retire(self) -> None:
        """Close the connections after the last post that uses them."""
        self._is_retired = True
        self._close_unused()

    def _close_unused(self) -> None:
        if self._is_retired and not self._posts:
            self._closing = asyncio.create_task(self.http.aclose())


class _LimitedStream(httpcore.AsyncNetworkStream):
    """A connection that ends if an answer is too long.

    A server could send interim answers or tiny chunks without end. Reading them costs time, in
    which callbacks wait.
    """

    def __init__(self, stream: httpcore.AsyncNetworkStream) -> None:
        self._stream, self._left = stream, _MOST_RECEIVED

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ASYNC109 - httpcore's signature
        if self._left <= 0:
            raise httpcore.RemoteProtocolError("a long answer")
        data = await self._stream.read(min(max_bytes, _PIECE), timeout)
        self._left -= len(data)
        return data

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ASYNC109 - see above
        self._left = _MOST_RECEIVED  # the next request
        await self._stream.write(buffer, timeout)

    async def aclose(self) -> None:
        await self._stream.aclose()

    async def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,  # noqa: ASYNC109 - see above
    ) -> httpcore.AsyncNetworkStream:
        stream = await self._stream.start_tls(ssl_context, server_hostname, timeout)
        return _LimitedStream(stream)

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)


class _PinnedBackend(httpcore.AsyncNetworkBackend):
    """Connects only to vetted addresses, and ignores the host name."""

    def __init__(self, addresses: Sequence[str]) -> None:
        self._addresses, self._network = tuple(addresses), httpcore.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,  # noqa: ARG002 - a name here would be looked up again
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 - httpcore's signature
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        *others, last = self._addresses
        for address in others:
            try:
                stream = await self._network.connect_tcp(
                    address, port, _NEXT_ADDRESS, local_address, socket_options
                )
            except (httpcore.ConnectError, httpcore.ConnectTimeout):
                continue
            return _LimitedStream(stream)
        return _LimitedStream(
            await self._network.connect_tcp(last, port, timeout, local_address, socket_options)
        )

    async def sleep(self, seconds: float) -> None:
        await self._network.sleep(seconds)
