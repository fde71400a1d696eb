"""One running service: what it opens, in which order, and how it ends."""

import asyncio
import contextlib
import gc
import ipaddress
import os
import random
import resource
import socket
import sqlite3
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NoReturn, cast
from urllib.parse import urlsplit

import msgspec
import structlog
import uvloop

from core.clock import WallClock
from core.errors import Broken
from core.units import Rate
from httpd.connections import Connections
from httpd.listener import Listener
from httpd.own_host import OwnHost
from httpd.protocol import door_protocol
from journal import Journal, JournalHealth
from journal.lock import Holder, Lock
from journal.order_book import OrderBook
from journal.reads import JournalStats, SinkRecords
from journal.records import Stats
from journal.sqlite.journal import SQLiteJournal
from journal.sqlite.schema import has_wal_reset_race
from journal.writes import Clamp, IndexVisible, Reorder, ResumeSink
from receiver.addresses import Peers
from receiver.door import App, Door
from receiver.fields.numbers import load_metadata
from receiver.sample_ids import Sampled
from receiver.source_state import SourceState
from routes.table import compile_table
from sinks.attempt import Clock, real_clock
from sinks.health import Pause
from sinks.retry import LONGEST_RETRY_AFTER
from sinks.sink import Sink
from sinks.worker import Worker

from . import __version__
from .api.app import create_api, create_health
from .api.auth import key_filters
from .config.options import Config, host_and_port
from .config.urls import url_at
from .process import Ending, descriptor_limit, descriptors_in_use, leave, most_connections, notify
from .runtime.accept import Pipeline
from .runtime.backfill import Backfiller, Backfilling
from .runtime.balances import Balances
from .runtime.chores import finish
from .runtime.clock_jumps import ClockJumps, watch_clock
from .runtime.credentials import AT_START, hide_stored_credentials
from .runtime.delivering import SinkRunner
from .runtime.full_disk import open_when_there_is_room
from .runtime.identity import Chance, Identity
from .runtime.orders import Orders
from .runtime.silence import Watching

#: Seconds in which the door still answers, with 503, after the first signal: who was told of this
#: address a moment ago hears that it may try again.
TOLD = 1.0
#: Seconds for work in flight, from the first signal on.
GRACE = 8.0
#: Seconds after that for the sinks, and then for the journal, to close.
CLOSING = 0.4
#: Seconds for the answers of a service whose journal failed.
LAST_WORDS = 0.5
#: Seconds in which a service whose lock was removed still keeps others from its journal, and
#: answers 503.
REFUSING = 5.0
#: Objects made and not freed until the young ones are looked through, and how often that until the
#: older ones are.
COLLECTED_AFTER = (5_000, 20, 20)
#: Seconds for which orders wait, at the start, for what their providers may still tell.
FIRST_ROUNDS = 120.0

#: The status of a connection for which there is no room.
_FULL = 503

log = structlog.get_logger()


class PortTaken(Exception):
    """Somebody listens there already."""


class RunningService:
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
            SourceState(name, source, clock.ticks) for name, source in config.sources.items()
        ]
        book = OrderBook()
        self.pipeline = Pipeline(
            gates=self.gates,
            routes=compile_table(config.routes),
            workers=workers,
            journal=journal,
            identity=identity,
            now=clock.now,
            ticks=clock.ticks,
            book=book,
        )
        self.orders = Orders(
            journal=journal,
            book=book,
            pipeline=self.pipeline,
            now=clock.now,
            ticks=clock.ticks,
        )
        clock.listen(self.orders.follow_clock)
        self.balances = Balances(journal=journal, pipeline=self.pipeline, now=clock.now)
        self.watching = Watching(self.gates, clock.now, self.orders.waiting_since)
        self.backfilling = Backfilling(
            [
                Backfiller(
                    gate,
                    pipeline=self.pipeline,
                    journal=journal,
                    orders=self.orders,
                    balances=self.balances,
                    now=clock.now,
                    ticks=clock.ticks,
                )
                for gate in self.gates
                if gate.source.backfill is not None
            ],
            journal=journal,
            ready=self.ready,
            now=clock.now,
            ticks=clock.ticks,
        )
        self._identity = identity

    def ready(self) -> bool:
        return self.journal.health is JournalHealth.WORKING and not self.pipeline.draining()

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
            balances=self.balances,
            watching=self.watching,
            identity=self._identity,
            ready=self.ready,
            now=self.clock.now,
        )
        server = self.config.server
        return OwnHost(
            cast("App", api),  # the framework spells the same out for each kind of message
            names=[*server.admin_hosts, *_names_of(server.public_url)],
            any_host=not _is_loopback(server.admin_listen),
        )


def _names_of(public_url: str | None) -> list[str]:
    name = urlsplit(public_url).hostname if public_url else None
    return [name] if name else []


def _is_loopback(listen: str) -> bool:
    """Only this machine reaches it there: who asks by another name is a web page."""
    if listen == "same":
        return False
    host, _ = host_and_port(listen)
    with contextlib.suppress(ValueError):
        return ipaddress.ip_address(host).is_loopback
    return host == "localhost"


def serve(config: Config, ending: Ending, started: Callable[[Holder], None]) -> None:
    """Run until a signal, then end the process: 0 if in order, else 1.

    `started` is called when callbacks can come. Raises PortTaken, journal.lock.Held and
    WrongJournal before anything runs.
    """
    # A core dump would hold texts and codes.
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with Lock(config.journal.path) as lock, contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(_bound(listen)) for listen in _addresses(config)]
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            try:
                runner.run(_run(config, lock, sockets, ending, started))
            except Broken as exc:
                log.error("journal.error", error=str(exc), then="exit 1")  # noqa: TRY400 - a traceback says no more
                leave(1)


async def _run(
    config: Config,
    lock: Lock,
    sockets: Sequence[socket.socket],
    ending: Ending,
    started: Callable[[Holder], None],
) -> NoReturn:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    ending.call(lambda: loop.call_soon_threadsafe(stop.set))
    await _make_shared_parts(config.sinks)
    identity = Identity(config.server.secret.reveal(), Chance())
    clock = WallClock()
    lock.hold()
    journal = await open_when_there_is_room(
        lambda: SQLiteJournal.open(
            config.journal.path,
            seal=identity.seal,
            now=clock.now(),
            version=__version__,
            broken=stop.set,
            beside=[lock.path],
            filters=key_filters(config.api.keys),
        ),
        listen=lambda absent: _answering(config, absent, identity, lock, sockets),
        stop=stop,
    )
    if journal is None:
        leave(0)
    workers = await _workers(config.sinks, journal, real_clock(random.random, clock), identity)
    service = RunningService(config, journal, identity, workers, clock)
    await service.orders.load()
    await service.balances.load()
    health = Supervisor(stop.set)
    hiding = health.run("credentials", hide_stored_credentials(journal, service.pipeline))
    await asyncio.wait([hiding], timeout=AT_START)
    for name, worker in workers.items():
        part = f"sink {name}"
        give_up = partial(health.give_up, part, "unusable")
        runner = SinkRunner(config.sinks[name], worker, ticks=loop.time, give_up=give_up)
        health.run(part, runner.run())
    health.run("visible events", finish(lambda: journal.submit(IndexVisible())))
    health.run("clock", watch_clock(clock))
    health.run("journal", service.pipeline.keep_watch())
    health.run("sources", service.watching.run())
    health.run("orders", service.end_orders())
    listeners = await _listening(service, sockets)
    holder = _holder(config, sockets)
    lock.tell(holder)
    started(holder)
    _say_started(config, holder)
    notify("READY=1")
    _say_old_sqlite()
    _spare_the_collector()
    health.run("backfill", service.backfilling.run())
    await stop.wait()
    notify("STOPPING=1")
    if journal.failure is not None and not lock.is_in_place():
        # Whoever removed it may be starting another: that one is refused, in words.
        await asyncio.sleep(REFUSING)
    code = await _stop(service, listeners, health.tasks)
    leave(1 if health.failed else code)


class Supervisor:
    """The parts of a service that must run: without one of them it ends, to be started again.

    A service that answers callbacks and delivers nothing would look well from outside.
    """

    def __init__(self, stop: Callable[[], None]) -> None:
        self.tasks: list[asyncio.Task[None]] = []
        self.failed = False
        self._stop = stop

    def run(self, part: str, coroutine: Coroutine[None, None, None]) -> "asyncio.Task[None]":
        """Run it beside the others until the service ends."""
        task = asyncio.create_task(coroutine)
        task.add_done_callback(lambda done: self._ended(part, done))
        self.tasks.append(task)
        return task

    def give_up(self, part: str, error: str) -> None:
        """End the process with exit code 1."""
        if not self.failed:
            self.failed = True
            log.error("service.failed", part=part, error=error, then="exit 1; start again to go on")
            self._stop()

    def _ended(self, part: str, done: "asyncio.Task[None]") -> None:
        if not done.cancelled() and (exc := done.exception()) is not None:
            self.give_up(part, type(exc).__name__)


async def _workers(
    sinks: Mapping[str, Sink], journal: Journal, clock: Clock, identity: Identity
) -> dict[str, Worker]:
    """As the journal knows them: paused ones stay so, and what is owed is in the order of now."""
    records = await journal.ask(SinkRecords())
    workers = {}
    for name, sink in sinks.items():
        record = records.get(name)
        await journal.submit(Reorder(name, ordered_by=sink.ordered_by))
        # The clock was wrong when it was made due, or the schedule is a shorter one now.
        await journal.submit(
            Clamp(name, now=clock.now(), longest=sink.retry.longest, asked=LONGEST_RETRY_AFTER)
        )
        if record is not None and record.paused == Pause.FAILING and sink.pause_after is None:
            # Nothing would ever resume it.
            await journal.submit(ResumeSink(name))
            record = msgspec.structs.replace(record, paused=None)
        workers[name] = Worker(name, sink, journal, clock, record, shown=identity.delivery_id)
    return workers


def _spare_the_collector() -> None:
    """What a start leaves in memory stays: to look through it again takes a tenth of each event.

    What is made since is looked through seldom: hardly anything here refers to itself.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*COLLECTED_AFTER)


async def _listening(service: RunningService, sockets: Sequence[socket.socket]) -> list[Listener]:
    def broken(status: int, peer: str) -> None:
        reason = "connections" if status == _FULL else f"http_{status}"
        service.pipeline.reject(reason, "", peer, service.pipeline.request_id())

    server = service.config.server
    most = most_connections(server.connections, descriptor_limit(), descriptors_in_use())
    once = Sampled(time.monotonic, Rate(count=1, per=60))

    def full() -> None:
        if once.take("full") is not None:
            log.warning("connections.full", most=most)

    capacity = Connections(most, peer=Peers(server.trusted_proxies).counted_as, full=full)
    protocol = door_protocol(broken, keep_alive=server.keep_alive, capacity=capacity)
    apps = [service.public()] if len(sockets) == 1 else [service.public(), service.admin()]
    listeners = [Listener(cast("Any", app), protocol) for app in apps]
    for listener, sock in zip(listeners, sockets, strict=True):
        await listener.start(sock)
    return listeners


async def _make_shared_parts(sinks: Mapping[str, Sink]) -> None:
    """Make now what would else be made at first use, and stay broken if that failed.

    Raises Unusable. At first use a stranger may hold all descriptors; now nobody can.
    """
    load_metadata()
    # The event loop's threads for names: where they cannot be started, the process is aborted.
    with contextlib.suppress(OSError):  # an image may know no such name; the threads are there
        await asyncio.get_running_loop().getaddrinfo("localhost", None)
    for kind in {type(sink): sink for sink in sinks.values()}.values():
        await kind.prepare()


async def _stop(
    service: RunningService, listeners: Sequence[Listener], tasks: Sequence[asyncio.Task[None]]
) -> int:
    """End in order, each step with a deadline; the exit code."""
    service.pipeline.drain()
    if _said_why(service.journal):
        await asyncio.gather(*(listener.finish(LAST_WORDS) for listener in listeners))
        return 1
    log.info("service.stopping")
    ends = asyncio.get_running_loop().time() + GRACE
    await asyncio.sleep(TOLD)
    left = ends - asyncio.get_running_loop().time()
    closing = [asyncio.create_task(worker.close()) for worker in service.workers.values()]
    await asyncio.gather(*(listener.finish(left) for listener in listeners))
    await _wait(closing, within=ends - asyncio.get_running_loop().time())
    for task in tasks:
        task.cancel()
    await _wait(tasks, within=CLOSING)
    stats = asyncio.create_task(service.journal.ask(JournalStats()))
    await _wait([stats], within=CLOSING)
    ended = [asyncio.create_task(_close(service))]
    await _wait(ended, within=CLOSING)
    if _said_why(service.journal):
        return 1
    log.info("service.stopped", pending=_pending(stats))
    return 0


async def _close(service: RunningService) -> None:
    await service.pipeline.write_rejections()
    await service.journal.close()


def _pending(stats: "asyncio.Task[Stats]") -> int | None:
    """Deliveries that wait for the next start; None where the disk did not say in time."""
    if not stats.done() or stats.exception() is not None:
        return None
    deliveries = stats.result().deliveries
    return deliveries["pending"] + deliveries["sending"]


async def _wait(tasks: Sequence["asyncio.Task[Any]"], *, within: float) -> None:
    """Wait for them, so many seconds at most; a task that does not end is left alone."""
    if tasks:
        done, _ = await asyncio.wait(tasks, timeout=max(0.0, within))
        for task in done:
            if not task.cancelled():
                task.exception()  # what failed has said so itself


def _said_why(journal: Journal) -> bool:
    """Whether the journal failed for good: then the log says why."""
    if journal.failure is None:
        return False
    log.error("journal.error", error=journal.failure, then="exit 1; start again to go on")
    return True


async def _answering(
    config: Config,
    absent: Journal,
    identity: Identity,
    lock: Lock,
    sockets: Sequence[socket.socket],
) -> list[Listener]:
    """A service that takes nothing, on copies of the sockets."""
    listeners = await _listening(
        RunningService(config, absent, identity, {}), [sock.dup() for sock in sockets]
    )
    lock.tell(_holder(config, sockets))
    notify("READY=1")  # it answers: how long the disk is full is no failed start
    return listeners


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


def _holder(config: Config, sockets: Sequence[socket.socket]) -> Holder:
    urls = [url_at(*sock.getsockname()[:2]) for sock in sockets]
    return Holder(
        pid=os.getpid(),
        url=urls[0],
        admin_url=urls[-1],
        config=str(config.path),
        digest=config.digest or None,
    )


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


def _say_old_sqlite() -> None:
    if has_wal_reset_race(sqlite3.sqlite_version_info):
        # One connection writes and checkpoints here, which the race needs two of.
        log.info("journal.sqlite_old", version=sqlite3.sqlite_version)
