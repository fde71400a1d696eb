"""A fault of the server costs one timeout at most, and the next delivery succeeds.

The sink runs in its worker, as in the service, with one delivery at a time.
"""

import asyncio
import contextlib
import resource
import socket
import time

import pytest
import trustme
from contracts.journal import planned, record
from endpoint import Endpoint, endpoint, server_tls
from hostile import DELIVERED, FAULTS, OK, TIMED_OUT, saying
from journals import prepared

from core.delivery import State
from core.secret import Secret
from core.units import Duration
from journal.reads import EventById
from journal.sqlite.journal import SQLiteJournal
from sinks.attempt import real_clock
from sinks.http import answer
from sinks.http.client import Tls
from sinks.http.sink import Http
from sinks.retry import Retry
from sinks.worker import Worker

#: A test that takes longer hangs.
SOON = 20
each_client = pytest.mark.usefixtures("each_client")
#: Milliseconds of one attempt: far more than `TIMEOUT`, for a busy machine.
LONGEST = 10_000
TIMEOUT = Duration(1.5)
#: The most megabytes of memory for an answer of any size.
ROOM = 48


def to(url, **options):
    """Return a sink that tries each delivery once."""
    once = Retry(schedule=(Duration(0),))
    return Http(url=Secret(url), retry=once, **{"timeout": TIMEOUT, "concurrency": 1} | options)


class Running:
    """A sink's worker, with a journal of its own."""

    def __init__(self, worker, journal):
        self.worker, self.journal = worker, journal

    async def owe(self):
        """Record one more event, and return its id."""
        plan = planned(owed=[self.worker.plan_delivery({})], at=time.time())
        await record(self.journal, plan)
        return plan.event.id

    async def settled(self, event_id):
        """Return its state, and the status and word of its only attempt."""
        async with asyncio.timeout(SOON):
            while True:
                (kept,) = (await self.journal.ask(EventById(event_id))).deliveries
                if kept.state in (State.DELIVERED, State.DEAD):
                    break
                await asyncio.sleep(0.01)
        (attempt,) = kept.attempts
        assert attempt.took_ms < LONGEST
        return kept.state, attempt.status, attempt.error


@contextlib.asynccontextmanager
async def running(sink, folder):
    async with opened(folder) as journal, working("out", sink, journal) as run:
        yield run


@contextlib.asynccontextmanager
async def opened(folder):
    journal = await SQLiteJournal.open(
        prepared(folder / "smshook.db"), seal="seal", now=time.time(), version="0.1.0"
    )
    try:
        yield journal
    finally:
        await journal.close()


@contextlib.asynccontextmanager
async def working(name, sink, journal):
    worker = Worker(name, sink, journal, real_clock(lambda: 0.0))
    async with sink.open() as send:
        task = asyncio.create_task(worker.run(send))
        try:
            yield Running(worker, journal)
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


@each_client
@pytest.mark.parametrize(("fault", "expected"), FAULTS.values(), ids=FAULTS)
async def test_fault_costs_its_own_delivery_and_not_the_next(tmp_path, fault, expected):
    """Mutants: no deadline in the client; the body is read to its end; a 2xx waits for its body;
    redirects are followed.
    """
    async with endpoint() as end, running(to(end.url), tmp_path) as sink:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        end.says(fault)

        first, second = await sink.owe(), await sink.owe()

        assert (await sink.settled(first), await sink.settled(second)) == (expected, DELIVERED)
        assert [request.headers["webhook-id"] for request in end.requests] == [first, second]
        assert all("cookie" not in request.headers for request in end.requests)
        grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
        assert grown < ROOM * 1024


#: They never end, and cost their sink its whole timeout, here an hour.
ENDLESS = {
    name: FAULTS[name][0]
    for name in (
        "it takes the request and says nothing",
        "a byte of header a second",
        "answers that are none, without end",
    )
}


@each_client
@pytest.mark.parametrize("fault", ENDLESS.values(), ids=ENDLESS)
async def test_hostile_sink_delays_no_other(tmp_path, fault):
    """The other sink delivers twenty events while the attempt at the hostile one lasts.

    Mutant: one lock around the attempts of all sinks.
    """
    async with (
        opened(tmp_path) as journal,
        endpoint() as bad,
        endpoint() as good,
        working("bad", to(bad.url, timeout=Duration(3600)), journal) as hostile,
        working("good", to(good.url, timeout=Duration(3600)), journal) as other,
    ):
        bad.says(fault)
        stuck = await hostile.owe()
        async with asyncio.timeout(SOON):
            while not bad.inside:  # noqa: ASYNC110 - it has no event for this
                await asyncio.sleep(0.01)

        events = [await other.owe() for _ in range(20)]

        assert [await other.settled(each) for each in events] == [DELIVERED] * 20
        (kept,) = (await journal.ask(EventById(stuck))).deliveries
        assert (kept.state, kept.owner is None, bad.inside) == (State.PENDING, False, 1)


@each_client
async def test_trickling_body_costs_two_seconds_only(tmp_path, monkeypatch):
    """Mutant: the body may take the whole timeout."""
    monkeypatch.setattr(answer, "BODY_PATIENCE", 0.1)
    trickle = saying(OK, b"Content-Length: 99\r\n\r\n", after=b"x", every=0.05)
    async with endpoint() as end, running(to(end.url, timeout=Duration(3600)), tmp_path) as sink:
        end.says(trickle)

        first, second = await sink.owe(), await sink.owe()

        assert [await sink.settled(each) for each in (first, second)] == [DELIVERED, DELIVERED]


@each_client
async def test_closed_port_fails_as_refused(tmp_path):
    async with endpoint() as end:
        port = end.port
    async with running(to(f"http://127.0.0.1:{port}"), tmp_path) as sink:
        assert await sink.settled(await sink.owe()) == (State.DEAD, None, "refused")

        async with endpoint(port=port):
            assert await sink.settled(await sink.owe()) == DELIVERED


@each_client
async def test_connection_never_accepted_times_out(tmp_path):
    """The listener does not accept, and its queue is full: not even TCP answers."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as listener:
        address = listener.getsockname()
        waiting = [_begun(address) for _ in range(8)]
        async with running(to(f"http://127.0.0.1:{address[1]}"), tmp_path) as sink:
            assert await sink.settled(await sink.owe()) == TIMED_OUT

            for each in waiting:
                each.close()
            end = Endpoint()
            server = await asyncio.start_server(end.serve, sock=listener)
            assert await sink.settled(await sink.owe()) == DELIVERED
            server.close()
            await end.end()


def _begun(address):
    """Begin a connection, and do not wait for it."""
    sock = socket.socket()
    sock.setblocking(False)
    with contextlib.suppress(BlockingIOError):
        sock.connect(address)
    return sock


async def test_missing_handshake_times_out(tmp_path):
    authority = trustme.CA()
    (tmp_path / "ca.pem").write_bytes(authority.cert_pem.bytes())
    async with contextlib.AsyncExitStack() as stalled:
        port = await stalled.enter_async_context(silence())
        tls = Tls(ca_file=str(tmp_path / "ca.pem"))
        async with running(to(f"https://localhost:{port}", tls=tls), tmp_path) as sink:
            assert await sink.settled(await sink.owe()) == TIMED_OUT

            await stalled.aclose()
            async with endpoint(port=port, tls=server_tls(authority)):
                assert await sink.settled(await sink.owe()) == DELIVERED


@pytest.mark.parametrize(
    "said",
    [b"\x15\3\3\0\2\2\x28", b"HTTP/1.1 200 OK\r\n\r\n", bytes(range(128, 256)) * 64],
    ids=["alert", "plain-http", "chance"],
)
async def test_broken_handshake_fails_with_tls(tmp_path, said):
    async with endpoint() as end, running(to(f"https://localhost:{end.port}"), tmp_path) as sink:
        end.greeting = said

        first, second = await sink.owe(), await sink.owe()

        failed = (State.DEAD, None, "tls")
        assert [await sink.settled(each) for each in (first, second)] == [failed, failed]
        assert end.requests == []


@contextlib.asynccontextmanager
async def silence():
    """Accept connections on a port, and send nothing."""
    end = Endpoint()

    async def say_nothing(reader, writer):
        end._tasks.add(asyncio.current_task())
        with contextlib.suppress(asyncio.CancelledError, ConnectionError):
            while await reader.read(65536):
                pass
        writer.close()

    server = await asyncio.start_server(say_nothing, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        await end.end()


@each_client
async def test_unknown_name_fails_as_dns(tmp_path):
    """A label of 64 letters is invalid, so no resolver is asked for it."""
    async with running(to(f"http://{'a' * 64}.example/"), tmp_path) as sink:
        first, second = await sink.owe(), await sink.owe()

        failed = (State.DEAD, None, "dns")
        assert [await sink.settled(each) for each in (first, second)] == [failed, failed]
