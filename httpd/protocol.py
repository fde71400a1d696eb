"""HTTP on the wire: uvicorn's protocol, with the limits that no Python server has.

    data_received -> parser -> on_message_begin .. on_headers_complete -> a cycle runs the app
                       |                                                        |
                       fault -> _refuse: a cycle that answers 400, 408, 431     close -> linger

A refusal is a request cycle like any other, so it waits its turn behind the answers to what was
asked before it on the same connection.
"""

import asyncio
import http
import logging
import traceback
from collections.abc import Callable
from typing import Any, NoReturn

import httptools
from uvicorn._types import ASGI3Application
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from .connections import Connections
from .exchange import EXCHANGE, Exchange

#: Told of each request that was turned away here: its status, and the socket's address.
OnRejected = Callable[[int, str], None]

_CONNECT = b"CONNECT"
_VERSIONS = ("1.0", "1.1")
#: Of a request line, beside its target: method, version, spaces and line ends.
_LINE_REST = 64
#: Of a field line, beside name and value: colon, space and line end.
_FIELD_REST = 4


class _Sparing(logging.Filter):
    """Keeps of an exception its kind and its place: its text and its locals may hold a secret."""

    def filter(self, record: logging.LogRecord) -> bool:
        exc = record.exc_info[1] if record.exc_info else None
        if isinstance(exc, asyncio.CancelledError):
            return False  # a listener that ends cuts off what is left
        if exc is not None:
            where = traceback.extract_tb(exc.__traceback__)[-1]
            record.msg = "app.failed %s at %s:%d"
            record.args = (type(exc).__name__, where.filename, where.lineno or 0)
            record.exc_info = record.exc_text = None
        return True


_log = logging.getLogger(__name__)
_log.addFilter(_Sparing())


class _Broken(Exception):
    """Stops the parser; why is in the protocol."""


def _nothing() -> None:
    """Nobody is there to be closed any more."""


class _Line(asyncio.Transport):
    """The transport as request cycles see it: `close` is the protocol's."""

    def __init__(self, wire: asyncio.Transport, close: Callable[[], None]) -> None:
        super().__init__()
        self._wire, self._close = wire, close
        self.closing = False

    def write(self, data: Any) -> None:
        if not self.is_closing():
            self._wire.write(data)

    def close(self) -> None:
        self._close()

    def let_go(self) -> None:
        """The connection is over: nothing here leads back to its protocol."""
        self._close = _nothing

    def is_closing(self) -> bool:
        return self.closing or self._wire.is_closing()

    def pause_reading(self) -> None:
        self._wire.pause_reading()

    def resume_reading(self) -> None:
        self._wire.resume_reading()

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return self._wire.get_extra_info(name, default)


class DoorProtocol(HttpToolsProtocol):
    """One connection. All limits are class attributes; durations are seconds."""

    #: From the connection, or from the first byte of a further request, to the end of its fields.
    header_deadline = 10.0
    #: How long an idle connection is kept. Who keeps it for less, as most proxies do, never sends
    #: a request into one that is being closed.
    keep_alive = 180.0
    #: How long a client that still sends may go on after its answer, so that it can read it.
    linger = 2.0
    #: How long a client may take nothing of what is ready for it.
    stall = 60.0
    #: Of the target in the request line, and of all header fields together.
    max_target = 16 * 1024
    max_fields_size = 16 * 1024
    max_fields = 100
    #: Requests that wait for the answers to those before them; the connection ends with the last.
    #: uvicorn has no such number: each answer would let in another buffer full of requests.
    max_queued = 100
    #: Counts the connections; None: any number.
    capacity: Connections | None = None

    @staticmethod
    def on_broken(status: int, peer: str, /) -> None:
        """Told of each request that was turned away here."""

    def __init__(self, *args: Any, **named: Any) -> None:
        super().__init__(*args, **named)
        self.logger = _log
        self.access_log = False
        self.url = b""
        self._wire: asyncio.Transport
        self._line: _Line
        self._running: RequestResponseCycle | None = None
        #: The next byte belongs to a request line, a header field, or lies between requests.
        self._in_head = True
        #: A request has begun and its fields are not complete.
        self._begun = False
        #: Nothing is parsed any more, what comes is thrown away.
        self._deaf = False
        #: The status that the fault found while parsing deserves; 0: stop without an answer.
        self._fault = 400
        #: Whether the connection outlives this request, once its body is here.
        self._lasting = False
        self._fields = self._fields_size = 0
        #: Steps of the parser, and the bytes that came since the last of them.
        self._steps = self._without_step = 0
        self._timer: asyncio.TimerHandle | None = None
        self._due: float | None = None
        self._unsent = 0
        #: It is closed because it was idle, and reads on for a moment.
        self._ending = False

    # The connection

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self._wire = transport
        self._line = _Line(transport, self._close)
        super().connection_made(self._line)
        self._expect_within(self.header_deadline)
        if self.capacity is not None and not self.capacity.opened(self, self._peer()):
            self._refuse(503)

    def _peer(self) -> str:
        return self.client[0] if self.client else ""

    def connection_lost(self, exc: Exception | None) -> None:
        if self.capacity is not None:
            self.capacity.closed(self)
        # With requests queued, uvicorn tells only the last of them.
        self._forsake(self._running)
        self.pipeline.clear()
        super().connection_lost(exc)
        self._due = None
        if self._timer is not None:
            self._timer.cancel()
        # Else it waits for the collector, and most callbacks come on a connection of their own.
        self._line.let_go()

    def eof_received(self) -> bool | None:  # type: ignore[override]
        """True keeps the connection open for the answer to a client that has said all it will.

        Only for POST: to a GET that waits or streams, an end is how clients hang up.
        """
        if not self._busy() or self._deaf or not self._in_head or self._begun:
            return None
        self.cycle.keep_alive = False
        return self.scope["method"] == "POST"

    def shutdown(self) -> None:
        """End once what is being answered is answered; at once where that is nothing."""
        self._lasting = False
        super().shutdown()

    def end_with_answer(self) -> None:
        """End once what is being answered is answered; where that is nothing, stay."""
        if self._busy():
            self.shutdown()

    def end_idle(self) -> None:
        """Close an idle connection, but read on for a moment.

        A callback that was on its way is stored, although nobody can be told: a provider that never
        sends again would have lost it.
        """
        if self._line.is_closing():
            return
        if not self._wire.can_write_eof():
            self._line.close()
            return
        self._line.closing = self._ending = True
        self._wire.write_eof()
        self._expect_within(self.linger)

    def abort(self) -> None:
        """End now, and let the app know."""
        self._forsake(self._running)
        self._wire.abort()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._unsent = self._wire.get_write_buffer_size()
        self._expect_within(self.stall)

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._busy() and not self._line.is_closing():
            self._due = None

    # Time: one timer a connection, that looks when it rings whether it still matters

    def _expect_within(self, seconds: float) -> None:
        self._due = self.loop.time() + seconds
        if self._timer is None or self._timer.when() > self._due:
            self._ring_at(self._due)

    def _ring_at(self, when: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self.loop.call_at(when, self._rung)

    def _rung(self) -> None:
        self._timer = None
        if self._due is None:
            return
        if self.loop.time() < self._due:
            self._ring_at(self._due)
            return
        self._due = None
        self._too_late()

    def _too_late(self) -> None:
        if self._wire.get_write_buffer_size():
            self._wait_for_reader()
        elif self._line.is_closing():
            self._wire.abort()
        elif self._begun and not self._busy():
            self._refuse(408)
        elif self._busy():
            self._line.close()
        else:
            self.end_idle()

    def _wait_for_reader(self) -> None:
        """A slow reader gets its answer; one that takes nothing of it is let go."""
        unsent = self._wire.get_write_buffer_size()
        if 0 < self._unsent <= unsent:
            self._wire.abort()
            return
        self._unsent = unsent
        self._expect_within(self.stall)

    # Bytes

    def data_received(self, data: bytes) -> None:
        if self._deaf:
            return
        before = self._steps
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._go_on_without_upgrade(data[upgrade.args[0] :])
        except httptools.HttpParserError:
            self._give_up()
        else:
            self._count(len(data), stepped=self._steps != before)

    def _count(self, size: int, *, stepped: bool) -> None:
        """The parser keeps an unfinished field, of a head or of a trailer, at any length."""
        self._without_step = 0 if stepped else self._without_step + size
        if self._without_step > self.max_fields_size + len(self.url) + _LINE_REST:
            self._refuse(431)

    def _go_on_without_upgrade(self, rest: bytes) -> None:
        """Nothing is upgraded to here, and such a request has a body like any other.

        The parser takes it for one without: Java's HTTP client offers h2c with each POST.
        """
        version = self.parser.get_http_version().encode()
        line = b"%s %s HTTP/%s\r\n" % (self.parser.get_method(), self.url, version)
        fields = [b"%s: %s\r\n" % field for field in self.headers if field[0] != b"upgrade"]
        self.parser = httptools.HttpRequestParser(self)
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)
        self.data_received(b"".join((line, *fields, b"\r\n", rest)))

    def _broken(self, status: int) -> NoReturn:
        self._fault = status
        raise _Broken

    # What the parser finds

    def on_message_begin(self) -> None:
        if self.cycle is not None and self._is_last(self.cycle):
            self._broken(0)
        super().on_message_begin()
        self._begun = True
        if self.capacity is not None:
            self.capacity.busy(self)
        self._fields = self._fields_size = 0
        if self.cycle is not None and not self._busy():
            self._expect_within(self.header_deadline)

    def _is_last(self, cycle: RequestResponseCycle) -> bool:
        return not cycle.keep_alive or len(self.pipeline) >= self.max_queued

    def on_url(self, url: bytes) -> None:
        super().on_url(url)
        if len(self.url) > self.max_target:
            self._broken(414)

    def on_header(self, name: bytes, value: bytes) -> None:
        self._fields += 1
        self._fields_size += len(name) + len(value) + _FIELD_REST
        if self._fields > self.max_fields or self._fields_size > self.max_fields_size:
            self._broken(431)
        # uvicorn would add trailers, which come after the body, to the fields the app has read.
        if self._in_head:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        if not self._is_well_framed():
            self._broken(400)
        if self.parser.should_upgrade():
            return
        self._steps += 1
        super().on_headers_complete()
        self.scope["extensions"] = {EXCHANGE: Exchange(self.cycle)}  # type: ignore[dict-item]
        self._in_head = self._begun = False
        self._due = None
        # An answer that comes before the body is the last: an unread body is not swallowed.
        self._lasting = self.cycle.keep_alive
        self.cycle.keep_alive = False

    def _is_well_framed(self) -> bool:
        """RFC 9112, sections 3.2 and 6: what two servers could read as two different requests."""
        named: dict[bytes, list[bytes]] = {b"host": [], b"content-length": []}
        codings: list[bytes] = []
        for name, value in self.headers:
            if name == b"transfer-encoding":
                codings.append(value.strip(b" \t").lower())
            elif name in named:
                named[name].append(value)
        hosts, lengths = len(named[b"host"]), len(named[b"content-length"])
        version = self.parser.get_http_version()
        return (
            version in _VERSIONS
            and self.parser.get_method() != _CONNECT
            and (hosts == 1 or (hosts == 0 and version == "1.0"))
            and lengths + len(codings) <= 1
            and (not codings or (codings == [b"chunked"] and version == "1.1"))
        )

    def on_body(self, body: bytes) -> None:
        self._steps += 1
        super().on_body(body)

    def on_message_complete(self) -> None:
        if self._in_head:
            return  # an upgrade; see _go_on_without_upgrade
        self._steps += 1
        self._in_head = True
        if not self.cycle.response_started:
            self.cycle.keep_alive = self._lasting
        super().on_message_complete()

    # Cycles

    def _busy(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: ASGI3Application) -> None:
        self._running = cycle
        super()._start_asgi_task(cycle, app)

    def on_response_complete(self) -> None:
        self.server_state.total_requests += 1
        if self._ending:
            self._wire.close()
            return
        if self._line.is_closing():
            return
        self._due = None
        if self.pipeline:
            self._start_asgi_task(*self.pipeline.pop())
        elif self._begun:
            # What has begun behind a long answer was waiting for us, not we for it.
            self._expect_within(self.header_deadline)
        else:
            self._expect_within(self.keep_alive)
            if self.capacity is not None:
                self.capacity.idle(self)
        self.flow.resume_reading()

    def _forsake(self, cycle: RequestResponseCycle | None) -> None:
        """The app is told that its client is gone, and its answer goes nowhere."""
        if cycle is not None and not cycle.response_complete:
            cycle.disconnected = True
            cycle.message_event.set()

    # Ends

    def _give_up(self) -> None:
        if self._fault:
            self._refuse(self._fault)
            return
        # More requests than are answered here: the last one's answer says so.
        self._deaf = True
        self.cycle.keep_alive = False
        self.flow.pause_reading()

    def _refuse(self, status: int) -> None:
        self._deaf = True
        self._due = None
        self.on_broken(status, self._peer())
        answered = self._cut_body() if not self._in_head else False
        if answered:
            self._line.close()
        else:
            self._queue(_refusal(status))

    def _cut_body(self) -> bool:
        """The request whose body broke gets no further; whether its answer had begun."""
        cycle = self.cycle
        if self.pipeline and self.pipeline[0][0] is cycle:
            self.pipeline.popleft()
            return False
        self._forsake(cycle)
        self._running = None
        return cycle.response_started

    def _queue(self, app: ASGI3Application) -> None:
        self.cycle = self._cycle()
        if self._running is None or self._running.response_complete:
            self._start_asgi_task(self.cycle, app)
        else:
            self.flow.pause_reading()
            self.pipeline.appendleft((self.cycle, app))

    def _cycle(self) -> RequestResponseCycle:
        return RequestResponseCycle(
            scope={"type": "http", "method": "POST"},  # type: ignore[typeddict-item]
            transport=self._line,
            flow=self.flow,
            logger=self.logger,
            access_logger=self.access_logger,
            access_log=False,
            default_headers=self.server_state.default_headers,
            message_event=asyncio.Event(),
            expect_100_continue=False,
            keep_alive=False,
            on_response=self.on_response_complete,
        )

    def _close(self) -> None:
        """Close; but a client that is still sending reads its answer first.

        To close on bytes that nobody read resets the connection, and the reset overtakes the
        answer: a client that has sent 1 MiB would never see its 413.
        """
        if self._line.is_closing():
            self._wire.close()
            return
        self._line.closing = True
        sending = self._deaf or not self._in_head or bool(self.pipeline)
        self.pipeline.clear()
        self._deaf = True
        self._unsent = 0
        self._expect_within(self.linger)
        if not sending or not self._wire.can_write_eof():
            self._wire.close()
            return
        self._wire.write_eof()
        self.flow.resume_reading()


def door_protocol(
    rejected: OnRejected,
    *,
    keep_alive: float = DoorProtocol.keep_alive,
    capacity: Connections | None = None,
) -> type[DoorProtocol]:
    """The protocol that reports what it rejects. `keep_alive` is in seconds."""
    limits = {"keep_alive": keep_alive, "capacity": capacity}
    return type("Counted", (DoorProtocol,), {"on_broken": staticmethod(rejected), **limits})


def _refusal(status: int) -> ASGI3Application:
    body = f"{status} {http.HTTPStatus(status).phrase}\n".encode()
    headers = [
        (b"content-type", b"text/plain; charset=utf-8"),
        (b"content-length", b"%d" % len(body)),
        (b"connection", b"close"),
    ]
    if status == http.HTTPStatus.SERVICE_UNAVAILABLE:
        headers.append((b"retry-after", b"5"))

    async def refuse(_scope: Any, _receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    return refuse
