"""A real HTTP endpoint on loopback that records what it is sent and answers as it is told.

    async with endpoint() as end:
        end.says(reply(503, headers={"Retry-After": "7"}), reply(200))
        ...  # send to f"{end.url}/hooks"
        assert end.requests[0].body == b"..."

What it is told is used up in order, one a request; then every request is answered by 200 and `ok`.
An answer is a function of the request and its connection, so that it may be as wrong as one likes:
`async def wrong(request, connection): connection.write(b"HTTP/1.1 200"); await hang(...)`.
"""

import asyncio
import contextlib
import socket
import ssl
import struct
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Request:
    """One request, whole."""

    method: str
    target: str
    #: Names in lower case; the last of two counts.
    headers: dict
    body: bytes
    #: All header fields in the order of the request, also repeated ones.
    fields: tuple = ()


@dataclass
class Connection:
    """One connection from the client's side of the wire."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    def write(self, data):
        self.writer.write(data)

    async def drain(self):
        await self.writer.drain()

    async def gone(self):
        """Return once the client has dropped it."""
        with contextlib.suppress(ConnectionError):
            while await self.reader.read(65536):
                pass

    def reset(self):
        sock = self.writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()


def reply(status=200, body=b"ok", *, headers=None, delay=0.0):
    """An ordinary answer, after `delay` seconds."""
    fields = {"Content-Length": str(len(body))} | (headers or {})
    head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())

    async def answer(_request, connection):
        await asyncio.sleep(delay)
        connection.write(f"HTTP/1.1 {status} Said\r\n{head}\r\n".encode("latin-1") + body)

    return answer


async def hang(_request, connection):
    """No answer; until the client has had enough."""
    await connection.gone()


async def reset(_request, connection):
    connection.reset()


async def forward(request, connection):
    """Answer CONNECT as a proxy does: pass bytes on in both directions until one side ends."""
    host, _, port = request.target.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    connection.write(b"HTTP/1.1 200 Connected\r\n\r\n")
    try:
        await asyncio.gather(_pass(connection.reader, writer), _pass(reader, connection.writer))
    finally:
        writer.close()


async def _pass(reader, writer):
    with contextlib.suppress(ConnectionError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    writer.close()


def server_tls(authority, *names, clients=None):
    """Of a server with a certificate of that trustme.CA; `clients` is whose it demands."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(*names or ("localhost",)).configure_cert(context)
    if clients is not None:
        context.verify_mode = ssl.CERT_REQUIRED
        clients.configure_trust(context)
    return context


@dataclass
class Endpoint:
    """A server at `url`, with the `requests` it got and its `open` connections."""

    port: int = 0
    scheme: str = "http"
    host: str = "127.0.0.1"
    requests: list = field(default_factory=list)
    answers: list = field(default_factory=list)
    #: What is answered when nothing else was told.
    usual: object = field(default_factory=reply)
    #: Said to each connection before it has said anything.
    greeting: bytes = b""
    connections: int = 0
    open: int = 0
    inside: int = 0
    most_inside: int = 0
    _tasks: set = field(default_factory=set)

    @property
    def url(self):
        return f"{self.scheme}://{self.host}:{self.port}"

    def says(self, *answers):
        self.answers.extend(answers)

    async def serve(self, reader, writer):
        task = asyncio.current_task()
        self._tasks.add(task)
        self.connections += 1
        self.open += 1
        try:
            writer.write(self.greeting)
            await self._talk(Connection(reader, writer))
        except (ConnectionError, asyncio.IncompleteReadError):
            pass  # the client has ended
        except asyncio.CancelledError:  # the test has ended; what nobody reads is not kept
            writer.transport.abort()
        finally:
            self.open -= 1
            self._tasks.discard(task)
            writer.close()

    async def _talk(self, connection):
        while True:
            request = await read_request(connection.reader)
            self.requests.append(request)
            answer = self.answers.pop(0) if self.answers else self.usual
            self.inside += 1
            self.most_inside = max(self.most_inside, self.inside)
            try:
                await answer(request, connection)
                await connection.drain()
            finally:
                self.inside -= 1
            if connection.writer.is_closing():
                return

    async def left(self):
        """Return once no connection is open."""
        while self._tasks:
            await asyncio.wait(self._tasks, return_when=asyncio.FIRST_COMPLETED)

    async def end(self):
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


async def read_request(reader):
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    line, *lines = head.removesuffix("\r\n\r\n").split("\r\n")
    method, target, _version = line.split(" ")
    fields = tuple(tuple(part.strip() for part in text.split(":", 1)) for text in lines)
    headers = {name.lower(): value for name, value in fields}
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    return Request(method, target, headers, body, fields)


@contextlib.asynccontextmanager
async def endpoint(*, tls=None, host="127.0.0.1", port=0):
    """`tls` is the server's ssl.SSLContext."""
    end = Endpoint(scheme="https" if tls else "http", host="localhost" if tls else host)
    server = await asyncio.start_server(end.serve, host, port, ssl=tls, limit=1024**2)
    end.port = server.sockets[0].getsockname()[1]
    try:
        yield end
    finally:
        server.close()
        await end.end()
        # Those whose handshake failed, too; before Python 3.12 `wait_closed` does not wait.
        async with asyncio.timeout(10):
            while getattr(server, "_active_count", 0):  # noqa: ASYNC110 - the server has no event for it
                await asyncio.sleep(0.001)
