"""The destination of http sinks and peers: a process that counts deliveries and answers at once.

python -m benchmarks.lab.receiver PORT

POST / is counted. POST /timed also records when each event arrived, by its `data.request_id`.
POST /hang is never answered. GET /count and GET /arrivals return the records as JSON.
"""

import asyncio
import contextlib
import re
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import cast

import httptools
import msgspec
import uvloop

from ..peers.peer import free_port, listens, started
from .processes import ROOT

_REQUEST_ID = re.compile(rb'"request_id":"([0-9]+)"')


class ArrivalCount(msgspec.Struct, frozen=True):
    count: int
    #: When the last came, by `time.monotonic`; 0 before the first.
    last: float


class _Arrivals:
    """The records of the process."""

    def __init__(self) -> None:
        self.count, self.last = 0, 0.0
        #: When events came, by request id.
        self.times: dict[str, float] = {}

    def add(self, body: bytes, *, timed: bool) -> None:
        self.count += 1
        self.last = time.monotonic()
        found = _REQUEST_ID.search(body) if timed else None
        if found:
            self.times.setdefault(found[1].decode(), self.last)


class _ReceiverConnection(asyncio.Protocol):
    def __init__(self, arrivals: _Arrivals) -> None:
        self._arrivals = arrivals
        self._parser = httptools.HttpRequestParser(self)
        self._path, self._body = b"", bytearray()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    # Called by the parser

    def on_url(self, url: bytes) -> None:
        self._path = url

    def on_body(self, body: bytes) -> None:
        self._body += body

    def on_message_complete(self) -> None:
        body, self._body = bytes(self._body), bytearray()
        if self._parser.get_method() == b"GET":
            asked = self._path == b"/arrivals"
            count = ArrivalCount(self._arrivals.count, self._arrivals.last)
            self._answer(msgspec.json.encode(self._arrivals.times if asked else count))
            return
        if self._path.startswith(b"/hang"):
            return
        self._arrivals.add(body, timed=self._path.startswith(b"/timed"))
        self._answer(b"")

    def _answer(self, body: bytes) -> None:
        self._transport.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(body) + body)


class Receiver(msgspec.Struct, frozen=True):
    """A running receiver, asked from outside."""

    #: Its root; the module documents the paths.
    url: str

    @property
    def count(self) -> int:
        return self._count().count

    @property
    def last(self) -> float:
        return self._count().last

    def arrivals(self) -> Mapping[str, float]:
        """When events came, by request id and `time.monotonic`."""
        return msgspec.json.decode(_get(f"{self.url}arrivals"), type=dict[str, float])

    def _count(self) -> ArrivalCount:
        return msgspec.json.decode(_get(f"{self.url}count"), type=ArrivalCount)


@contextlib.contextmanager
def receiving() -> Iterator[Receiver]:
    """Run a receiver in its own process."""
    port = free_port()
    words = (sys.executable, "-m", "benchmarks.lab.receiver", str(port))
    with (
        tempfile.TemporaryDirectory(prefix="smshook-receiver-") as folder,
        started(
            words,
            folder=Path(folder),
            environment={"PYTHONPATH": str(ROOT)},
            ready=lambda: listens(port),
        ),
    ):
        yield Receiver(f"http://127.0.0.1:{port}/")


def _get(url: str) -> bytes:
    with urllib.request.urlopen(url, timeout=30) as answer:  # noqa: S310 - http, ours
        body: bytes = answer.read()
    return body


async def _serve(port: int) -> None:
    arrivals = _Arrivals()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(
        lambda: _ReceiverConnection(arrivals), "127.0.0.1", port, backlog=1024
    )
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(_serve(int(sys.argv[1])))
