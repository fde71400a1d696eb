"""Clients that stream all events, and count them."""

import selectors
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager

from .processes import CaseFailed, Product

#: An event begins with its cursor. Its own text has no line end.
_BEGINS = b"\nid: "
#: Seconds in which a stream must begin.
_PATIENCE = 10.0


class Stream:
    """One connection. Its thread adds what it reads."""

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        self.events = 0
        #: When the last event came, by `time.monotonic`.
        self.last = 0.0
        self._end = b""

    def add(self, part: bytes) -> None:
        """Count the events that begin in a part of the answer."""
        text = self._end + part
        if count := text.count(_BEGINS):
            self.events, self.last = self.events + count, time.monotonic()
        # An event that begins in two parts is counted with the second one.
        self._end = text[1 - len(_BEGINS) :]


@contextmanager
def streaming(product: Product, count: int) -> Iterator[Sequence[Stream]]:
    """Open `count` streams of new events, and read them until the end. Raises CaseFailed."""
    with ExitStack() as stack, selectors.DefaultSelector() as selector:
        streams = [Stream(stack.enter_context(_opened(product))) for _ in range(count)]
        for stream in streams:
            selector.register(stream.connection, selectors.EVENT_READ, stream)
        ended = threading.Event()
        reads = threading.Thread(target=_read, args=(selector, ended))
        reads.start()
        try:
            yield streams
        finally:
            ended.set()
            reads.join()


def _opened(product: Product) -> socket.socket:
    """Open a stream. Return its connection once its answer has begun. Raises CaseFailed."""
    connection = socket.create_connection(("127.0.0.1", product.admin_port), timeout=_PATIENCE)
    connection.sendall(
        b"GET /v1/events/stream HTTP/1.1\r\nHost: 127.0.0.1\r\n"
        b"Authorization: Bearer %b\r\n\r\n" % product.key.encode()
    )
    answer = connection.recv(65_536)
    if not answer.startswith(b"HTTP/1.1 200 "):
        connection.close()
        raise CaseFailed(f"a stream was answered with {answer[:40]!r}")
    return connection


def _read(selector: selectors.BaseSelector, ended: threading.Event) -> None:
    while not ended.is_set():
        for key, _ in selector.select(timeout=0.1):
            key.data.add(key.data.connection.recv(1 << 20))
