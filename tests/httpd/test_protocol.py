import asyncio
import contextlib
import gc
import logging
import re
import secrets
import socket
import struct

import pytest
from msgspec import Struct
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from httpd.connections import Connections
from httpd.exchange import Exchange, Response
from httpd.fields import field_names
from httpd.listener import Listener
from httpd.protocol import GONE, DoorProtocol, make_protocol

REQUEST = b"POST /in HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\npin=1"
LAST = b"Connection: close\r\nHost"
PARTS = b"3\r\npin\r\n2;x=y\r\n=1\r\n0\r\n\r\n"
FIELDS = 16 * 1024


@pytest.fixture(autouse=True, params=["app", "door"])
def way(request, monkeypatch):
    """Run each test with an ASGI app, and with a door."""
    monkeypatch.setattr(App, "is_door", request.param == "door")
    return request.param


class App:
    """Answers 200 with the request's body after `delay` seconds, and records requests.

    It is an ASGI app, and a door that serves everything.
    """

    is_door = False

    def __init__(self, *, max_body=65536, delay=0.0):
        self.seen = []
        self.max_body, self.delay = max_body, delay
        self._news = asyncio.Condition()

    async def has_seen(self, count):
        async with asyncio.timeout(5), self._news:
            await self._news.wait_for(lambda: len(self.seen) >= count)

    async def _see(self, request):
        self.seen.append(request)
        await self._notify()

    async def _notify(self):
        async with self._news:
            self._news.notify_all()

    async def __call__(self, scope, receive, send):
        await asyncio.sleep(self.delay)
        body, whole = b"", False
        while not whole:
            message = await receive()
            body += message.get("body", b"")
            if message["type"] == "http.disconnect":
                self.seen.append("disconnect")
                return
            if len(body) > self.max_body:
                await answer(send, 413, b"too much")
                return
            whole = not message["more_body"]
        await self._see((scope["method"], scope["path"], body))
        await answer(send, 200, body)

    def serves(self, _path):
        return True

    def admit(self, head):
        return Admission(head, self.max_body)

    def refuse(self, _admission, status):
        return answered(status, {413: b"too much", 408: b"too late"}[status])

    def take(self, admission, body, answer):
        if not self.delay:
            self.seen.append((admission.head.method, admission.head.path.decode(), body))
            self.taking = asyncio.create_task(self._notify())
            answer(answered(200, body))
            answer(answered(500, b"a second answer"))
            return

        async def take():
            await asyncio.sleep(self.delay)
            await self._see((admission.head.method, admission.head.path.decode(), body))
            answer(answered(200, body))

        self.taking = asyncio.create_task(take())


class Admission(Struct):
    head: object
    max_body: int


def answered(status, body, *fields):
    lines = [b"%s: %s\r\n" % field for field in ((b"content-length", b"%d" % len(body)), *fields)]
    return Response(status, b"".join(lines), body)


async def answer(send, status, body=b""):
    headers = [(b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


class Door:
    """A listener on loopback, and the rejections it reported."""

    def __init__(self, app, protocol=DoorProtocol, **limits):
        self.app = app
        self.rejected = []
        counted = make_protocol(
            lambda status, peer: self.rejected.append((status, peer)),
            door=app if getattr(app, "is_door", False) else None,
        )
        self.protocol = type(
            "Limited", (counted if protocol is DoorProtocol else protocol,), dict(limits)
        )
        self.listener = Listener(app, self.protocol)

    async def __aenter__(self):
        sock = socket.socket()
        sock.bind(("127.0.0.1", 0))
        self.port = sock.getsockname()[1]
        await self.listener.start(sock)
        return self

    async def __aexit__(self, *_):
        await self.listener.finish(0.2)

    @contextlib.asynccontextmanager
    async def call(self):
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            yield reader, writer
        finally:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    async def exchange(self, *parts, within=5.0, pause=0.02):
        """Send bytes in parts, and return all bytes until the door closes."""
        async with self.call() as (reader, writer):
            for part in parts:
                writer.write(part)
                await asyncio.sleep(pause if len(parts) > 1 else 0)
            async with asyncio.timeout(within):
                return await reader.read()

    async def has_tasks(self, count):
        return await holds(lambda: len(self.listener.server_state.tasks) == count)

    async def has_begun(self):
        return await holds(lambda: any(it._begun for it in self.listener.server_state.connections))

    def open_connections(self):
        return len(self.listener.server_state.connections)

    async def has_open_connections(self, count):
        return await holds(lambda: self.open_connections() == count)


async def holds(check):
    """Whether the condition holds within fifteen seconds."""
    for _ in range(1500):
        if check():
            return True
        await asyncio.sleep(0.01)
    return False


def statuses(answers):
    return [int(status) for status in re.findall(rb"HTTP/1\.1 (\d{3}) ", answers)]


def fields(size, count=1):
    """Return header fields, `Host` included, that take `size` bytes on the wire."""
    each, rest = divmod(size - len(b"Host: h\r\n"), count)
    lines = [b"X: " + b"a" * (each - 5) + b"\r\n" for _ in range(count - 1)]
    last = b"X: " + b"a" * (each + rest - 5) + b"\r\n"
    return b"".join([b"Host: h\r\n", *lines, last])


def get(field_lines, target=b"/"):
    return b"GET %s HTTP/1.1\r\n%s\r\n" % (target, field_lines)


REFUSED_400 = (
    b"HTTP/1.1 400 Bad Request\r\n"
    b"content-type: text/plain; charset=utf-8\r\n"
    b"content-length: 16\r\n"
    b"connection: close\r\n"
    b"\r\n"
    b"400 Bad Request\n"
)


# Valid requests


async def test_connection_serves_several_requests():
    async with Door(App()) as door, door.call() as (reader, writer):
        for _ in range(60):
            writer.write(REQUEST)
            answered = await reader.readuntil(b"pin=1")

            assert answered == b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\npin=1"

    assert door.app.seen == [("POST", "/in", b"pin=1")] * 60
    assert door.rejected == []


@pytest.mark.parametrize(
    "request_",
    [
        b"POST /in HTTP/1.0\r\nContent-Length: 5\r\n\r\npin=1",
        b"POST /in HTTP/1.0\r\nHost: h\r\nContent-Length: 5\r\n\r\npin=1",
        b"POST http://h/in HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\npin=1",
        b"POST /in HTTP/1.1\r\nHost:\r\nContent-Length: 5\r\n\r\npin=1",
        b"\r\n\r\nPOST /in HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\npin=1\r\n",
        b"POST /in HTTP/1.1\r\nHost: h\r\ntransfer-encoding: \tChunked \r\n\r\n%s" % PARTS,
    ],
    ids=["http10", "http10-host", "absolute", "empty-host", "line-ends-around", "chunked"],
)
@pytest.mark.parametrize("size", [1, 7, 1000])
async def test_valid_request_arrives_however_it_is_cut(request_, size):
    async with Door(App()) as door:
        parts = [request_[i : i + size] for i in range(0, len(request_), size)]
        async with door.call() as (reader, writer):
            for part in parts:
                writer.write(part)
                await asyncio.sleep(0)
            answered = await asyncio.wait_for(reader.readuntil(b"pin=1"), 5)

    assert statuses(answered) == [200]
    assert door.app.seen == [("POST", "/in", b"pin=1")]


async def test_expect_100_continue_is_answered_when_the_app_reads():
    head, body = REQUEST[:-5], REQUEST[-5:]
    async with Door(App()) as door, door.call() as (reader, writer):
        writer.write(head.replace(b"\r\n\r\n", b"\r\nExpect: 100-continue\r\n\r\n"))
        first = await reader.readuntil(b"\r\n\r\n")
        writer.write(body)
        second = await reader.readuntil(body)

    assert (statuses(first), statuses(second)) == ([100], [200])
    assert b"connection: close" not in second


async def test_client_that_half_closes_after_its_request_is_answered():
    """Mutant: uvicorn closes at the client's end, and a stored callback is sent again."""

    async with Door(App(delay=0.1)) as door, door.call() as (reader, writer):
        writer.write(REQUEST)
        writer.write_eof()
        answered = await asyncio.wait_for(reader.read(), 5)

    assert statuses(answered) == [200]
    assert door.app.seen == [("POST", "/in", b"pin=1")]


@pytest.mark.parametrize("before", [b"", REQUEST])
async def test_client_that_half_closes_after_a_get_is_answered(before):
    """`nc -N` does so. Mutant: only a POST keeps the connection."""
    async with Door(App(delay=0.1)) as door, door.call() as (reader, writer):
        writer.write(before + get(b"Host: h\r\n"))
        writer.write_eof()
        answered = await asyncio.wait_for(reader.read(), 5)

    assert statuses(answered) == [200] * len(door.app.seen)
    assert door.app.seen[-1][0] == "GET"


async def test_get_that_waits_ends_with_the_sending_of_its_client():
    """Its client is probably gone. Mutant: it waits for the deadline."""
    notified = asyncio.Event()

    async def waiting(scope, _receive, _send):
        await asyncio.sleep(0.05)  # the end has arrived
        scope["state"][GONE](notified.set)
        await notified.wait()

    async with Door(waiting, linger=60.0) as door, door.call() as (reader, writer):
        writer.write(get(b"Host: h\r\n"))
        writer.write_eof()

        assert await asyncio.wait_for(reader.read(), 5) == b""
        assert notified.is_set()


async def test_client_that_closes_during_a_get_is_noticed():
    gone = asyncio.Event()

    async def waiting(_scope, receive, _send):
        await receive()
        assert await receive() == {"type": "http.disconnect"}
        gone.set()

    async with Door(waiting, linger=0.1) as door, door.call() as (_, writer):
        writer.write(get(b"Host: h\r\n"))
        await asyncio.sleep(0.05)
        writer.close()

        await asyncio.wait_for(gone.wait(), 5)


@pytest.mark.parametrize(
    ("offer", "body"),
    [
        (b"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Protocol: \xff\xfe", b""),
        (b"Upgrade: h2c\r\nConnection: Upgrade, HTTP2-Settings\r\nHTTP2-Settings: AA", b""),
        (b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AA", b"pin=1"),
    ],
)
@pytest.mark.parametrize("pause", [0, 0.05])
async def test_upgrade_is_ignored_and_the_request_is_answered(offer, body, pause):
    """Mutant: with uvicorn alone the body is lost, or read as a further request."""
    head = b"POST /in HTTP/1.1\r\nHost: h\r\n%s\r\nContent-Length: %d\r\n\r\n" % (offer, len(body))
    async with Door(App()) as door, door.call() as (reader, writer):
        for _ in range(2):
            writer.write(head)
            await asyncio.sleep(pause)
            writer.write(body)
            answered = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n" + body), 5)

            assert statuses(answered) == [200]

    assert door.app.seen == [("POST", "/in", body)] * 2


async def test_trailers_do_not_change_the_fields():
    """Mutant: uvicorn adds trailers to the scope: an X-Forwarded-For that no proxy has seen."""
    seen = []

    async def app(scope, receive, send):
        while (await receive())["more_body"]:
            pass
        seen.extend(scope["headers"])
        await answer(send, 200)

    async with Door(app) as door:
        await door.exchange(
            CHUNKED + b"Connection: close\r\n\r\n",
            b"1\r\na\r\n0\r\nX-Forwarded-For: 192.0.2.1\r\n\r\n",
        )

    assert [name for name, _ in seen] == [b"host", b"transfer-encoding", b"connection"]


# Broken HTTP


CHUNKED = b"POST /in HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n"
BROKEN = {
    "no-host": b"GET / HTTP/1.1\r\n\r\n",
    "two-hosts": b"POST / HTTP/1.1\r\nHost: a\r\nHost: b\r\nContent-Length: 5\r\n\r\npin=1",
    "same-host-twice": get(b"Host: a\r\nhost: a\r\n"),
    "two-hosts-in-1.0": b"GET / HTTP/1.0\r\nHost: a\r\nHost: a\r\n\r\n",
    "length-and-chunked": CHUNKED + b"Content-Length: 5\r\n\r\n0\r\n\r\n",
    "chunked-and-length": REQUEST.replace(b"\r\n\r\n", b"\r\nTransfer-Encoding: chunked\r\n\r\n"),
    "lengths-that-differ": REQUEST.replace(b"\r\n\r\n", b"\r\nContent-Length: 6\r\n\r\n"),
    "lengths-alike": REQUEST.replace(b"\r\n\r\n", b"\r\nContent-Length: 5\r\n\r\n"),
    "length-list": REQUEST.replace(b": 5", b": 5, 5"),
    "length-signed": REQUEST.replace(b": 5", b": +5"),
    "length-empty": REQUEST.replace(b": 5", b":"),
    "length-hex": REQUEST.replace(b": 5", b": 0x5"),
    "xchunked": CHUNKED.replace(b"chunked", b"xchunked") + b"\r\n0\r\n\r\n",
    "gzip-chunked": CHUNKED.replace(b"chunked", b"gzip, chunked") + b"\r\n0\r\n\r\n",
    "chunked-twice": CHUNKED.replace(b"chunked", b"chunked, chunked") + b"\r\n0\r\n\r\n",
    "identity": CHUNKED.replace(b"chunked", b"identity") + b"\r\n0\r\n\r\n",
    "coding-empty": CHUNKED.replace(b" chunked", b"") + b"\r\n0\r\n\r\n",
    "coding-vertical-tab": CHUNKED.replace(b" chunked", b" \x0bchunked") + b"\r\n0\r\n\r\n",
    "codings-in-two": CHUNKED + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "chunked-in-1.0": CHUNKED.replace(b"1.1", b"1.0") + b"\r\n0\r\n\r\n",
    "space-before-colon": REQUEST.replace(b"Length:", b"Length :"),
    "no-colon": get(b"Host: h\r\nX\r\n"),
    "empty-name": get(b"Host: h\r\n: x\r\n"),
    "nul": get(b"Host: h\r\nX: a\0b\r\n"),
    "fold": get(b"Host: h\r\nX: 1\r\n 2\r\n"),
    "bare-lf": REQUEST.replace(b"\r\n", b"\n"),
    "bare-cr": get(b"Host: h\r\nX: a\rY: b\r\n"),
    "tls": b"\x16\x03\x01\x00\xa5\x01\x00\x00\xa1\x03\x03\x00",
    "http2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "version-2": b"GET / HTTP/2.0\r\nHost: h\r\n\r\n",
    "version-0.9": b"GET / HTTP/0.9\r\nHost: h\r\n\r\n",
    "method": get(b"Host: h\r\n").replace(b"GET", b"FOO"),
    "connect": b"CONNECT 127.0.0.1:22 HTTP/1.1\r\nHost: 127.0.0.1:22\r\n\r\n",
    "connect-path": b"CONNECT /in HTTP/1.1\r\nHost: h\r\n\r\n",
    "target-space": get(b"Host: h\r\n", b"/ /"),
    "target-none": get(b"Host: h\r\n", b""),
    "target-no-path": get(b"Host: h\r\n", b"http://h"),
}


@pytest.mark.parametrize("name", BROKEN)
@pytest.mark.parametrize("cut", [False, True], ids=["whole", "bytewise"])
async def test_broken_http_is_answered_400_and_not_passed_on(name, cut):
    """Mutant: httptools accepts two or no Hosts, `gzip, chunked` and signed lengths."""
    request = BROKEN[name]
    parts = [request[i : i + 1] for i in range(len(request))] if cut else [request]
    async with Door(App()) as door:
        answered = await door.exchange(*parts, pause=0)

    assert answered == REFUSED_400
    assert door.app.seen == []
    assert door.rejected == [(400, "127.0.0.1")]


@pytest.mark.parametrize(
    "chunks",
    [b"5\r\npin=1XX0\r\n\r\n", b"FFFFFFFFFFFFFFFFF\r\npin=1\r\n", b"-1\r\n", b"5 \r\n", b"\r\n"],
)
@pytest.mark.parametrize("pause", [0, 0.05])
async def test_broken_body_is_answered_400_and_disconnects_the_app(chunks, pause, way):
    """Mutant: without the disconnect the app waits for the rest of the body for ever."""
    async with Door(App()) as door, door.call() as (reader, writer):
        writer.write(CHUNKED + b"\r\n")
        await asyncio.sleep(pause)
        writer.write(chunks)
        answered = await asyncio.wait_for(reader.read(), 5)

        assert answered == REFUSED_400
        assert door.app.seen == (["disconnect"] if way == "app" else [])
        assert door.rejected == [(400, "127.0.0.1")]


async def test_broken_body_ends_an_answer_that_has_begun():
    async def early(_scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"half", "more_body": True})
        while (await receive())["type"] != "http.disconnect":
            pass
        await send({"type": "http.response.body", "body": b"rest"})

    async with Door(early) as door:
        answered = await door.exchange(CHUNKED + b"\r\n", b"XX\r\n", pause=0.05)

    assert statuses(answered) == [200]
    assert answered.endswith(b"4\r\nhalf\r\n")
    assert door.rejected == [(400, "127.0.0.1")]


# Limits


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (get(fields(FIELDS)), 200),
        (get(fields(FIELDS, 90)), 200),
        (get(fields(FIELDS + 1)), 431),
        (get(fields(FIELDS + 1, 90)), 431),
        (get(fields(1000, 99)), 200),
        (get(fields(1000, 100)), 431),
        (get(b"Host: h\r\n", b"/" + b"a" * (FIELDS - 1)), 200),
        (get(b"Host: h\r\n", b"/" + b"a" * FIELDS), 414),
        (get(fields(FIELDS), b"/" + b"a" * (FIELDS - 1)), 200),
        (get(fields(FIELDS + 100))[:-4], 431),
        (b"GET /" + b"a" * 2 * FIELDS, 414),
        (b"GET / HTTP/1.1\r\n" + b"X" * 2 * FIELDS, 431),
        (b"\r\n" * FIELDS, 431),
        (get(fields(10_000_000)), 431),
        (get(b"Host: h\r\n" + b"X:\r\n" * 1_000_000), 431),
    ],
)
@pytest.mark.parametrize("further", [False, True], ids=["first", "further"])
@pytest.mark.parametrize("size", [1000, 1_000_000])
async def test_head_has_limits_whether_it_ends_or_not(request_, status, further, size):
    """Mutant: uvicorn answers 10 MB of header fields with 200, and keeps unfinished ones."""
    async with Door(App()) as door, door.call() as (reader, writer):
        if further:
            writer.write(REQUEST)
            await reader.readuntil(b"pin=1")
        with contextlib.suppress(ConnectionError):
            for start in range(0, len(request_), size):
                writer.write(request_[start : start + size])
                await writer.drain()
        answered = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 5)

    assert statuses(answered) == [status]
    assert door.rejected == ([] if status == 200 else [(status, "127.0.0.1")])
    assert len(door.app.seen) == further + (status == 200)


@pytest.mark.parametrize(
    "trailer", [b"X: y\r\n" * 101, b"X: " + b"a" * 2 * FIELDS, b"X: y\r\n" * 10_000]
)
async def test_trailers_have_the_limits_of_the_head(trailer, way):
    """Mutant: uvicorn's parser keeps an unfinished trailer at any length."""
    async with Door(App()) as door:
        answered = await door.exchange(CHUNKED + b"\r\n0\r\n", trailer)

    assert statuses(answered) == [431]
    assert door.app.seen == (["disconnect"] if way == "app" else [])


async def test_large_body_does_not_count_as_head():
    body = b"a" * 1_000_000
    chunks = b"".join(b"%x\r\n%s\r\n" % (1000, body[:1000]) for _ in range(1000))
    async with Door(App(max_body=2_000_000)) as door, door.call() as (_, writer):
        writer.write(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1000000\r\n\r\n" + body)
        writer.write(CHUNKED + b"\r\n" + chunks + b"0\r\n\r\n")
        await door.app.has_seen(2)

    assert door.app.seen == [("POST", "/", body), ("POST", "/in", body)]


# Time


async def test_unfinished_head_is_answered_408():
    """Mutant: with uvicorn's own protocol a silent or slow client stays for ever."""
    async with Door(App(), header_deadline=0.2) as door:
        answered = await door.exchange(REQUEST[:20], *[b"X"] * 12, pause=0.05)

        assert answered.startswith(b"HTTP/1.1 408 Request Timeout\r\n")
        assert door.rejected == [(408, "127.0.0.1")]
        assert await door.has_open_connections(0)


async def test_bytes_do_not_extend_the_header_deadline():
    async with Door(App(), header_deadline=0.3) as door, door.call() as (reader, writer):
        writer.write(REQUEST[:20])
        for _ in range(1500):
            if door.rejected:
                break
            writer.write(b"X")
            await asyncio.sleep(0.02)
        answered = await asyncio.wait_for(reader.readline(), 15)

    assert statuses(answered) == [408]


async def test_silent_connection_is_closed_without_an_answer():
    async with Door(App(), header_deadline=0.2) as door:
        answered = await door.exchange()

    assert answered == b""
    assert door.rejected == []


async def test_later_request_has_its_own_deadline():
    async with Door(App(), header_deadline=0.8) as door, door.call() as (reader, writer):
        writer.write(REQUEST)
        await reader.readuntil(b"pin=1")
        await asyncio.sleep(0.5)
        writer.write(REQUEST[:20])
        await asyncio.sleep(0.5)
        writer.write(REQUEST[20:])
        await reader.readuntil(b"pin=1")
        writer.write(REQUEST[:20])
        answered = await asyncio.wait_for(reader.read(), 5)

    assert statuses(answered) == [408]
    assert len(door.app.seen) == 2


async def test_deadline_of_less_than_a_millisecond_can_be_followed_by_another():
    """A timer of uvloop for less than half a millisecond has no `when`.

    Mutant: the plain `loop.call_at`. The second deadline then ends the connection with an error.
    """
    async with Door(App()) as door, door.call() as (reader, writer):
        writer.write(REQUEST)
        await reader.readuntil(b"pin=1")
        (connection,) = door.listener.server_state.connections
        connection._expect_within(0.0002)
        connection._expect_within(0.0001)

        assert await asyncio.wait_for(reader.read(), 5) == b""


async def test_running_request_has_no_header_deadline():
    async def slow(_scope, _receive, send):
        await asyncio.sleep(0.4)
        await answer(send, 204)

    async with Door(slow, header_deadline=0.1) as door:
        answered = await door.exchange(REQUEST + REQUEST[:20])

    assert statuses(answered) == [204, 408]


async def test_idle_connection_is_closed_after_keep_alive():
    async with Door(App(), keep_alive=0.2) as door:
        answered = await door.exchange(REQUEST, within=15)

    assert statuses(answered) == [200]
    assert door.rejected == []


@pytest.mark.parametrize("pause", [0, 0.05])
async def test_request_into_a_closing_connection_reaches_the_app(pause):
    """A provider that never retries would lose its code. Mutant: close at once.

    The client has not seen the end when it sends: here it does not read.
    """
    async with Door(App(), linger=30) as door, door.call() as (reader, writer):
        writer.write(REQUEST)
        await reader.readuntil(b"pin=1")
        (connection,) = door.listener.server_state.connections
        connection.end_idle()
        writer.write(REQUEST[:60])
        await asyncio.sleep(pause)
        writer.write(REQUEST[60:])

        await door.app.has_seen(2)

        assert await asyncio.wait_for(reader.read(), 10) == b""
        assert await door.has_open_connections(0)


async def test_request_right_after_keep_alive_reaches_the_app():
    """Mutant: `_on_timer` closes both directions."""
    async with Door(App(), linger=30, keep_alive=0.1) as door, door.call() as (reader, writer):
        writer.write(REQUEST)
        await reader.readuntil(b"pin=1")
        assert await asyncio.wait_for(reader.read(), 15) == b""
        writer.write(REQUEST)

        await door.app.has_seen(2)


async def test_client_that_sends_after_the_end_is_cut_off():
    """Mutant: the client decides how long a closed connection stays."""
    async with Door(App(), linger=0.1, keep_alive=0.1) as door, door.call() as (reader, writer):
        writer.write(REQUEST)
        await reader.readuntil(b"pin=1")
        assert await asyncio.wait_for(reader.read(), 10) == b""

        assert await door.has_open_connections(0)


@pytest.mark.parametrize("further", [False, True])
async def test_client_that_reads_nothing_is_dropped(further):
    """Mutants: there is no stall limit; a further request lifts it."""

    async def large(_scope, _receive, send):
        await answer(send, 200, b"a" * 20_000_000)

    async with Door(large, stall=0.2, keep_alive=0.2) as door, door.call() as (_, writer):
        writer.write(get(b"Host: h\r\n"))

        assert await door.has_open_connections(1)
        if further:
            await asyncio.sleep(0.1)
            writer.write(get(b"Host: h\r\n"))
        assert await door.has_open_connections(0)


async def test_slow_reader_gets_its_whole_answer():
    async def large(_scope, _receive, send):
        await answer(send, 200, b"a" * 20_000_000)

    slow = Door(large, stall=1, linger=0.1, keep_alive=0.1)
    async with slow as door, door.call() as (reader, writer):
        writer.write(get(b"Host: h\r\nConnection: close\r\n"))
        size = 0
        while part := await reader.read(1_000_000):
            size += len(part)
            await asyncio.sleep(0.02)

    assert size > 20_000_000


async def test_answer_that_waited_for_its_reader_has_no_deadline():
    """Mutant: the stall limit is not lifted, and ends an answer that the client is reading."""
    read = asyncio.Event()

    async def pausing(_scope, _receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"a" * 20_000_000, "more_body": True})
        await read.wait()
        await asyncio.sleep(0.8)
        await send({"type": "http.response.body", "body": b"end"})

    async with Door(pausing, stall=0.5) as door, door.call() as (reader, writer):
        writer.write(get(b"Host: h\r\nConnection: close\r\n"))
        size = 0
        while size < 20_000_000:
            size += len(await reader.read(1_000_000))
        read.set()
        rest = await asyncio.wait_for(reader.read(), 5)

    assert rest.endswith(b"3\r\nend\r\n0\r\n\r\n")


@pytest.mark.parametrize("method", [b"GET", b"HEAD"])
@pytest.mark.parametrize(
    ("headers", "status", "line", "body"),
    [
        ([], 200, b"", b"ab"),
        ([(b"Content-Length", b"2")], 200, b"content-length: 2\r\n", b"ab"),
        ([], 204, b"", b""),
    ],
    ids=["stream", "length", "no body"],
)
async def test_http10_client_gets_no_chunks(method, headers, status, line, body):
    """The end of the connection ends a stream. Mutant: uvicorn's cycle, which sends chunks."""

    async def stream(_scope, _receive, send):
        await send({"type": "http.response.start", "status": status, "headers": headers})
        for at, more in ((0, True), (1, True), (2, False)):
            part = {"body": body[at : at + 1]} if more else {}
            await send({"type": "http.response.body", "more_body": more, **part})

    async with Door(stream) as door:
        asked = b"%s / HTTP/1.0\r\nHost: h\r\nConnection: keep-alive\r\n\r\n" % method
        answered = await door.exchange(asked + asked)

    reason = {200: b"OK", 204: b"No Content"}[status]
    head = b"HTTP/1.1 %d %s\r\n%sconnection: close\r\n\r\n" % (status, reason, line)
    assert answered == head + (body if method == b"GET" else b"")


async def test_stream_lives_beyond_every_deadline_and_ends_if_not_read():
    """Mutants: a live stream counts as idle; a reader that stalls keeps its stream for ever."""
    more, gone = asyncio.Event(), asyncio.Event()

    async def stream(scope, _receive, send):
        scope["state"][GONE](gone.set)
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"a", "more_body": True})
        await asyncio.sleep(0.5)
        await send({"type": "http.response.body", "body": b"b", "more_body": True})
        await more.wait()
        while not gone.is_set():
            await send({"type": "http.response.body", "body": b"c" * 100_000, "more_body": True})

    limits = {"stall": 0.3, "keep_alive": 0.1, "header_deadline": 0.1, "body_deadline": 0.1}
    async with Door(stream, **limits) as door, door.call() as (reader, writer):
        writer.write(get(b"Host: h\r\n"))
        head = await asyncio.wait_for(reader.readuntil(b"1\r\nb\r\n"), 5)
        writer.transport.pause_reading()
        more.set()
        await asyncio.wait_for(gone.wait(), 5)

        assert b"transfer-encoding: chunked" in head
        assert await door.has_open_connections(0)


@pytest.mark.parametrize("queued", [0, 1])
async def test_app_is_notified_when_its_client_is_gone(queued):
    """Mutant: not if another request waits behind it."""
    notified = []

    async def app(scope, receive, send):
        name = scope["path"]
        scope["state"][GONE](lambda: notified.append(name))
        if name == "/waits":
            while (await receive())["type"] != "http.disconnect":
                pass
        await answer(send, 200, b"")

    async with Door(app) as door:
        async with door.call() as (reader, writer):
            writer.write(get(b"Host: h\r\n"))
            await reader.readuntil(b"\r\n\r\n")
            writer.write(get(b"Host: h\r\n", b"/waits") + get(b"Host: h\r\n") * queued)
            assert await door.has_tasks(1)
            await asyncio.sleep(0.05)
        assert await holds(lambda: notified == ["/waits"])
        assert await door.has_tasks(0)
    assert notified == ["/waits"]


# Unread bodies


async def test_client_that_sent_1_mib_still_reads_its_413():
    """Mutant: closed at once, the reset overtakes the answer and the client sees no status."""
    body = b"a" * 1_048_576
    async with Door(App()) as door:
        for _ in range(5):
            with socket.create_connection(("127.0.0.1", door.port)) as sock:
                head = b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n" % len(body)
                answered = await asyncio.to_thread(send_all_then_read, sock, head + body)

            assert statuses(answered) == [413]
            assert b"connection: close" in answered
    assert door.app.seen == []


def send_all_then_read(sock, data):
    sock.settimeout(5)
    sock.sendall(data)
    answered = b""
    while part := sock.recv(65536):
        answered += part
    return answered


async def test_client_that_sends_after_its_answer_is_cut_off():
    """Mutant: without the deadline an unread body is swallowed for ever."""

    async def early(_scope, _receive, send):
        await answer(send, 404, b"no")

    async with Door(early, linger=0.3) as door, door.call() as (reader, writer):
        writer.write(CHUNKED + b"\r\n")
        answered = await reader.readuntil(b"no")
        with pytest.raises(ConnectionError):
            await asyncio.wait_for(send_chunks(writer), 15)

        assert statuses(answered) == [404]
        assert await door.has_open_connections(0)


async def send_chunks(writer):
    while True:
        writer.write(b"1000\r\n" + b"a" * 4096 + b"\r\n")
        await writer.drain()
        await asyncio.sleep(0.01)


async def test_early_answer_closes_the_connection():
    async def early(_scope, _receive, send):
        await answer(send, 404, b"no")

    async with Door(early) as door:
        answered = await door.exchange(REQUEST[:-5])

    assert answered == b"HTTP/1.1 404 Not Found\r\ncontent-length: 2\r\nconnection: close\r\n\r\nno"


async def test_answer_that_ignores_a_whole_body_keeps_the_connection():
    async def early(_scope, _receive, send):
        await answer(send, 404, b"no")

    async with Door(early) as door, door.call() as (reader, writer):
        for _ in range(3):
            writer.write(REQUEST)
            answered = await asyncio.wait_for(reader.readuntil(b"no"), 5)

            assert answered == b"HTTP/1.1 404 Not Found\r\ncontent-length: 2\r\n\r\nno"


# Pipelining


async def test_pipelined_requests_are_answered_in_order():
    requests = [REQUEST.replace(b"pin=1", b"pin=%d" % n) for n in range(9)]
    async with Door(App()) as door, door.call() as (_, writer):
        writer.write(b"".join(requests))
        await door.app.has_seen(9)

    assert door.app.seen == [("POST", "/in", b"pin=%d" % n) for n in range(9)]


async def test_broken_request_is_answered_after_those_before_it():
    """Mutant: uvicorn writes its 400 at once, and the client takes it for the first's answer."""

    async with Door(App(delay=0.05)) as door:
        answered = await door.exchange(REQUEST + REQUEST + BROKEN["two-hosts"] + REQUEST)

    assert statuses(answered) == [200, 200, 400]
    assert len(door.app.seen) == 2


async def test_queued_request_with_a_broken_body_is_not_passed_on():
    async with Door(App(delay=0.1)) as door:
        answered = await door.exchange(REQUEST + CHUNKED + b"\r\nXX\r\n")

    assert statuses(answered) == [200, 400]
    assert door.app.seen == [("POST", "/in", b"pin=1")]


async def test_bytes_after_the_last_request_are_ignored():
    last = REQUEST.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")
    async with Door(App()) as door:
        answered = await door.exchange(last + REQUEST + b"\x16\x03\x01")

    assert statuses(answered) == [200]
    assert len(door.app.seen) == 1
    assert door.rejected == []


async def test_queue_of_a_connection_is_limited():
    """Mutant: uvicorn queues all that fits its buffer, and with each answer as much again."""
    queued = []

    async def app(_scope, receive, send):
        await receive()
        (connection,) = door.listener.server_state.connections
        queued.append(len(connection.pipeline))
        await answer(send, 204)

    async with Door(app, max_queued=10) as door:
        answered = await door.exchange(get(b"Host: h\r\n") * 50_000)

    assert max(queued) == 10
    assert statuses(answered) == [204] * 11


async def test_disconnect_with_queued_requests_reaches_the_running_one():
    """Mutant: uvicorn notifies only the last in the queue; a shutdown waits for the first."""
    gone = asyncio.Event()

    async def waiting(_scope, receive, _send):
        await receive()
        while (await receive())["type"] != "http.disconnect":
            pass
        gone.set()

    async with Door(waiting, linger=0.1) as door, door.call() as (_, writer):
        writer.write(get(b"Host: h\r\n") * 2)
        await asyncio.sleep(0.05)
        writer.close()

        await asyncio.wait_for(gone.wait(), 5)


# The door


class Gate:
    """A door for `/in` that knows no `/in/no`. While it is `held`, its answers wait."""

    def __init__(self, *, max_body=65536, held=False):
        self.max_body, self.held = max_body, held
        self.admitted, self.taken, self.refused, self.waiting = [], [], [], []

    def serves(self, path):
        return path.startswith(b"/in")

    def admit(self, head):
        if head.path == b"/in/no":
            return answered(404, b"no")
        self.admitted.append(head)
        return Admission(head, self.max_body)

    def take(self, _admission, body, answer):
        self.taken.append(body)
        if self.held:
            self.waiting.append(lambda: answer(answered(200, body)))
        else:
            answer(answered(200, body))

    def refuse(self, _admission, status):
        self.refused.append(status)
        return answered(status, b"", (b"connection", b"close"))


def post(body, *fields, target=b"/in"):
    lines = [b"POST %s HTTP/1.1" % target, b"Host: h", *fields, b"Content-Length: %d" % len(body)]
    return b"\r\n".join([*lines, b"", body])


async def test_callbacks_and_calls_on_one_connection_are_answered_in_order():
    """Mutants: a callback is answered before the call before it; a call is lost behind one."""
    gate, call = Gate(), get(b"Host: h\r\n", b"/v1")
    sent = post(b"a") + call + post(b"b") + post(b"c") + call + post(b"d", b"Connection: close")
    async with Door(App(delay=0.05), door=gate) as door:
        answers = await door.exchange(sent)

    assert re.findall(rb"\r\n\r\n(.?)(?=HTTP|$)", answers) == [b"a", b"", b"b", b"c", b"", b"d"]
    assert gate.taken == [b"a", b"b", b"c", b"d"]
    assert door.app.seen == [("GET", "/v1", b"")] * 2


async def test_head_reaches_the_door_as_it_was_sent():
    gate = Gate()
    async with Door(App(), door=gate) as door:
        await door.exchange(
            post(b"", b"X-One: \xe9", b"Connection: close", target=b"/in/%73?a=%20")
        )

    (head,) = gate.admitted
    assert (head.method, head.path, head.query) == ("POST", b"/in/%73", b"a=%20")
    assert head.values[head.names.places[b"x-one"]] == b"\xe9"
    assert head.client == "127.0.0.1"


@pytest.mark.parametrize(("size", "is_cached"), [(1_000, True), (3_000, False)])
async def test_long_names_are_not_cached(size, is_cached):
    """Mutant: without the limit, a stranger fills the cache with 256 times 16 KiB."""
    name = secrets.token_hex(size // 2).encode()
    before = field_names.cache_info().misses
    async with Door(App()) as door:
        answered = await door.exchange(get(b"Host: h\r\n%s: 1\r\nConnection: close\r\n" % name))

    assert answered.startswith(b"HTTP/1.1 200 ")
    assert (field_names.cache_info().misses > before) == is_cached


async def test_chunked_body_reaches_the_door_whole():
    gate = Gate()
    async with Door(App(), door=gate) as door, door.call() as (reader, writer):
        for part in (CHUNKED, b"\r\n3\r\npi", b"n\r\n2;x=y\r\n=1\r\n", b"0\r\nX: y\r\n\r\n"):
            writer.write(part)
            await asyncio.sleep(0.02)
        answer = await reader.readuntil(b"pin=1")

    assert (statuses(answer), gate.taken) == ([200], [b"pin=1"])
    assert b"connection: close" not in answer


async def test_only_admitted_requests_are_asked_to_continue():
    """Mutant: the body of a rejected request is asked for."""
    expect = b"Expect: 100-continue"
    async with Door(App(), door=Gate()) as door:
        rejected = await door.exchange(post(b"pin=1", expect, target=b"/in/no")[:-5])
        async with door.call() as (reader, writer):
            writer.write(post(b"pin=1", expect)[:-5])
            first = await reader.readuntil(b"\r\n\r\n")
            writer.write(b"pin=1")
            second = await reader.readuntil(b"pin=1")

    assert statuses(rejected) == [404]
    assert (statuses(first), statuses(second)) == ([100], [200])


async def test_unfinished_body_is_408_and_bytes_do_not_extend_its_time():
    """Mutants: no deadline; each byte starts it again."""
    gate = Gate()
    assert DoorProtocol.body_deadline == 8
    slow = Door(App(), door=gate, body_deadline=0.3)
    async with slow as door, door.call() as (reader, writer):
        writer.write(post(b"a" * 1000)[:-999])
        for _ in range(500):
            if gate.refused:
                break
            writer.write(b"a")
            await asyncio.sleep(0.02)
        assert gate.refused
        answer = await asyncio.wait_for(reader.read(), 5)

        assert (statuses(answer), gate.refused, gate.taken) == ([408], [408], [])
        assert await door.has_open_connections(0)


async def test_time_of_a_body_begins_in_its_turn():
    """Mutant: the time that an earlier request takes counts."""
    gate = Gate()
    slow = Door(App(delay=0.5), door=gate, body_deadline=0.3)
    async with slow as door, door.call() as (reader, writer):
        writer.write(get(b"Host: h\r\n") + post(b"pin=1")[:-2])
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"=1")

        assert statuses(await reader.readuntil(b"pin=1")) == [200]


@pytest.mark.parametrize("behind", [False, True])
async def test_body_that_grows_too_large_is_413(behind):
    """At once, or in its turn. Mutants: the limit is looked at when the body ends, or never."""
    gate = Gate(max_body=10)
    first = get(b"Host: h\r\n") if behind else b""
    async with Door(App(delay=0.05), door=gate) as door:
        answers = await door.exchange(first + CHUNKED + b"\r\nb\r\n" + b"a" * 11, b"\r\nb\r\n")

    assert statuses(answers) == [200] * behind + [413]
    assert (gate.refused, gate.taken) == ([413], [])


async def test_client_that_leaves_within_its_body_is_forgotten():
    """Mutant: the bytes that came are taken for the whole body."""
    gate = Gate()
    async with Door(App(), door=gate) as door:
        async with door.call() as (_, writer):
            writer.write(post(b"pin=1")[:-1])
            assert await holds(lambda: gate.admitted)
        assert await door.has_open_connections(0)
        await asyncio.wait_for(door.listener.finish(8), 5)

    assert (gate.taken, gate.refused) == ([], [])


async def test_client_that_leaves_before_its_answer_is_forgotten():
    gate = Gate(held=True)
    async with Door(App(), door=gate) as door:
        async with door.call() as (_, writer):
            writer.write(post(b"a"))
            assert await holds(lambda: gate.taken)
            reset = struct.pack("ii", 1, 0)
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, reset)
        assert await door.has_open_connections(0)
        gate.waiting.pop()()

    assert gate.taken == [b"a"]


async def test_listener_waits_for_callbacks_in_flight():
    """Mutants: it waits for tasks only, and cuts idle connections; the connection is kept."""
    gate = Gate(held=True)
    async with Door(App(), door=gate) as door, door.call() as (reader, writer), door.call() as idle:
        writer.write(post(b"a"))
        assert await holds(lambda: gate.waiting)
        ending = asyncio.create_task(door.listener.finish(8))
        await asyncio.sleep(0.2)
        idle[1].write(post(b"b"))
        assert await holds(lambda: len(gate.waiting) == 2)
        ended = ending.done()
        for answer in gate.waiting:
            answer()
        answers = [await reader.read(), await idle[0].read()]
        await asyncio.wait_for(ending, 5)

    assert not ended
    assert answers[0].endswith(b"connection: close\r\n\r\na")
    assert answers[1].endswith(b"\r\n\r\nb")


async def test_answers_wait_for_a_client_that_does_not_read():
    """Mutant: they are written anyway, and the memory of the process grows."""
    gate, body = Gate(max_body=10**6), b"a" * 60_000
    async with Door(App(), door=gate) as door, door.call() as (reader, writer):
        writer.transport.pause_reading()
        for _ in range(500):
            writer.write(post(body))
        assert await holds(lambda: len(gate.taken) > 2)
        (connection,) = door.listener.server_state.connections
        assert await holds(lambda: connection.flow.write_paused)
        await asyncio.sleep(0.3)
        taken, unsent = len(gate.taken), connection._wire.get_write_buffer_size()
        writer.transport.resume_reading()
        for _ in range(500):
            assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200 ")
            await reader.readexactly(len(body))

    assert taken < 500
    assert unsent < 500_000


async def test_head_has_no_body_and_keeps_the_connection():
    head = b"HEAD /in/no HTTP/1.1\r\nHost: h\r\n\r\n"
    async with Door(App(), door=Gate()) as door, door.call() as (reader, writer):
        for _ in range(2):
            writer.write(head + post(b"pin=1"))
            answers = await reader.readuntil(b"pin=1")

            assert answers == (
                b"HTTP/1.1 404 Not Found\r\ncontent-length: 2\r\n\r\n"
                b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\npin=1"
            )


@pytest.mark.parametrize(("cut", "closes"), [(5, False), (4, True)])
async def test_rejected_request_keeps_the_connection_if_it_is_whole(cut, closes):
    """Mutant: it is answered before the rest of its segment is parsed."""
    request = post(b"pin=1", target=b"/in/no")
    async with Door(App(), door=Gate()) as door, door.call() as (reader, writer):
        writer.write(request[: len(request) - 5 + cut])
        answer = await reader.readuntil(b"\r\n\r\nno")

    assert (b"connection: close" in answer) is closes


@pytest.mark.parametrize("version", [b"1.0", b"1.1"])
async def test_last_answer_of_a_connection_says_so(version):
    request = post(b"a", b"Connection: close").replace(b"1.1", version)
    async with Door(App(), door=Gate()) as door:
        assert (await door.exchange(request)).endswith(b"connection: close\r\n\r\na")


@pytest.mark.parametrize("step", ["admit", "take", "refuse"])
async def test_fault_in_the_door_is_500_and_logged_without_values(caplog, step):
    """Mutant: its client waits for ever."""

    def fault(*_args):
        raise KeyError("hunter2")

    gate = Gate(max_body=4)
    setattr(gate, step, fault)
    async with Door(App(), door=gate) as door:
        answers = await door.exchange(post(b"a" * (5 if step == "refuse" else 4)))

    assert statuses(answers) == [500]
    assert re.fullmatch(r"app\.failed KeyError at .*test_protocol\.py:\d+\n?", caplog.messages[0])
    assert "hunter2" not in caplog.text
    assert door.rejected == []


# Logs


@pytest.mark.parametrize("when", ["before", "after"])
async def test_exception_in_the_app_is_logged_by_type_and_place(caplog, when):
    """Mutant: uvicorn's traceback has the exception's text, which contains the callback."""

    async def failing(_scope, _receive, send):
        if when == "after":
            await send({"type": "http.response.start", "status": 200, "headers": []})
        raise KeyError("hunter2")

    async with Door(failing) as door:
        answered = await door.exchange(REQUEST)

    assert statuses(answered) == [500 if when == "before" else 200]
    assert re.fullmatch(r"app\.failed KeyError at .*test_protocol\.py:\d+\n?", caplog.messages[0])
    assert "hunter2" not in caplog.text
    assert [record.levelno for record in caplog.records] == [logging.ERROR]


async def test_broken_http_logs_nothing(caplog):
    caplog.set_level(logging.DEBUG)
    async with Door(App()) as door:
        await door.exchange(BROKEN["tls"])
        await door.exchange(BROKEN["connect"])

    assert [record for record in caplog.records if record.name != "asyncio"] == []


# How many


def capacity(most):
    return Connections(most, peer=lambda _address: None)


REFUSED_503 = (
    b"HTTP/1.1 503 Service Unavailable\r\n"
    b"content-type: text/plain; charset=utf-8\r\n"
    b"content-length: 24\r\n"
    b"retry-after: 5\r\n"
    b"connection: close\r\n"
    b"\r\n"
    b"503 Service Unavailable\n"
)


async def test_connection_over_the_limit_is_answered_503():
    """Mutants: closed without an answer; accepted, until the journal gets no descriptor."""
    release = asyncio.Event()

    async def slow(_scope, _receive, send):
        await release.wait()
        await answer(send, 204)

    async with Door(slow, capacity=capacity(1)) as door, door.call() as (reader, writer):
        writer.write(get(b"Host: h\r\n"))
        assert await door.has_tasks(1)

        refused = await door.exchange(REQUEST)
        release.set()
        answered = await reader.readuntil(b"\r\n\r\n")

    assert refused == REFUSED_503
    assert door.rejected == [(503, "127.0.0.1")]
    assert statuses(answered) == [204]


@pytest.mark.parametrize("idle", ["silent", "kept"])
async def test_longest_idle_connection_is_closed_for_a_new_one(idle):
    """Mutant: silent connections keep all others out until they end."""
    async with Door(App(), capacity=capacity(2)) as door, door.call() as (first, writer):
        if idle == "kept":
            writer.write(REQUEST)
            await first.readuntil(b"pin=1")
        assert await door.has_open_connections(1)
        async with door.call() as (second, other):
            other.write(REQUEST)
            await second.readuntil(b"pin=1")
            async with door.call() as (third, newest):
                newest.write(REQUEST)

                assert statuses(await third.readuntil(b"pin=1")) == [200]
                assert await asyncio.wait_for(first.read(), 10) == b""
                other.write(REQUEST)
                assert statuses(await second.readuntil(b"pin=1")) == [200]

    assert door.rejected == []


async def test_request_that_has_begun_is_not_idle():
    """Mutant: idle until its fields are complete."""
    async with Door(App(), capacity=capacity(1)) as door, door.call() as (reader, writer):
        writer.write(REQUEST[:20])
        assert await door.has_begun()

        refused = await door.exchange(REQUEST)
        writer.write(REQUEST[20:])

        assert statuses(refused) == [503]
        assert statuses(await reader.readuntil(b"pin=1")) == [200]


async def test_closed_connections_make_room():
    """Mutant: `closed` left out, and the service is full after `most` connections."""
    async with Door(App(), capacity=capacity(2)) as door:
        for _ in range(5):
            assert statuses(await door.exchange(REQUEST.replace(b"Host", LAST))) == [200]

    assert len(door.protocol.capacity) == 0


# Ending


async def test_idle_connections_end_at_once():
    async with Door(App()) as door, door.call() as (kept, writer), door.call() as (fresh, _):
        writer.write(REQUEST)
        await kept.readuntil(b"pin=1")

        await asyncio.wait_for(door.listener.finish(60), 15)

        assert (await kept.read(), await fresh.read()) == (b"", b"")
        with pytest.raises(ConnectionError):
            await door.exchange()


async def test_running_request_is_answered_with_connection_close():
    async def slow(_scope, receive, send):
        await receive()
        await asyncio.sleep(0.3)
        await answer(send, 200, b"done")

    async with Door(slow) as door, door.call() as (reader, writer):
        writer.write(REQUEST)
        await asyncio.sleep(0.1)

        await door.listener.finish(8)

        assert (await reader.read()).endswith(b"connection: close\r\n\r\ndone")


async def test_request_with_an_unfinished_body_is_the_last_one():
    async with Door(App()) as door, door.call() as (reader, writer):
        writer.write(REQUEST[:-2])
        assert await door.has_open_connections(1)
        await asyncio.sleep(0.1)
        (connection,) = door.listener.server_state.connections
        connection.shutdown()
        writer.write(REQUEST[-2:])
        answered = await asyncio.wait_for(reader.read(), 3)

    assert answered.endswith(b"connection: close\r\n\r\npin=1")


async def test_open_connections_are_answered_after_accepting_stops():
    async with Door(App()) as door, door.call() as (reader, writer):
        writer.write(REQUEST)
        await reader.readuntil(b"pin=1")

        door.listener.stop_accepting()
        await asyncio.sleep(0.05)
        with pytest.raises(ConnectionError):
            await door.exchange()
        writer.write(REQUEST)

        assert statuses(await reader.readuntil(b"pin=1")) == [200]


async def test_request_over_the_deadline_is_cut_off_without_an_answer(caplog):
    """Mutant: uvicorn answers 500 for each request it cancels, and logs a traceback."""
    ended = []

    async def endless(_scope, _receive, _send):
        try:
            await asyncio.sleep(60)
        finally:
            ended.append("cancelled")

    async with Door(endless) as door, door.call() as (reader, writer):
        writer.write(REQUEST)
        await asyncio.sleep(0.1)

        await asyncio.wait_for(door.listener.finish(0.2), 2)

        with contextlib.suppress(ConnectionResetError):
            assert await reader.read() == b""
        assert ended == ["cancelled"]
        assert door.listener.server_state.tasks == set()
        assert door.listener.server_state.connections == set()
        assert caplog.messages == []


async def test_app_that_ignores_cancellation_does_not_delay_the_end():
    release = asyncio.Event()

    async def stubborn(_scope, _receive, _send):
        while not release.is_set():
            with contextlib.suppress(asyncio.CancelledError):
                await release.wait()

    async with Door(stubborn) as door, door.call() as (_, writer):
        door.listener.cancel_time = 0.2
        writer.write(REQUEST)
        assert await door.has_open_connections(1)

        try:
            await asyncio.wait_for(door.listener.finish(0.1), 5)
        finally:
            release.set()


async def test_listener_ends_at_once_after_broken_requests():
    """Mutant: one upgrade with a non-ASCII protocol, on stock uvicorn with wsproto, never ends."""
    upgrade = get(b"Host: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nX: \xff\xfe\r\n")
    async with Door(App()) as door:
        streams = [await asyncio.open_connection("127.0.0.1", door.port) for _ in range(8)]
        sent = [*BROKEN.values(), upgrade, CHUNKED, CHUNKED + b"\r\nXX", REQUEST[:20], b"\r\n"]
        for request in sent:
            streams.append(await asyncio.open_connection("127.0.0.1", door.port))
            streams[-1][1].write(request)
        await asyncio.sleep(0.2)

        await asyncio.wait_for(door.listener.finish(8), 3)

        assert door.listener.server_state.connections == set()
        for _, writer in streams:
            writer.close()


async def test_two_listeners_in_one_loop_share_nothing():
    async with Door(App()) as one, Door(App()) as other:
        await one.exchange(BROKEN["tls"])
        await one.listener.finish(1)
        async with other.call() as (reader, writer):
            writer.write(REQUEST)
            answered = await reader.readuntil(b"pin=1")

    assert statuses(answered) == [200]
    assert (one.rejected, other.rejected) == ([(400, "127.0.0.1")], [])
    assert (one.app.seen, len(other.app.seen)) == ([], 1)


# The tests can fail


async def test_plain_protocol_keeps_slow_heads_forever():
    """The mutant of the header deadline, which uvicorn does not have."""
    async with Door(App(), HttpToolsProtocol) as door, door.call() as (reader, writer):
        writer.write(REQUEST[:20])
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(reader.read(), 0.5)


# Garbage


async def test_request_leaves_nothing_for_the_collector():
    """Mutant: the scope and its cycle hold each other, and thousands are collected at once."""
    async with Door(App()) as door, door.call() as (reader, writer):
        gc.collect()
        gc.disable()
        try:
            for _ in range(50):
                writer.write(REQUEST)
                await reader.readuntil(b"pin=1")
            cycles = (RequestResponseCycle, Exchange)
            left = [one for one in gc.get_objects() if isinstance(one, cycles)]
        finally:
            gc.enable()

    assert len(left) <= 2


@pytest.mark.parametrize("closes", ["client", "door"])
async def test_closed_connection_leaves_nothing_for_the_collector(closes):
    """Mutant: `release` left out: all fifty stay."""
    request = REQUEST if closes == "client" else REQUEST.replace(b"Host", LAST)
    async with Door(App()) as door:
        gc.collect()
        gc.disable()
        try:
            for _ in range(50):
                async with door.call() as (reader, writer):
                    writer.write(request)
                    await reader.readuntil(b"pin=1")
            assert await door.has_open_connections(0)
            await asyncio.sleep(0)
            left = [one for one in gc.get_objects() if isinstance(one, DoorProtocol)]
        finally:
            gc.enable()

    assert len(left) <= 2
