"""Clients that wait for events and stream them, and the callbacks that they wait for.

python -m benchmarks.lab.readers ADMIN_URL KEY CALLBACK_URL WAITS STREAMS FIRST RATE

Each client has a phone number of its own. When all are open, it writes a line. After a line on its
input it sends one callback for each wait, RATE a second, and writes the result.
"""

import asyncio
import gc
import resource
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import cast
from urllib.parse import urlsplit

import httptools
import msgspec
import uvloop

from .processes import ROOT, CaseFailed

#: Connections that are opened at the same time.
AT_ONCE = 50
#: Waits that are opened in a second, at most. If all come at once, thousands of requests queue
#: until they wait, and their memory would count as that of waits.
OPENED = 1_000
#: Seconds in which all answers must come.
PATIENCE = 30.0
_CALLBACK = (
    "event=incoming_message&id={id}&timestamp={now}&from=22000&to={number}&service=Google"
    "&reply=G-{code:06d}+is+your+Google+verification+code.&pin=G-{code:06d}&price=1.25"
)


class ReadersResult(msgspec.Struct, frozen=True, kw_only=True):
    """The answers of the waits."""

    #: Milliseconds from the answer to each callback, which follows its commit, to the answer of
    #: its wait; sorted.
    after_commit: tuple[float, ...]
    #: Milliseconds from sending each callback to the answer of its wait; sorted.
    whole: tuple[float, ...]
    #: Events of the streams.
    streamed: int


class _Client(asyncio.Protocol):
    """One connection: it sends requests, and notes the time of each whole answer."""

    def __init__(self) -> None:
        self._parser = httptools.HttpResponseParser(self)
        self.begun = asyncio.get_running_loop().create_future()
        self.answered: asyncio.Future[tuple[int, float]] = (
            asyncio.get_running_loop().create_future()
        )
        self.body = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.answered.done():
            self.answered.set_exception(exc or ConnectionResetError())
            self.answered.exception()

    def on_headers_complete(self) -> None:
        """Called by the parser."""
        if not self.begun.done():
            self.begun.set_result(None)

    def on_body(self, body: bytes) -> None:
        """Called by the parser."""
        self.body += body

    def on_message_complete(self) -> None:
        """Called by the parser."""
        if not self.answered.done():
            self.answered.set_result((self._parser.get_status_code(), time.monotonic()))


class Readers:
    """All clients of one run."""

    def __init__(self, admin: str, key: str, callback: str, first: int) -> None:
        self._admin, self._callback = urlsplit(admin), urlsplit(callback)
        self._key, self._first = key, first
        #: By index: connections do not open in order.
        self._waits: dict[int, _Client] = {}
        self._streams: dict[int, _Client] = {}

    def _number(self, index: int) -> str:
        return f"1850{self._first + index:07d}"

    async def _connect(self, port: int | None) -> _Client:
        loop = asyncio.get_running_loop()
        return (await loop.create_connection(_Client, "127.0.0.1", int(port or 80)))[1]

    async def open(self, waits: int, streams: int) -> None:
        slots = asyncio.Semaphore(AT_ONCE)

        async def one(path: str, index: int, to: dict[int, _Client], *, begins: bool) -> None:
            async with slots:
                client = await self._connect(self._admin.port)
                query = f"number={self._number(index)}&{path.partition('?')[2]}"
                head = f"GET {path.partition('?')[0]}?{query} HTTP/1.1\r\nHost: 127.0.0.1\r\n"
                client.transport.write(f"{head}Authorization: Bearer {self._key}\r\n\r\n".encode())
                to[index] = client
                if begins:
                    await client.begun
                else:
                    await asyncio.sleep(AT_ONCE / OPENED)

        await asyncio.gather(
            *(
                one("/v1/events/stream?type=sms.received", index, self._streams, begins=True)
                for index in range(streams)
            ),
            *(
                one("/v1/events/wait?since=1h&timeout=55", index, self._waits, begins=False)
                for index in range(waits)
            ),
        )

    async def measure(self, rate: float) -> ReadersResult:
        """Send a callback for each wait. Raises CaseFailed."""
        senders = [await self._connect(self._callback.port) for _ in range(AT_ONCE)]
        free: asyncio.Queue[_Client] = asyncio.Queue()
        for sender in senders:
            free.put_nowait(sender)
        after, whole = [], []

        async def one(index: int, wait: _Client) -> None:
            sender = await free.get()
            sender.answered = asyncio.get_running_loop().create_future()
            body = _CALLBACK.format(
                id=90_000_000 + index, now=int(time.time()), number=self._number(index), code=index
            ).encode()
            sent = time.monotonic()
            sender.transport.write(
                f"POST {self._callback.path} HTTP/1.1\r\nHost: 127.0.0.1\r\n"
                "Content-Type: application/x-www-form-urlencoded\r\n"
                f"Content-Length: {len(body)}\r\n\r\n".encode()
                + body
            )
            stored, committed = await sender.answered
            free.put_nowait(sender)
            status, at = await wait.answered
            if (stored, status) != (200, 200):
                raise CaseFailed(f"a callback was answered with {stored}, its wait with {status}")
            if self._number(index).encode() not in wait.body:
                raise CaseFailed("a wait was answered with the event of another")
            after.append(max(0.0, at - committed) * 1000)
            whole.append((at - sent) * 1000)

        began, tasks = time.monotonic(), []
        for index, wait in sorted(self._waits.items()):
            await asyncio.sleep(max(0.0, began + index / rate - time.monotonic()))
            tasks.append(asyncio.create_task(one(index, wait)))
        async with asyncio.timeout(PATIENCE):
            await asyncio.gather(*tasks)
        return ReadersResult(
            after_commit=tuple(sorted(after)),
            whole=tuple(sorted(whole)),
            streamed=sum(client.body.count(b"data: ") for client in self._streams.values()),
        )


class OpenReaders:
    """The process of the clients, from outside."""

    def __init__(self, process: "subprocess.Popen[bytes]") -> None:
        self._process = process

    def line(self) -> bytes:
        """Return its next line. Raises CaseFailed."""
        assert self._process.stdout is not None  # noqa: S101 - a pipe
        line = self._process.stdout.readline()
        if not line:
            raise CaseFailed("the readers ended; see their error above")
        return line

    def measure(self) -> ReadersResult:
        """Send the callbacks, and return the result."""
        assert self._process.stdin is not None  # noqa: S101 - a pipe
        self._process.stdin.write(b"\n")
        self._process.stdin.flush()
        return msgspec.json.decode(self.line(), type=ReadersResult)


@contextmanager
def reading(words: Sequence[object]) -> Iterator[OpenReaders]:
    """Run the clients in a process of their own, and wait until all are open."""
    with subprocess.Popen(  # noqa: S603 - the words are ours
        [sys.executable, "-m", "benchmarks.lab.readers", *map(str, words)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as process:
        try:
            readers = OpenReaders(process)
            readers.line()
            yield readers
        finally:
            process.kill()


async def _main(words: Sequence[str]) -> None:
    admin, key, callback, waits, streams, first, rate = words
    readers = Readers(admin, key, callback, int(first))
    await readers.open(int(waits), int(streams))
    print("open", flush=True)
    await asyncio.to_thread(sys.stdin.readline)
    result = await readers.measure(float(rate))
    print(msgspec.json.encode(result).decode(), flush=True)


if __name__ == "__main__":
    gc.disable()  # a collection here would be measured as a late answer
    _, HARD = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (HARD, HARD))
    uvloop.run(_main(sys.argv[1:]))
