"""The process of a service: sockets, signals, start and end."""

import asyncio
import contextlib
import gc
import os
import resource
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn, cast

import structlog
import uvloop

from core.clock import WallClock
from core.errors import Broken, Unavailable
from core.log_sampler import LogSampler
from core.secret import Secret
from core.units import Rate
from httpd.connections import Connections
from httpd.listener import Listener
from httpd.protocol import make_protocol
from journal import Journal
from journal.facts import AuditOptions
from journal.keyring import Keyring
from journal.lock import Holder, Lock
from journal.reads import JournalStats
from journal.sqlite.schema import SQLITE_VERSION, has_wal_reset_race
from receiver.addresses import Peers
from receiver.fields.numbers import load_metadata
from sinks.sink import Sink

from . import __version__
from .config.load import Loaded
from .config.options import Config, host_and_port
from .config.roots import root_keys
from .config.urls import url_at
from .machine import (
    Signals,
    descriptor_limit,
    descriptors_in_use,
    hide_memory,
    leave,
    most_connections,
    notify,
    open_socket,
)
from .runtime.configured_sinks import prepare
from .runtime.credentials import AT_START, hide_stored_credentials
from .runtime.full_disk import open_when_there_is_room
from .runtime.identity import Chance, Identity
from .runtime.parts import Parts
from .runtime.period_keys import make_keys, warn_of_missing_keys
from .runtime.supervisor import Supervisor
from .service import (
    admin_app,
    assemble,
    audit_options,
    open_journal,
    public_app,
    public_door,
    restore,
    run_parts,
)

#: For these seconds after the first signal the door answers 503, so that a proxy that just chose
#: this address tries again.
REFUSING = 1.0
#: Seconds for work in flight, from the first signal.
GRACE = 8.0
#: Seconds after that for the sinks to close, and then for the journal.
CLOSING = 0.4
#: Seconds to answer open requests after the journal failed.
LAST_WORDS = 0.5
#: Seconds in which a service without its lock file still answers 503 and holds its journal.
UNLOCKED = 5.0
#: Thresholds of the garbage collector: new objects until a collection of the young ones, and
#: collections of each age until one of the next.
COLLECTED_AFTER = (5_000, 20, 20)
#: The status of a connection beyond the limit.
_FULL = 503

log = structlog.get_logger()


class PortTaken(Exception):
    """The address is in use, or does not exist on this machine."""


def serve(
    config: Config,
    signals: Signals,
    started: Callable[[Holder], None],
    *,
    load: Callable[[], Loaded],
) -> None:
    """Run a service until a signal, then end the process with 0, or with 1 after a failure.

    `started` is called when callbacks can come. `load` reads the configuration again, for a
    reload. Raises PortTaken, journal.lock.Held, WrongJournal, NoRootKey, and Damaged and
    UnknownRoot of the key file, before anything runs.
    """
    # A core dump would hold texts and codes.
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if config.seal.is_on:
        hide_memory()
    with Lock(config.journal.path) as lock, contextlib.ExitStack() as stack:
        server = config.server
        addresses = [server.listen]
        if server.admin_listen != "same":
            addresses.append(server.admin_listen)
        sockets = [stack.enter_context(bind(listen)) for listen in addresses]
        roots = root_keys(config.seal, config.path.parent)
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            try:
                runner.run(_run(config, roots, lock, sockets, signals, started, load))
            except Broken as exc:
                log.error("journal.error", error=str(exc), then="exit 1")  # noqa: TRY400 - a traceback says no more
                leave(1)


async def _run(
    config: Config,
    roots: Sequence[Secret],
    lock: Lock,
    sockets: Sequence[socket.socket],
    signals: Signals,
    started: Callable[[Holder], None],
    load: Callable[[], Loaded],
) -> NoReturn:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    signals.on_end(lambda: loop.call_soon_threadsafe(stop.set))
    await _prepare(config.sinks)
    identity = Identity(config.server.secret.reveal(), Chance().take)
    clock = WallClock()
    lock.hold()
    period_keys: Keyring | None = None
    audit: AuditOptions | None = None
    await asyncio.to_thread(warn_of_missing_keys, config, config.journal.path)

    async def opened() -> Journal:
        nonlocal period_keys, audit
        if period_keys is None:
            secret = config.server.secret
            period_keys = make_keys(config.seal, roots, now=clock.now(), secret=secret)
            audit = audit_options(config, identity, clock, period_keys)
        return await open_journal(
            config,
            identity,
            now=clock.now(),
            broken=stop.set,
            beside=[lock.path],
            keys=period_keys if roots else None,
            audit=audit,
        )

    journal = await open_when_there_is_room(
        opened,
        listen=lambda absent: _refuse(assemble(config, absent, identity, load=load), lock, sockets),
        stop=stop,
    )
    if journal is None:
        leave(0)
    parts = await restore(
        *(config, journal, identity),
        clock=clock,
        load=load,
        period_keys=period_keys,
        audit=audit,
    )
    first_key = None if parts.audit is None else await parts.audit.begin(config)
    supervisor = Supervisor(stop.set)
    hiding = supervisor.run("credentials", hide_stored_credentials(journal, parts.credentials))
    await asyncio.wait([hiding], timeout=AT_START)
    run_parts(parts, supervisor)
    listeners = await _listen(parts, sockets)
    parts.current.follow(lambda _: lock.publish(_holder(parts, sockets)))
    holder = _holder(parts, sockets)
    started(holder)
    _log_start(config, holder, None if parts.audit is None else parts.audit.started)
    if first_key is not None:
        log.warning("audit.begun", key=first_key, then="keep this line on another machine")
    notify("READY=1")
    # Collect garbage seldom, and skip the objects of the start. Collections took a tenth of an
    # event's time, and hardly any object here is in a cycle.
    gc.collect()
    gc.freeze()
    gc.set_threshold(*COLLECTED_AFTER)
    supervisor.run("backfill", parts.backfills.run())
    signals.on_reload(lambda: loop.call_soon_threadsafe(parts.reloads.request))
    await stop.wait()
    notify("STOPPING=1")
    if journal.failure is not None and not lock.is_in_place():
        # Somebody removed the lock file and may start another service. While this one lives, the
        # other is refused with a message.
        await asyncio.sleep(UNLOCKED)
    code = await _stop(parts, listeners, supervisor.tasks)
    leave(1 if supervisor.failed else code)


async def _prepare(sinks: Mapping[str, Sink]) -> None:
    """Make the shared parts that would otherwise be made at first use. Raises Unusable.

    Later, connections may use up all descriptors. A part that fails to start once stays broken.
    """
    load_metadata()
    # Starts the threads of the resolver: if they cannot start later, the process is aborted.
    with contextlib.suppress(OSError):  # some container images do not know the name
        await asyncio.get_running_loop().getaddrinfo("localhost", None)
    await prepare(sinks)


async def _refuse(parts: Parts, lock: Lock, sockets: Sequence[socket.socket]) -> list[Listener]:
    """Answer 503 on copies of the sockets, while the journal cannot be opened."""
    listeners = await _listen(parts, [sock.dup() for sock in sockets])
    lock.publish(_holder(parts, sockets))
    notify("READY=1")  # otherwise a full disk would count as a failed start
    return listeners


async def _listen(parts: Parts, sockets: Sequence[socket.socket]) -> list[Listener]:
    def reject(status: int, peer: str) -> None:
        reason = "connections" if status == _FULL else f"http_{status}"
        parts.rejections.add(reason, "", peer, parts.identity.request_id())

    in_use = descriptors_in_use()
    sampled = LogSampler(time.monotonic, Rate(count=1, per=60))

    def full() -> None:
        if sampled.take("full") is not None:
            log.warning("connections.full", most=capacity.most)

    capacity = Connections(1, peer=lambda _: None, full=full)
    public = make_protocol(reject, capacity=capacity)
    protocols = [public]
    listeners = [Listener(cast("Any", public_app(parts)), public)]
    if len(sockets) > 1:
        protocols.append(make_protocol(reject, capacity=capacity))
        listeners.append(Listener(cast("Any", admin_app(parts)), protocols[1]))

    def use(config: Config) -> None:
        server = config.server
        most = most_connections(server.connections, descriptor_limit(), in_use)
        capacity.limit(most, peer=Peers(server.trusted_proxies).counted_as)
        # Each reader holds a connection, and callbacks need some, too.
        parts.hub.most_readers = max(1, most * 3 // 4)
        public.door = public_door(parts)
        for protocol in protocols:
            protocol.keep_alive = server.keep_alive

    parts.current.follow(use)
    for listener, sock in zip(listeners, sockets, strict=True):
        await listener.start(sock)
    return listeners


async def _stop(
    parts: Parts, listeners: Sequence[Listener], tasks: Sequence[asyncio.Task[None]]
) -> int:
    """End in order, each step with a deadline; return the exit code."""

    async def close() -> None:
        await parts.rejections.write()
        await parts.keys.write_uses()
        parts.readers.end()
        if parts.audit is not None:
            with contextlib.suppress(Unavailable):  # the next start reports a gap
                await parts.audit.end()
                await parts.audit_file.finish()
                await parts.anchors.finish()
        await parts.journal.close()

    loop = asyncio.get_running_loop()
    parts.intake.drain()
    parts.hub.close()
    if _log_failure(parts.journal):
        await asyncio.gather(*(listener.finish(LAST_WORDS) for listener in listeners))
        return 1
    log.info("service.stopping")
    ends = loop.time() + GRACE
    await asyncio.sleep(REFUSING)
    left = ends - loop.time()
    closing = [asyncio.create_task(worker.close()) for worker in parts.workers.values()]
    await asyncio.gather(*(listener.finish(left) for listener in listeners))
    await _wait(closing, within=ends - loop.time())
    for task in tasks:
        task.cancel()
    await _wait(tasks, within=CLOSING)
    stats = asyncio.create_task(parts.journal.ask(JournalStats()))
    traces = asyncio.create_task(parts.tracer.exporter.finish())
    await _wait([stats, traces], within=CLOSING)
    await _wait([asyncio.create_task(close())], within=CLOSING)
    if _log_failure(parts.journal):
        return 1
    pending = None  # the disk did not answer
    if stats.done() and stats.exception() is None:
        deliveries = stats.result().deliveries
        pending = deliveries["pending"] + deliveries["sending"]
    log.info("service.stopped", pending=pending)
    return 0


async def _wait(tasks: Sequence["asyncio.Task[Any]"], *, within: float) -> None:
    """Wait for tasks, at most `within` seconds. A task that does not end keeps running."""
    if tasks:
        done, _ = await asyncio.wait(tasks, timeout=max(0.0, within))
        for task in done:
            if not task.cancelled():
                task.exception()  # a task that failed has logged the reason


def _log_failure(journal: Journal) -> bool:
    """Log the reason if the journal failed for good; return whether it did."""
    if journal.failure is None:
        return False
    log.error("journal.error", error=journal.failure, then="exit 1; start again to go on")
    return True


def bind(listen: str) -> socket.socket:
    """Return a socket that listens on `HOST:PORT`. Raises PortTaken."""
    try:
        return open_socket(*host_and_port(listen))
    except OSError as exc:
        raise PortTaken(f"cannot listen on {listen}: {exc.strerror}") from exc


def _holder(parts: Parts, sockets: Sequence[socket.socket]) -> Holder:
    config = parts.config
    urls = [url_at(*sock.getsockname()[:2]) for sock in sockets]
    return Holder(
        pid=os.getpid(),
        url=urls[0],
        admin_url=urls[-1],
        key=parts.keys.local_key,
        config=str(config.path),
        digest=config.digest or None,
        root=None if parts.period_keys is None else parts.period_keys.root,
    )


def _log_start(config: Config, holder: Holder, leaf: int | None) -> None:
    base = config.server.public_url or holder.url
    log.info(
        "service.started",
        version=__version__,
        pid=holder.pid,
        url=holder.url,
        admin_url=holder.admin_url,
        sources=[f"{base}/in/{name}/***" for name in config.sources],
        sinks=list(config.sinks),
        leaf=leaf,
        journal=Path(config.journal.path).name,
    )
    if has_wal_reset_race(SQLITE_VERSION):
        # Only logged: the race needs two writing connections, and smshook has one.
        log.info("journal.sqlite_old", version=".".join(map(str, SQLITE_VERSION)))
