"""POST to one URL over plain http, in the event loop itself (decision 23)."""

import asyncio
import errno
import select
import socket
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Final, cast

import httptools

from ..sink import ANSWER_KEPT, Failed
from .answer import MOST_READ, SinkAnswer, body_until
from .names import Addresses, look_up, numeric

#: Bytes of all headers of an answer, and of chunk sizes and trailers.
_MOST_HEAD: Final = 256 * 1024
#: Seconds until the next address of a name is tried beside the last (RFC 8305, 5).
_STAGGER: Final = 0.25
_SWITCHING_PROTOCOLS: Final = 101
_FINAL: Final = 200
#: Seconds by which a timer may be early: uvloop rounds to milliseconds.
_EARLY: Final = 0.001
#: Errors of this machine, before anything was tried.
_NO_DESCRIPTOR = frozenset({errno.EMFILE, errno.ENFILE})


class PlainClient:
    """Posts over connections that stay open for `idle` seconds, at most `connections` of them.

    `host` is a name or an address without brackets. `target` is the request target, and `fields`
    are the headers of each request. `within` is the deadline of each post, in seconds.
    """

    def __init__(
        self,
        host: str,
        port: int,
        target: str,
        fields: Mapping[str, str],
        *,
        connections: int,
        idle: float,
        within: float,
        keep: int = ANSWER_KEPT,
    ) -> None:
        self._host, self._port = host, port
        self._request_line, self._fields = f"POST {target} HTTP/1.1\r\n", fields
        self._begin = _lines(self._request_line, fields)
        self._most_idle, self._idle_for, self._within = connections, idle, within
        #: Bytes of an answer's body to return.
        self.keep = keep
        self._loop = asyncio.get_running_loop()
        #: The one that was used last is the last.
        self._idle: list[_Connection] = []
        self._busy: set[_Connection] = set()
        self._lookup: asyncio.Future[Addresses] | None = None
        #: Empty: the host is a name.
        self._numeric: Addresses = []
        with suppress(OSError):
            self._numeric = numeric(host, port)
        #: Ends what is past its deadline: one timer for all posts costs less than one for each.
        self._deadline: asyncio.TimerHandle | None = None
        #: Its time. A handle of uvloop for less than half a millisecond has no `when`.
        self._due = 0.0
        self._sweep: asyncio.TimerHandle | None = None
        self._closed = False

    async def post(self, headers: Mapping[str, str], body: bytes) -> SinkAnswer:
        """POST once. Raises Failed as `posting` says."""
        until = self._loop.time() + self._within
        request = self._request(headers, body)
        connection = self._take_idle()
        if connection is None:
            connection = await self._connect(until)
            if self._closed or connection.is_closed:
                connection.abort()
                raise Failed("protocol")
        self._busy.add(connection)
        if self._deadline is None or until < self._due:
            self._watch(until)
        waiter = connection.exchange(request, until)
        try:
            return await waiter
        except asyncio.CancelledError:
            connection.give_up(waiter)
            raise
        finally:
            # The waiter has the failure, and the failure's traceback has this frame: a cycle.
            del waiter

    async def close(self) -> None:
        self._closed = True
        for timer in (self._deadline, self._sweep):
            if timer is not None:
                timer.cancel()
        for connection in [*self._idle, *self._busy]:
            connection.fail("protocol")

    def _request(self, headers: Mapping[str, str], body: bytes) -> bytes:
        values = "".join(headers.values())
        # A newline in a value would begin another header, or a second request.
        if not values.isascii() or not values.replace("\t", "").isprintable():
            raise Failed("protocol")
        begin = self._begin
        if not self._fields.keys().isdisjoint(headers):
            others = {name: value for name, value in self._fields.items() if name not in headers}
            begin = _lines(self._request_line, others)
        head = _lines(begin, headers)
        return f"{head}content-length: {len(body)}\r\n\r\n".encode() + body

    def _watch(self, until: float) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
        self._due = until
        self._deadline = self._loop.call_at(until, self._end_late)

    def _end_late(self) -> None:
        self._deadline, now = None, self._loop.time() + _EARLY
        for connection in [each for each in self._busy if each.until <= now]:
            connection.fail("timeout")
        if self._busy:
            self._watch(min(each.until for each in self._busy))

    # --- idle connections -----------------------------------------------------------------

    def _take_idle(self) -> "_Connection | None":
        """Return a connection that is open as far as this machine knows.

        If its server closes it now, the post fails: the server may have read the request.
        """
        while self._idle:
            connection = self._idle.pop()
            if self._loop.time() < connection.idle_until and connection.is_reusable():
                return connection
            connection.abort()
        return None

    def release(self, connection: "_Connection", *, keep: bool) -> None:
        """Take a connection back, after its answer."""
        self._busy.discard(connection)
        if not keep or self._closed or len(self._idle) >= self._most_idle:
            connection.abort()
            return
        connection.idle_until = self._loop.time() + self._idle_for
        self._idle.append(connection)
        if self._sweep is None:
            self._sweep = self._loop.call_at(connection.idle_until, self._close_idle)

    def forget(self, connection: "_Connection") -> None:
        """Forget a connection that was lost."""
        self._busy.discard(connection)
        with suppress(ValueError):
            self._idle.remove(connection)

    def _close_idle(self) -> None:
        self._sweep, now = None, self._loop.time()
        while self._idle and self._idle[0].idle_until <= now:
            self._idle.pop(0).abort()
        if self._idle:
            self._sweep = self._loop.call_at(self._idle[0].idle_until, self._close_idle)

    # --- new connections ------------------------------------------------------------------

    async def _connect(self, until: float) -> "_Connection":
        try:
            async with asyncio.timeout_at(until):
                return await self._connect_to_first(await self._addresses())
        except TimeoutError:
            word = "timeout"
        except OSError as error:
            word = "protocol" if error.errno in _NO_DESCRIPTOR else "refused"
        raise Failed(word)

    async def _connect_to_first(self, addresses: Addresses) -> "_Connection":
        """Return a connection to the address that answers first. Earlier ones get a head start."""
        if len(addresses) == 1:
            return await self._connect_to(addresses[0])
        left, started = list(addresses), list[asyncio.Task[_Connection]]()
        waiting: set[asyncio.Task[_Connection]] = set()
        won, error = None, None
        try:
            while won is None and (left or waiting):
                if left:
                    started.append(asyncio.create_task(self._connect_to(left.pop(0))))
                    waiting.add(started[-1])
                done, waiting = await asyncio.wait(
                    waiting,
                    timeout=_STAGGER if left else None,
                    return_when=asyncio.FIRST_COMPLETED,
                )
                for task in done:
                    error = task.exception()
                    won = task if error is None else won
        finally:
            for task in started:
                if task is not won:
                    task.cancel()
                    task.add_done_callback(_abort)
        if won is None:
            # A new error. With the old one, its task and this frame would be a cycle.
            raise OSError(getattr(error, "errno", None), "no address answers")
        return won.result()

    async def _connect_to(self, address: tuple[Any, ...]) -> "_Connection":
        family, kind, protocol, _, where = address
        sock = socket.socket(family, kind, protocol)
        try:
            sock.setblocking(False)
            await self._loop.sock_connect(sock, where)
        except BaseException:
            sock.close()
            raise
        _, connection = await self._loop.create_connection(
            lambda: _Connection(self, self._loop, sock), sock=sock
        )
        return connection

    async def _addresses(self) -> Addresses:
        """Return the addresses of the host. One look-up serves all that wait for it."""
        if self._numeric:
            return self._numeric
        if self._lookup is None:
            self._lookup = look_up(self._host, self._port)
            self._lookup.add_done_callback(self._end_lookup)
        addresses = await asyncio.shield(self._lookup)
        if not addresses:
            raise Failed("dns")
        return addresses

    def _end_lookup(self, _found: "asyncio.Future[Addresses]") -> None:
        self._lookup = None


class _Connection(asyncio.Protocol):
    """A connection, and the answer that it waits for."""

    def __init__(
        self, client: PlainClient, loop: asyncio.AbstractEventLoop, sock: socket.socket
    ) -> None:
        self._client, self._loop = client, loop
        self._arrived = select.poll()
        self._arrived.register(sock, select.POLLIN)
        self._parser = httptools.HttpResponseParser(self)
        # As pyreqwest does: newlines without CR, and a length beside chunks.
        self._parser.set_dangerous_leniencies(
            lenient_optional_cr_before_lf=True, lenient_chunked_length=True
        )
        self._waiter: asyncio.Future[SinkAnswer] | None = None
        #: When to stop reading a body that does not end.
        self._patience: asyncio.TimerHandle | None = None
        self._retry_after: str | None = None
        self._date: str | None = None
        self.until = self.idle_until = 0.0

    @property
    def is_closed(self) -> bool:
        return self._transport.is_closing()

    def is_reusable(self) -> bool:
        """Return False if its server has closed it, even if the event loop does not know yet.

        All that may arrive is its end, or an answer that was not requested.
        """
        return not self.is_closed and not self._arrived.poll(0)

    def exchange(self, request: bytes, until: float) -> "asyncio.Future[SinkAnswer]":
        """Send a request, and return its answer to come."""
        self.until = until
        #: 0: the header of the final answer (not a 1xx) is not complete yet.
        self._status = self._received = self._body_size = 0
        self._body, self._retry_after, self._date = b"", None, None
        self._is_complete = self._keep = False
        self._waiter = waiter = self._loop.create_future()
        self._transport.write(request)
        return waiter

    def abort(self) -> None:
        self._waiter = None
        if self._patience is not None:
            self._patience.cancel()
        self._client.forget(self)
        self._transport.abort()

    def give_up(self, waiter: "asyncio.Future[SinkAnswer]") -> None:
        """End this exchange, unless it is over and the connection serves another."""
        if self._waiter is waiter:
            self.abort()

    def fail(self, word: str) -> None:
        """End the exchange without an answer."""
        waiter = self._waiter
        self.abort()
        if waiter is not None and not waiter.done():
            waiter.set_exception(Failed(word))

    def _finish(self) -> None:
        """End the exchange with the answer, as far as it was read."""
        waiter, self._waiter = self._waiter, None
        if self._patience is not None:
            self._patience.cancel()
            self._patience = None
        # A server may answer before it has read the request.
        keep = self._keep and not self._transport.get_write_buffer_size()
        self._client.release(self, keep=keep)
        if waiter is not None and not waiter.done():
            waiter.set_result(
                SinkAnswer(
                    status=self._status,
                    beginning=self._body,
                    retry_after=self._retry_after,
                    date=self._date,
                )
            )

    # --- called by the transport ----------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        if self._waiter is None:
            self.abort()  # an answer that was not requested
            return
        self._received += len(data)
        is_broken = False
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            is_broken, self._keep = True, False
        if self._status == 0:
            if is_broken or self._received > _MOST_HEAD:
                self.fail("protocol")
        elif (
            is_broken
            or self._is_complete
            or self._body_size >= MOST_READ
            or self._received > MOST_READ + _MOST_HEAD
        ):
            self._finish()
        elif self._patience is None:
            now = self._loop.time()
            self._patience = self._loop.call_at(body_until(now, self.until), self._finish)

    def connection_lost(self, _error: Exception | None) -> None:
        if self._waiter is not None and self._status:
            self._keep = False
            self._finish()  # the body ends with the connection
        else:
            self.fail("protocol")
        # The parser refers to this connection, too: a cycle, which only the collector frees.
        del self._parser

    # --- called by the parser -------------------------------------------------------------

    def on_message_begin(self) -> None:
        if self._is_complete:
            raise ValueError("a second answer")
        self._retry_after = self._date = None

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._status or not value.isascii():
            return  # a trailer, or a header that counts for nothing
        lower = name.lower()
        if lower == b"retry-after" and self._retry_after is None:
            self._retry_after = value.decode()
        elif lower == b"date" and self._date is None:
            self._date = value.decode()

    def on_headers_complete(self) -> None:
        status = self._parser.get_status_code()
        if status >= _FINAL or status == _SWITCHING_PROTOCOLS:
            self._status = status

    def on_body(self, body: bytes) -> None:
        self._body_size += len(body)
        if len(self._body) < self._client.keep:
            self._body = (self._body + body)[: self._client.keep]

    def on_message_complete(self) -> None:
        if self._status:
            self._is_complete, self._keep = True, self._parser.should_keep_alive()
        else:
            self._received = 0  # one of 1xx: its server may send more of them


def _lines(begin: str, headers: Mapping[str, str]) -> str:
    return begin + "".join([f"{name}: {value}\r\n" for name, value in headers.items()])


def _abort(task: "asyncio.Task[_Connection]") -> None:
    if not task.cancelled() and task.exception() is None:
        task.result().abort()
