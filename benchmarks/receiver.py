"""Where http sinks and peers deliver: a process that counts, remembers when, and answers at once.

python -m benchmarks.receiver PORT

POST / is counted; POST /timed also remembers when each event came, by its `data.request_id`;
POST /hang is never answered. GET /count and GET /arrivals say what is known, as JSON.
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

from .bench import ROOT
from .peers.peer import free_port, listens, started

_REQUEST_ID = re.compile(rb'"request_id":"([0-9]+)"')


class Count(msgspec.Struct, frozen=True):
    count: int
    #: When the last came, by the clock of `time.monotonic`; 0: none has.
    last: float


class _Known:
    """What the process knows."""

    def __init__(self) -> None:
        self.count, self.last = 0, 0.0
        #: When events came, by their request id.
        self.arrivals: dict[str, float] = {}

    def arrived(self, body: bytes, *, timed: bool) -> None:
        self.count += 1
        self.last = time.monotonic()
        found = _REQUEST_ID.search(body) if timed else None
        if found:
            self.arrivals.setdefault(found[1].decode(), self.last)


class _Connection(asyncio.Protocol):
    def __init__(self, known: _Known) -> None:
        self._known = known
        self._parser = httptools.HttpRequestParser(self)
        self._path, self._body = b"", bytearray()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    # What the parser calls

    def on_url(self, url: bytes) -> None:
        self._path = url

    def on_body(self, body: bytes) -> None:
        self._body += body

    def on_message_complete(self) -> None:
        body, self._body = bytes(self._body), bytearray()
        if self._parser.get_method() == b"GET":
            self._answer(self._told())
            return
        if self._path.startswith(b"/hang"):
            return
        self._known.arrived(body, timed=self._path.startswith(b"/timed"))
        self._answer(b"")

    def _told(self) -> bytes:
        known = self._known
        if self._path == b"/arrivals":
            return msgspec.json.encode(known.arrivals)
        return msgspec.json.encode(Count(known.count, known.last))

    def _answer(self, body: bytes) -> None:
        self._transport.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(body) + body)


class Receiver(msgspec.Struct, frozen=True):
    """A receiver that is running, asked from outside."""

    #: Its root; paths are as the module says.
    url: str

    @property
    def count(self) -> int:
        return self._asked().count

    @property
    def last(self) -> float:
        return self._asked().last

    def arrivals(self) -> Mapping[str, float]:
        """When events came, by their request id and the clock of `time.monotonic`."""
        return msgspec.json.decode(_get(f"{self.url}arrivals"), type=dict[str, float])

    def _asked(self) -> Count:
        return msgspec.json.decode(_get(f"{self.url}count"), type=Count)


@contextlib.contextmanager
def receiving() -> Iterator[Receiver]:
    """One in a process of its own."""
    port = free_port()
    words = (sys.executable, "-m", "benchmarks.receiver", str(port))
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
    known = _Known()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: _Connection(known), "127.0.0.1", port, backlog=1024)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(_serve(int(sys.argv[1])))
