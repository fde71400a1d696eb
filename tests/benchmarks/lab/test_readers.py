"""The clients that wait get the events of their own numbers, and measure when."""

import asyncio
import itertools
import re

import pytest

from benchmarks.lab.processes import CaseFailed
from benchmarks.lab.readers import Readers

WAITS, STREAMS = 20, 3


class Service(asyncio.Protocol):
    """Answers a callback at once, and then the wait and the stream of its number."""

    #: The connection of each reader, by number; and the numbers that get the event of another.
    readers, others = {}, {}

    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        if data.startswith(b"GET"):
            number = re.search(rb"number=(\d+)", data)[1]
            self.readers[b"stream" in data, number] = self.transport
            if b"stream" in data:
                self.transport.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
            return
        self.transport.write(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
        number = re.search(rb"to=(\d+)", data)[1]
        stream = self.readers.get((True, number))
        if stream is not None:
            stream.write(b"8\r\ndata: {}\r\n")
        body = self.others.get(number, number)
        answer = b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body)
        self.readers[False, number].write(answer)


async def measured(monkeypatch, others):
    """Open readers whose connections open in the opposite order, and measure."""
    server = await asyncio.get_running_loop().create_server(Service, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    monkeypatch.setattr(Service, "readers", {})
    monkeypatch.setattr(Service, "others", others)
    connect, clients = Readers._connect, []
    delays = itertools.chain(range(WAITS + STREAMS, 0, -1), itertools.repeat(0))

    async def connected(self, port):
        await asyncio.sleep(next(delays) / 250)
        clients.append(await connect(self, port))
        return clients[-1]

    monkeypatch.setattr(Readers, "_connect", connected)
    readers = Readers(url, "key", f"{url}/in/tellabot/token", 0)
    try:
        async with asyncio.timeout(20):
            await readers.open(WAITS, STREAMS)
            while len(Service.readers) < WAITS + STREAMS:  # noqa: ASYNC110 - many of them
                await asyncio.sleep(0.01)
            return await readers.measure(rate=50)
    finally:
        for client in clients:
            client.transport.abort()
        server.close()
        await asyncio.sleep(0.1)  # the server's side of each connection ends, too


async def test_wait_is_paired_with_its_own_callback(monkeypatch):
    """Connections open in any order. A late answer would be that of another number.

    Mutant: `open` keeps the waits in the order in which they connected. The run fails.
    """
    result = await measured(monkeypatch, {})
    assert len(result.after_commit) == len(result.whole) == WAITS
    assert result.streamed == STREAMS


async def test_answer_with_the_event_of_another_fails(monkeypatch):
    """A wait that gets an event of another number has no time that could be measured.

    Mutant: `measure` does not look at the answer. No error comes.
    """
    with pytest.raises(CaseFailed, match="event of another"):
        await measured(monkeypatch, {b"18500000000": b"18500000001"})
