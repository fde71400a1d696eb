"""HTTP on the wire: uvicorn's protocol with limits and deadlines.

    data_received -> parser -> on_headers_complete -> the door's exchange, or the app's cycle
                       |                                                       |
                       fault -> _refuse: an exchange that answers 400, 431     close -> linger

Exchanges and cycles wait their turn behind the answers to the requests before them on the same
connection.
"""

import asyncio
import operator
from collections.abc import Callable
from typing import Any, NoReturn

import httptools
from uvicorn._types import ASGI3Application
from uvicorn.protocols.http.flow_control import HIGH_WATER_LIMIT
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from .connections import Connections
from .exchange import Exchange, Head, RequestHandler, log, plain_answer
from .fields import field_names
from .flow import CycleTransport, Flow, Pipeline, prepare
from .timers import call_at

#: Called with the status and the socket's address for each request that was rejected here.
OnRejected = Callable[[int, str], None]
_Cycle = RequestResponseCycle | Exchange

#: The name in the `state` of a scope: a function that takes a callback without arguments. The
#: callback is called if the client goes away before its answer is complete. It takes far less
#: memory than a task that waits for `http.disconnect`.
GONE = "when_gone"

_CONNECT = b"CONNECT"
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
_VERSIONS = ("1.0", "1.1")
#: Bytes of a request line without its target: method, version, spaces and line ends.
_LINE_REST = 64
#: Bytes of a field line without name and value: colon, space and line end.
_FIELD_REST = 4
#: Bytes of the fields up to which their names are cached, to limit the memory for hostile ones.
_CACHED = 2048


class _Broken(Exception):
    """Stops the parser; the protocol has the reason."""


class DoorProtocol(HttpToolsProtocol):
    """One connection. All limits are class attributes; durations are seconds."""

    # Beside uvicorn's attributes, these would need a dict: a kilobyte more for each connection.
    __slots__ = (
        *("_begun", "_cycle_transport", "_discarding", "_due", "_ended", "_ending", "_fault"),
        *("_fields", "_fields_size", "_gone", "_in_head", "_lasting", "_names", "_parsing"),
        *("_peer", "_running", "_steps", "_timer", "_unsent", "_values", "_wire", "_without_step"),
    )

    #: From the connection, or from the first byte of a later request, to the end of its fields.
    header_deadline = 10.0
    #: For the whole body of a request for the door, from the end of its fields.
    body_deadline = 8.0
    #: The time that an idle connection is kept. A client that keeps it for less, as most proxies
    #: do, never sends a request into a connection that is being closed.
    keep_alive = 180.0
    #: The time in which a client may still send after its answer, so that it can read the answer.
    linger = 2.0
    #: The time that a client may read nothing of its answer.
    stall = 60.0
    #: Bytes of the target in the request line, and of all header fields together.
    max_target = 16 * 1024
    max_fields_size = 16 * 1024
    max_fields = 100
    #: Requests that may wait for the answers before them; the connection ends after the last.
    #: uvicorn has no limit: each answer would let in another buffer full of requests.
    max_queued = 100
    #: Counts and limits the connections; None: no limit.
    capacity: Connections | None = None
    #: Answers the requests that it serves; the app answers all others.
    door: RequestHandler[Any] | None = None

    @staticmethod
    def on_broken(status: int, peer: str, /) -> None:
        """Report a request that was rejected here."""

    def __init__(self, *args: Any, **named: Any) -> None:
        super().__init__(*args, **named)
        self.logger = log
        self.access_log = False
        self.pipeline = Pipeline()  # type: ignore[assignment]
        self.url = b""
        self._wire: asyncio.Transport
        #: The client's address; empty if unknown.
        self._peer = ""
        self._cycle_transport: CycleTransport
        self._running: _Cycle | None = None
        #: The request that wants to know if its client goes away, and its callback.
        self._gone: tuple[_Cycle | None, Callable[[], None]] | None = None
        #: The parser has bytes that it has not read. Meanwhile nothing is answered.
        self._parsing = False
        #: The next byte belongs to a request line or header field, or is between requests.
        self._in_head = True
        #: A request has begun and its fields are incomplete.
        self._begun = False
        #: Further bytes are discarded.
        self._discarding = False
        #: The status for a fault found while parsing; 0: stop without an answer.
        self._fault = 400
        #: Whether the connection stays open after this request, once its body is complete.
        self._lasting = False
        self._fields = self._fields_size = 0
        #: The fields of the head, as sent.
        self._names: list[bytes] = []
        self._values: list[bytes] = []
        #: Steps of the parser, and the bytes received since the last step.
        self._steps = self._without_step = 0
        self._timer: asyncio.TimerHandle | None = None
        self._due: float | None = None
        self._unsent = 0
        #: It was idle, and reads a moment longer. The client ended after a request that is no POST.
        self._ending = self._ended = False

    # The connection

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self._wire = transport
        self._cycle_transport = CycleTransport(transport, self._close)
        super().connection_made(self._cycle_transport)
        self._peer = self.client[0] if self.client else ""
        self.flow = Flow(self._cycle_transport)
        self._expect_within(self.header_deadline)
        if self.capacity is not None and not self.capacity.opened(self, self._peer):
            self._refuse(503)

    def connection_lost(self, exc: Exception | None) -> None:
        if self.capacity is not None:
            self.capacity.closed(self)
        # With requests queued, uvicorn notifies only the last of them.
        self._disconnect(self._running)
        self.pipeline.clear()
        super().connection_lost(exc)
        self._due = None
        self._drop_timer()
        # Otherwise each connection waits for the collector, and most callbacks use a new one.
        self._cycle_transport.release()
        if self.scope is not None:
            # It no longer refers to the protocol. An app that asks later is called at once.
            self.scope["state"][GONE] = operator.call

    def eof_received(self) -> bool | None:  # type: ignore[override]
        """Return True to stay open for an answer. A client ends a GET that waits in this way."""
        if not self._busy() or self._discarding or not self._in_head or self._begun:
            return None
        self.cycle.keep_alive = False
        self._ended = self.parser.get_method() != b"POST"
        if self._ended:
            self._expect_within(self.linger)
        return not self._ended or self._gone is None

    def shutdown(self) -> None:
        """Close after the current answer, or at once if there is no request."""
        self._lasting = False
        super().shutdown()

    def end_with_answer(self) -> bool:
        """Close after the current answer, and return whether there is one; else stay open."""
        busy = self._busy()
        if busy:
            self.shutdown()
        return busy

    def end_idle(self) -> None:
        """Close an idle connection, but go on reading for a moment.

        A callback that was on its way is stored, although it gets no answer. Otherwise it would be
        lost with a provider that never retries.
        """
        if self._cycle_transport.is_closing():
            return
        if not self._wire.can_write_eof():
            self._cycle_transport.close()
            return
        self._cycle_transport.closing = self._ending = True
        self._wire.write_eof()
        self._expect_within(self.linger)

    def abort(self) -> None:
        """Close now, and report it to the app."""
        self._disconnect(self._running)
        self._wire.abort()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._unsent = self._wire.get_write_buffer_size()
        self._expect_within(self.stall)

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._busy() and not self._cycle_transport.is_closing():
            self._due = None
        self._go_on()

    # Deadlines: one timer for each connection, which checks `_due` when it fires

    def _expect_nothing(self) -> None:
        """Lift the deadline, but not that of a client that reads nothing."""
        if not self.flow.write_paused:
            self._due = None

    def _expect_within(self, seconds: float) -> None:
        self._due = self.loop.time() + seconds
        if self._timer is None or self._timer.when() > self._due:
            self._set_timer(self._due)

    def _drop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _set_timer(self, when: float) -> None:
        self._drop_timer()
        self._timer = call_at(self.loop, when, self._on_timer)

    def _on_timer(self) -> None:
        self._timer = None
        if self._due is None:
            return
        if self.loop.time() < self._due:
            self._set_timer(self._due)
            return
        self._due = None
        unsent = self._wire.get_write_buffer_size()
        if unsent:
            # A client may read slowly, but not stop reading.
            if 0 < self._unsent <= unsent:
                self._wire.abort()
                return
            self._unsent = unsent
            self._expect_within(self.stall)
        elif self._cycle_transport.is_closing():
            self._wire.abort()
        elif self._begun and not self._busy():
            self._refuse(408)
        elif isinstance(self._running, Exchange) and self._running.more_body:
            self._go_on(late=True)
        elif self._busy():
            self._cycle_transport.close()
        else:
            self.end_idle()

    # Bytes

    def data_received(self, data: bytes) -> None:
        if self._discarding:
            return
        before, begun = self._steps, self._begun
        self._parsing = True
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._go_on_without_upgrade(data[upgrade.args[0] :])
        except httptools.HttpParserError:
            if self._fault:
                self._refuse(self._fault)
            else:
                # The client sent too many requests: the last answer closes the connection.
                self._discarding = True
                self.cycle.keep_alive = False
                self.flow.pause_reading()
        else:
            # The parser keeps an unfinished field, of a head or of a trailer, at any length.
            self._without_step = 0 if self._steps != before else self._without_step + len(data)
            if self._without_step > self.max_fields_size + len(self.url) + _LINE_REST:
                self._refuse(431)
            elif self._begun and not begun and self.cycle is not None and not self._busy():
                self._expect_within(self.header_deadline)
        self._parsing = False
        # After the bytes of all connections: each handler of a socket takes the interpreter's lock
        # again, and may wait for the thread that writes.
        self.loop.call_soon(self._go_on)

    def _go_on_without_upgrade(self, rest: bytes) -> None:
        """Parse a request that offers an upgrade again, without the offer.

        The parser reads no body after an offer, but Java's HTTP client offers h2c with each POST.
        """
        version = self.parser.get_http_version().encode()
        line = b"%s %s HTTP/%s\r\n" % (self.parser.get_method(), self.url, version)
        sent = zip(self._names, self._values, strict=True)
        fields = [b"%s: %s\r\n" % field for field in sent if field[0].lower() != b"upgrade"]
        self.parser = httptools.HttpRequestParser(self)
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)
        self.data_received(b"".join((line, *fields, b"\r\n", rest)))

    def _broken(self, status: int) -> NoReturn:
        self._fault = status
        raise _Broken

    # Events of the parser

    def on_message_begin(self) -> None:
        if self.cycle is not None and (
            not self.cycle.keep_alive or len(self.pipeline) >= self.max_queued
        ):
            self._broken(0)
        self.url, self._names, self._values = b"", [], []
        self._begun = True
        if self.capacity is not None:
            self.capacity.busy(self)
        self._fields = self._fields_size = 0

    def on_url(self, url: bytes) -> None:
        self.url += url
        if len(self.url) > self.max_target:
            self._broken(414)

    def on_header(self, name: bytes, value: bytes) -> None:
        self._fields += 1
        self._fields_size += len(name) + len(value) + _FIELD_REST
        if self._fields > self.max_fields or self._fields_size > self.max_fields_size:
            self._broken(431)
        # uvicorn would add trailers, which follow the body, to the fields that the app has read.
        if self._in_head:
            self._names.append(name)
            self._values.append(value)

    def on_headers_complete(self) -> None:
        version, method = self.parser.get_http_version(), self.parser.get_method()
        read = field_names if self._fields_size <= _CACHED else field_names.__wrapped__
        names, values = read(tuple(self._names)), self._values
        is_known = version in _VERSIONS and method != _CONNECT
        if not is_known or not names.are_well_framed(values, version):
            self._broken(400)
        if self.parser.should_upgrade():
            return
        self._steps += 1
        url = httptools.parse_url(self.url)
        if not url.path or not url.path.isascii():
            self._broken(400)
        expects = names.expect_continue(values)
        if self.door is not None and self.door.serves(url.path):
            head = Head(method.decode(), url.path, url.query or b"", names, values, self._peer)
            lasts = version != "1.0" and self.parser.should_keep_alive()
            self._queue(Exchange(self.door, head, keep_alive=lasts, expects=expects))
        else:
            url_sent = self.url
            super().on_message_begin()  # makes the scope, which only an app needs
            self.url, self.expect_100_continue = url_sent, expects
            self.headers += zip(names.names, values, strict=True)
            self.scope["state"][GONE] = self._notify
            super().on_headers_complete()
            prepare(self.cycle)
            # The scope has them, and a call may wait for long.
            self.url, self._names, self._values = b"", [], []
            if not self.flow.write_paused:
                self._drop_timer()  # it takes half a kilobyte
        self._in_head = self._begun = False
        self._expect_nothing()
        # An answer before the end of the body is the last one: an unread body is not skipped.
        self._lasting = self.cycle.keep_alive
        self.cycle.keep_alive = False

    def on_body(self, body: bytes) -> None:
        self._steps += 1
        if not isinstance(self.cycle, Exchange):
            super().on_body(body)
        elif not self.cycle.response_complete:
            self.cycle.body += body
            if len(self.cycle.body) > HIGH_WATER_LIMIT:
                self.flow.pause_reading()

    def on_message_complete(self) -> None:
        if self._in_head:
            return  # an upgrade; see _go_on_without_upgrade
        self._steps += 1
        self._in_head = True
        if not self.cycle.response_started:
            self.cycle.keep_alive = self._lasting
        if isinstance(self.cycle, Exchange):
            self.cycle.more_body = False
        else:
            super().on_message_complete()

    # Cycles and exchanges

    def _busy(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _queue(self, exchange: Exchange) -> None:
        """Start an exchange now, or after the requests before it."""
        self.cycle = exchange  # type: ignore[assignment]
        if self._running is None or self._running.response_complete:
            self._running = exchange
        else:
            self.flow.pause_reading()
            self.pipeline.appendleft((exchange, self.app))  # type: ignore[arg-type]

    def _start_asgi_task(self, cycle: _Cycle, app: ASGI3Application) -> None:
        self._running = cycle
        if isinstance(cycle, Exchange):
            self.loop.call_soon(self._go_on)
        else:
            super()._start_asgi_task(cycle, app)

    def _go_on(self, *, late: bool = False) -> None:
        """Advance the current exchange, but not while the parser runs."""
        it = self._running
        if not isinstance(it, Exchange) or self._parsing or it.response_complete or it.disconnected:
            return
        if it.answer is None:
            it.step(self._go_on, late=late)
        if it.answer is None and it.more_body:
            if it.expects:
                self._cycle_transport.write(_CONTINUE)
                it.expects = False
            if self._due is None:
                self._expect_within(self.body_deadline)
            self.flow.resume_reading()
        elif it.answer is not None and not it.response_complete and not self.flow.write_paused:
            self._cycle_transport.write(it.response(it.answer))
            if not it.keep_alive:
                self._cycle_transport.close()
            self.on_response_complete()

    def on_response_complete(self) -> None:
        self.server_state.total_requests += 1
        self._gone = None
        if self._ending:
            self._wire.close()
            return
        if self._cycle_transport.is_closing():
            return
        if self.pipeline:
            self._expect_nothing()
            self._start_asgi_task(*self.pipeline.pop())
        elif self._begun:
            # A request that began behind a long answer gets its whole time from now on.
            self._expect_within(self.header_deadline)
        else:
            self._expect_within(self.keep_alive)
            if self.capacity is not None:
                self.capacity.idle(self)
        self.flow.resume_reading()

    def _notify(self, gone: Callable[[], None]) -> None:
        # An app runs only while its request is the first of its connection.
        self._gone = self._running, gone
        if self._ended:
            self._wire.close()

    def _disconnect(self, cycle: _Cycle | None) -> None:
        """Report to the app that its client is gone, and discard its answer."""
        if cycle is not None and not cycle.response_complete:
            cycle.disconnected = True
            cycle.message_event.set()
            if self._gone is not None and self._gone[0] is cycle:
                (_, gone), self._gone = self._gone, None
                gone()

    # Ends

    def _refuse(self, status: int) -> None:
        self._discarding = True
        self._due = None
        self.on_broken(status, self._peer)
        if not self._in_head:
            # The body is broken: drop its request. An answer that has begun is cut off.
            if self.pipeline and self.pipeline[0][0] is self.cycle:
                del self.pipeline[0]
            else:
                self._disconnect(self.cycle)
                self._running = None
                if self.cycle.response_started:
                    self._cycle_transport.close()
                    return
        self._queue(Exchange(answer=plain_answer(status)))
        self._go_on()

    def _close(self) -> None:
        """Close, but let a client that is still sending read its answer first.

        Closing with unread bytes resets the connection, and the reset overtakes the answer: a
        client that has sent 1 MiB would never see its 413.
        """
        if self._cycle_transport.is_closing():
            self._wire.close()
            return
        self._cycle_transport.closing = True
        sending = self._discarding or not self._in_head or bool(self.pipeline)
        self.pipeline.clear()
        self._discarding = True
        self._unsent = 0
        self._expect_within(self.linger)
        if not sending or not self._wire.can_write_eof():
            self._wire.close()
            return
        self._wire.write_eof()
        self.flow.resume_reading()


def make_protocol(rejected: OnRejected, **limits: Any) -> type[DoorProtocol]:
    """Return a protocol that reports its rejections; `limits` are attributes of its class."""
    return type(
        "ReportingProtocol", (DoorProtocol,), {"on_broken": staticmethod(rejected), **limits}
    )
