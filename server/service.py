"""One running service: what it opens, in which order, and how it ends."""

import asyncio
import contextlib
import gc
import os
import random
import resource
import signal
import socket
import sqlite3
import sys
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import msgspec
import structlog
import uvloop

from journal import Journal
from journal.book import Book
from journal.clock import WallClock
from journal.lock import Holder, Lock
from journal.sqlite import SQLiteJournal, has_wal_reset_race
from receiver.door import App, Door, Gate
from receiver.proof import Peers
from receiver.protocol import Listener, door_protocol
from routes.table import compile_table
from sinks.attempt import Clock, real_clock
from sinks.health import Pause
from sinks.retry import LONGEST_RETRY_AFTER
from sinks.sink import Sink
from sinks.worker import Worker

from . import __version__
from .addresses import url_at
from .api import create_api, create_health
from .backfilling import Backfiller, Backfilling
from .clock_jumps import ClockJumps
from .config import Config, host_and_port
from .identity import Chance, Identity
from .log import write_out
from .orders import Orders
from .pipeline import Pipeline
from .watching import Watching

#: Seconds in which the door still answers, with 503, after the first signal: who was told of this
#: address a moment ago hears that it may try again.
TOLD = 1.0
#: Seconds for work in flight, from the first signal on.
GRACE = 8.0
#: Seconds for the answers of a service whose journal failed.
LAST_WORDS = 0.5
#: Objects made and not freed until the young ones are looked through, and how often that until the
#: older ones are.
COLLECTED_AFTER = (5_000, 20, 20)
#: Seconds for which orders wait, at the start, for what their providers may still tell.
FIRST_ROUNDS = 120.0
#: Seconds until a sink that failed as a whole is opened again.
REOPEN = 1.0

log = structlog.get_logger()


class PortTaken(Exception):
    """Somebody listens there already."""


class Service:
    """Everything that runs, with the arguments it needs."""

    def __init__(
        self,
        config: Config,
        journal: Journal,
        identity: Identity,
        workers: Mapping[str, Worker],
        clock: WallClock | None = None,
    ) -> None:
        self.config, self.journal, self.workers = config, journal, workers
        #: The one clock of all that makes and compares instants.
        self.clock = clock = WallClock() if clock is None else clock
        ClockJumps(clock, journal, workers.values())
        self.gates = [
            Gate(name, source, clock.ticks, since=clock.now())
            for name, source in config.sources.items()
        ]
        book = Book()
        self.pipeline = Pipeline(
            gates=self.gates,
            routes=compile_table(config.routes),
            workers=workers,
            journal=journal,
            identity=identity,
            now=clock.now,
            book=book,
        )
        self.orders = Orders(journal=journal, book=book, pipeline=self.pipeline, now=clock.now)
        self.watching = Watching(self.gates, clock.now, self.orders.waiting_since)
        self.backfilling = Backfilling(
            [
                Backfiller(
                    gate,
                    pipeline=self.pipeline,
                    journal=journal,
                    orders=self.orders,
                    now=clock.now,
                )
                for gate in self.gates
                if gate.source.backfill is not None
            ],
            journal=journal,
            ready=self.ready,
            now=clock.now,
        )
        self._identity = identity

    def ready(self) -> bool:
        return self.journal.working and not (self.pipeline.draining() or self.journal.broken)

    async def end_orders(self) -> None:
        """After the providers were asked: what came while we were away came in time."""
        await self.backfilling.first_rounds(within=FIRST_ROUNDS)
        await self.orders.watch()

    def public(self) -> App:
        """`/in` and health; with `admin_listen: same` the API too."""
        server = self.config.server
        same = server.admin_listen == "same"
        behind = self.admin() if same else cast("App", create_health(self.ready))
        return Door(
            self.gates,
            self.pipeline,
            peers=Peers(server.trusted_proxies),
            max_body=server.max_body,
            behind=behind,
        )

    def admin(self) -> App:
        api = create_api(
            config=self.config,
            gates=self.gates,
            workers=self.workers,
            journal=self.journal,
            pipeline=self.pipeline,
            orders=self.orders,
            backfilling=self.backfilling,
            watching=self.watching,
            identity=self._identity,
            ready=self.ready,
            now=self.clock.now,
        )
        return cast("App", api)  # the framework spells the same out for each kind of message


def serve(config: Config, started: Callable[[Holder], None]) -> int:
    """Run until a signal; the exit code. `started` is called when callbacks can come.

    Raises PortTaken, journal.lock.Held and journal.sqlite.WrongJournal before anything runs.
    """
    # A core dump would hold texts and codes.
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with Lock(config.journal.path) as lock, contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(_bound(listen)) for listen in _addresses(config)]
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            code = runner.run(_run(config, lock, sockets, started))
            if code:
                _leave(code)
    return code


def _leave(code: int) -> None:
    """End without tidying up: closing a journal that failed would write to it."""
    write_out()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError):  # whoever read it has gone
            stream.flush()
    os._exit(code)


async def _run(
    config: Config,
    lock: Lock,
    sockets: Sequence[socket.socket],
    started: Callable[[Holder], None],
) -> int:
    stop = asyncio.Event()
    _on_signals(stop)
    identity = Identity(config.server.secret.reveal(), Chance())
    clock = WallClock()
    journal = await SQLiteJournal.open(
        config.journal.path,
        seal=identity.seal,
        now=clock.now(),
        version=__version__,
        broken=stop.set,
    )
    workers = await _workers(config.sinks, journal, real_clock(random.random, clock))
    service = Service(config, journal, identity, workers, clock)
    await service.orders.load()
    async with _delivering(config.sinks, workers):
        watching = [
            asyncio.create_task(clock.watch()),
            asyncio.create_task(service.pipeline.keep_watch()),
            asyncio.create_task(service.watching.run()),
            asyncio.create_task(service.end_orders()),
        ]
        listeners = await _listening(service, sockets)
        holder = _holder(sockets)
        lock.tell(holder)
        _say_started(config, holder)
        started(holder)
        _warn_of_old_sqlite()
        _spare_the_collector()
        polling = asyncio.create_task(service.backfilling.run())
        await stop.wait()
        polling.cancel()
        code = await _stop(service, listeners)
        for task in watching:
            task.cancel()
        await asyncio.gather(polling, return_exceptions=True)
    if code == 0:
        await service.pipeline.write_rejections()
        await journal.close()
    return code


async def _workers(sinks: Mapping[str, Sink], journal: Journal, clock: Clock) -> dict[str, Worker]:
    """As the journal knows them: paused ones stay so, and what is owed is in the order of now."""
    records = await journal.sinks()
    workers = {}
    for name, sink in sinks.items():
        record = records.get(name)
        await journal.arrange(name, ordered_by=sink.ordered_by)
        # The clock was wrong when it was made due, or the schedule is a shorter one now.
        await journal.clamp(
            name, now=clock.now(), longest=sink.retry.longest, asked=LONGEST_RETRY_AFTER
        )
        if record is not None and record.paused == Pause.FAILING and sink.pause_after is None:
            # Nothing would ever resume it.
            await journal.resume(name)
            record = msgspec.structs.replace(record, paused=None)
        workers[name] = Worker(name, sink, journal, clock, record)
    return workers


def _spare_the_collector() -> None:
    """What a start leaves in memory stays: to look through it again takes a tenth of each event.

    What is made since is looked through seldom: hardly anything here refers to itself.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*COLLECTED_AFTER)


def _on_signals(stop: asyncio.Event) -> None:
    """The first ends the service in order, a second at once."""

    def signalled() -> None:
        if stop.is_set():
            _leave(1)
        stop.set()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, signalled)


async def _listening(service: Service, sockets: Sequence[socket.socket]) -> list[Listener]:
    def broken(status: int, peer: str) -> None:
        service.pipeline.reject(f"http_{status}", "", peer, service.pipeline.request_id())

    protocol = door_protocol(broken)
    apps = [service.public()] if len(sockets) == 1 else [service.public(), service.admin()]
    listeners = [Listener(cast("Any", app), protocol) for app in apps]
    for listener, sock in zip(listeners, sockets, strict=True):
        await listener.start(sock)
    return listeners


@contextlib.asynccontextmanager
async def _delivering(
    sinks: Mapping[str, Sink], workers: Mapping[str, Worker]
) -> AsyncIterator[None]:
    running = [asyncio.create_task(_deliver(sinks[name], workers[name])) for name in sinks]
    try:
        yield
    finally:
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)


async def _deliver(sink: Sink, worker: Worker) -> None:
    """Keep the sink open; one that fails as a whole is opened again, and stops no other."""
    while True:
        try:
            async with sink.open() as send:
                await worker.run(send)
        except Exception as exc:  # noqa: BLE001 - whatever a sink raises stays with the sink
            log.error("sink.fault", sink=worker.name, error=type(exc).__name__)  # noqa: TRY400 - a traceback shows values
            await asyncio.sleep(REOPEN)


async def _stop(service: Service, listeners: Sequence[Listener]) -> int:
    """End in order; the exit code."""
    service.pipeline.drain()
    if service.journal.broken:
        log.error("journal.error", error="failed", then="exit 1; start again to go on")
        await asyncio.gather(*(listener.finish(LAST_WORDS) for listener in listeners))
        return 1
    log.info("service.stopping")
    ends = asyncio.get_running_loop().time() + GRACE
    await asyncio.sleep(TOLD)
    left = ends - asyncio.get_running_loop().time()
    closing = asyncio.gather(*(worker.close() for worker in service.workers.values()))
    await asyncio.gather(*(listener.finish(left) for listener in listeners))
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout_at(ends):
            await closing
    return 1 if service.journal.broken else 0


def _addresses(config: Config) -> list[str]:
    server = config.server
    return [server.listen] + ([] if server.admin_listen == "same" else [server.admin_listen])


def _bound(listen: str) -> socket.socket:
    host, port = host_and_port(listen)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        sock.bind((host, port))
        # Two may bind an address on which nobody listens yet.
        sock.listen()
    except OSError as exc:
        sock.close()
        raise PortTaken(f"cannot listen on {listen}: {exc.strerror}") from exc
    sock.setblocking(False)
    return sock


def _holder(sockets: Sequence[socket.socket]) -> Holder:
    urls = [url_at(*sock.getsockname()[:2]) for sock in sockets]
    return Holder(pid=os.getpid(), url=urls[0], admin_url=urls[-1])


def _say_started(config: Config, holder: Holder) -> None:
    log.info(
        "service.started",
        version=__version__,
        pid=holder.pid,
        url=holder.url,
        admin_url=holder.admin_url,
        sources=[
            f"{config.server.public_url or holder.url}/in/{name}/***" for name in config.sources
        ],
        sinks=list(config.sinks),
        journal=Path(config.journal.path).name,
    )


def _warn_of_old_sqlite() -> None:
    if has_wal_reset_race(sqlite3.sqlite_version_info):
        # One connection writes and checkpoints here, which the race needs two of.
        log.warning("journal.sqlite_old", version=sqlite3.sqlite_version)
