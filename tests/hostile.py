"""Wrong answers of an HTTP endpoint, each with the outcome of a single attempt that gets it.

An outcome is the delivery's state, the status, and the word for the error.
"""

import asyncio
import gzip

from endpoint import hang, reply, reset

from core.delivery import State

DELIVERED = (State.DELIVERED, 200, None)
TIMED_OUT = (State.DEAD, None, "timeout")
BROKEN = (State.DEAD, None, "protocol")


def saying(*parts, after=b"", every=0.0):
    """Write these, then `after` for ever."""

    async def answer(_request, connection):
        for part in parts:
            connection.write(part)
        while after:
            connection.write(after)
            await connection.drain()
            await asyncio.sleep(every)

    return answer


def ending(*parts):
    """Write these, then close the connection."""

    async def answer(_request, connection):
        for part in parts:
            connection.write(part)
        await connection.drain()
        connection.writer.close()

    return answer


OK = b"HTTP/1.1 200 OK\r\n"
END = b"\r\n\r\n"
#: 64 MiB of zeros, as 64 members (RFC 1952, 2.2).
BOMB = gzip.compress(bytes(1024**2)) * 64
CHUNKED = b"Transfer-Encoding: chunked\r\n\r\n"
CHUNK = b"10000\r\n" + b"x" * 65536 + b"\r\n"
FAULTS = {
    "it takes the request and says nothing": (hang, TIMED_OUT),
    "it resets the connection": (reset, BROKEN),
    "a byte of header a second": (saying(OK, after=b"x", every=1), TIMED_OUT),
    "a byte of body a second": (
        saying(OK, b"Content-Length: 99\r\n\r\n", after=b"x", every=1),
        DELIVERED,
    ),
    "a body without end": (saying(OK, CHUNKED, after=CHUNK), DELIVERED),
    "a body without end behind a failure": (
        saying(b"HTTP/1.1 500 No\r\n", CHUNKED, after=CHUNK),
        (State.DEAD, 500, "status"),
    ),
    "a body of 1 GB": (
        saying(OK, b"Content-Length: 1073741824\r\n\r\n", after=b"x" * 65536),
        DELIVERED,
    ),
    "a header of 10 MB": (saying(OK, b"X: ", b"x" * 10_000_000, b"\r\n\r\n"), BROKEN),
    "a header without end": (saying(OK, after=b"X: " + b"x" * 8192 + b"\r\n"), BROKEN),
    "a hundred thousand headers": (saying(OK, b"X: x\r\n" * 100_000, b"\r\n"), BROKEN),
    "answers that are none, without end": (
        saying(after=b"HTTP/1.1 100 Continue\r\n\r\n" * 100, every=0.01),
        TIMED_OUT,
    ),
    "a redirect to itself": (
        reply(302, headers={"Location": "/"}),
        (State.DEAD, 302, "status"),
    ),
    "no HTTP": (saying(b"SSH-2.0-OpenSSH_9.2\r\n"), BROKEN),
    "a body that is cut short": (
        saying(OK, b"Content-Length: 99\r\nConnection: close\r\n\r\nx"),
        DELIVERED,
    ),
    "chunks that are none": (saying(OK, CHUNKED, b"zz\r\n"), DELIVERED),
    "a chunk larger than any number": (saying(OK, CHUNKED, b"F" * 40 + b"\r\nx"), DELIVERED),
    "chunk extensions without end": (saying(OK, CHUNKED, b"1;", after=b"x" * 65536), DELIVERED),
    "trailers without end": (
        saying(OK, CHUNKED, b"0\r\n", after=b"X: " + b"x" * 8192 + b"\r\n"),
        DELIVERED,
    ),
    "a status line of 10 MB": (
        saying(b"HTTP/1.1 200 ", b"x" * 10_000_000, b"\r\n\r\n"),
        BROKEN,
    ),
    "a status line without end": (saying(b"HTTP/1.1 200 ", after=b"x" * 65536), BROKEN),
    "a status of two digits": (saying(b"HTTP/1.1 20 OK\r\n\r\n"), BROKEN),
    "a negative length": (saying(OK, b"Content-Length: -1\r\n\r\n"), BROKEN),
    "a length beyond any number": (saying(OK, b"Content-Length: " + b"9" * 40 + END), BROKEN),
    "two lengths that differ": (
        saying(OK, b"Content-Length: 2\r\nContent-Length: 3\r\n\r\nok"),
        BROKEN,
    ),
    "a NUL in a header": (saying(OK, b"X: a\0b\r\nContent-Length: 0\r\n\r\n"), BROKEN),
    "HTTP/0.9": (saying(b"<html>ok</html>\r\n"), BROKEN),
    "HTTP/2": (saying(b"\0\0\6\4\0\0\0\0\0\0\3\0\0\0\x64"), BROKEN),
    "a TLS alert": (saying(b"\x15\3\3\0\2\2\x28"), BROKEN),
    "bytes of chance": (saying(bytes(range(128, 256)) * 64), BROKEN),
    "an end without an answer": (ending(), BROKEN),
    "an end in the status line": (ending(b"HTTP/1.1 20"), BROKEN),
    "an end in the headers": (ending(OK, b"Content-Le"), BROKEN),
    "a body behind a 204": (
        saying(b"HTTP/1.1 204 None\r\nContent-Length: 5\r\n\r\noh no"),
        (State.DELIVERED, 204, None),
    ),
    "a switch of protocols": (
        saying(b"HTTP/1.1 101 Go\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n"),
        (State.DEAD, 101, "status"),
    ),
    "a second answer that was not asked for": (
        saying(OK, b"Content-Length: 2\r\n\r\nok", b"HTTP/1.1 410 Gone\r\n\r\n"),
        DELIVERED,
    ),
    "headers that are not UTF-8": (
        saying(OK, b"X: \xff\xfe\r\nContent-Length: 0" + END),
        DELIVERED,
    ),
    "a gzip bomb": (
        saying(OK, b"Content-Encoding: gzip\r\nContent-Length: %d" % len(BOMB) + END, BOMB),
        DELIVERED,
    ),
    "a gzip that is none": (
        saying(OK, b"Content-Encoding: gzip\r\nContent-Length: 2\r\n\r\nok"),
        DELIVERED,
    ),
    "a redirect to a file": (
        reply(302, headers={"Location": "file:///etc/passwd"}),
        (State.DEAD, 302, "status"),
    ),
    "a redirect without a place": (reply(307), (State.DEAD, 307, "status")),
    "a proxy that wants a password": (
        reply(407, headers={"Proxy-Authenticate": "Negotiate"}),
        (State.DEAD, 407, "status"),
    ),
    "ninety cookies": (
        saying(OK, b"Set-Cookie: a=b\r\n" * 90 + b"Content-Length: 0\r\n\r\n"),
        DELIVERED,
    ),
}
