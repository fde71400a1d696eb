"""Where the http sinks of a benchmark send: it counts, and answers at once or never."""

import asyncio
import contextlib
import threading
import time
from collections.abc import Iterator
from typing import cast

import httptools

_OK = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"


class Receiver:
    """In a thread of its own; `last` is by the clock of `time.monotonic`."""

    def __init__(self, *, answer: bytes) -> None:
        #: Written for each request; empty: the sink hangs.
        self.answer = answer
        self.url = ""
        self.count = 0
        self.last = 0.0

    def arrived(self) -> None:
        self.count += 1
        self.last = time.monotonic()


class _Connection(asyncio.Protocol):
    def __init__(self, receiver: Receiver) -> None:
        self._receiver = receiver
        self._parser = httptools.HttpRequestParser(self)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_message_complete(self) -> None:
        """Called by httptools, once for each request."""
        self._receiver.arrived()
        self._transport.write(self._receiver.answer)


@contextlib.contextmanager
def answering() -> Iterator[Receiver]:
    """One that answers 200 to everything."""
    with _serving(Receiver(answer=_OK)) as receiver:
        yield receiver


@contextlib.contextmanager
def hanging() -> Iterator[Receiver]:
    """One that takes requests and never answers."""
    with _serving(Receiver(answer=b"")) as receiver:
        yield receiver


@contextlib.contextmanager
def _serving(receiver: Receiver) -> Iterator[Receiver]:
    loop, listens = asyncio.new_event_loop(), threading.Event()

    def serve() -> None:
        server = loop.run_until_complete(
            loop.create_server(lambda: _Connection(receiver), "127.0.0.1", 0)
        )
        receiver.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/events"
        listens.set()
        loop.run_forever()
        server.close()

    thread = threading.Thread(target=serve, name="receiver", daemon=True)
    thread.start()
    listens.wait()
    try:
        yield receiver
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
