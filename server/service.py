"""Puts the parts of a service together, once for the process and for tests."""

import contextlib
import ipaddress
import random
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import cast

import msgspec
import structlog

from core.clock import WallClock, boot_ticks, utc
from httpd.body_time import BodyTime
from httpd.own_host import App, OwnHost, Receive, Scope, Send
from journal import Journal
from journal.commitments import Commitments
from journal.facts import AuditOptions
from journal.keyring import Keyring
from journal.order_book import OrderBook
from journal.reads import SinkRecords
from journal.records import SinkRecord
from journal.seal import PeriodKeys
from journal.sqlite.journal import SQLiteJournal
from journal.writes import IndexVisible, ResumeSink
from receiver.addresses import Peers
from receiver.door import Door
from receiver.samples import SampleSigner
from sinks.attempt import real_clock
from sinks.health import Pause
from sinks.pace import Pace
from sinks.sink import Sink
from sinks.worker import Worker

from . import __version__
from .api.app import create_api, create_health
from .api.errors import BODY_TIME
from .config.files import ERASED_IDS
from .config.load import Loaded
from .config.options import Config, host_and_port
from .console.app import Console
from .log.frequent import frequent_lines
from .runtime.accept import Recorder
from .runtime.accept_traces import AcceptTraces
from .runtime.alerts import Alerts
from .runtime.anchors import Anchors
from .runtime.audit import AuditFacts, AuditKeeper, is_signed
from .runtime.audit_file import AuditFile
from .runtime.backfill import Backfiller
from .runtime.balances import Balances
from .runtime.calls import forget_calls
from .runtime.clock_jumps import ClockJumps, watch_clock
from .runtime.configured_sinks import ConfiguredSinks, adapt, read_options
from .runtime.credentials import HeaderCredentials
from .runtime.current import Current
from .runtime.disk import DiskMonitor
from .runtime.erasure import ErasedIds, Erasures
from .runtime.free_space import FreeSpace
from .runtime.given_up import GivenUpCounts
from .runtime.heartbeat import HeartbeatSender
from .runtime.history import History
from .runtime.hub import Hub
from .runtime.identity import Chance, Identity
from .runtime.intake import CallbackIntake
from .runtime.journal_monitor import JournalMonitor
from .runtime.keys import Keys, codes_read, key_filters
from .runtime.orders import Orders
from .runtime.outages import Backfills
from .runtime.parts import Parts
from .runtime.period_keys import prepare_keys
from .runtime.planner import Planner, no_entries
from .runtime.quarantine import QuarantineKeeper
from .runtime.readers import Readers
from .runtime.readiness import Readiness
from .runtime.rejections import RejectionCounter
from .runtime.reload import Reloads
from .runtime.replays import Replays
from .runtime.retention import Pruner
from .runtime.samples import SampleEvents
from .runtime.sealing import RowSealer
from .runtime.silence import SourceMonitor
from .runtime.subscriptions import PREFIX, LiveSubscriptions
from .runtime.supervisor import Supervisor, finish, repeat
from .runtime.verification import AuditVerifier
from .runtime.watching import Watching
from .tracing import Tracer

#: After a start, orders end only after the first backfills, which may bring their SMS. These are
#: the seconds that they wait for them.
FIRST_RUNS = 120.0

log = structlog.get_logger()


async def open_journal(
    config: Config,
    identity: Identity,
    *,
    now: float,
    broken: Callable[[], None] = lambda: None,
    beside: Sequence[Path] = (),
    keys: PeriodKeys | None = None,
    audit: AuditOptions | None = None,
) -> Journal:
    """Open the configured journal.

    `broken` is called when it fails for good; `beside` are files that belong to it. `keys` seal
    new rows; None: they are stored in clear. `audit` says what the audit log records.
    """
    return await SQLiteJournal.open(
        config.journal.path,
        seal=identity.seal,
        now=now,
        version=__version__,
        broken=broken,
        beside=beside,
        filters=lambda stored: key_filters(config.api.keys, stored),
        keys=keys,
        audit=audit,
    )


def audit_options(
    config: Config, identity: Identity, clock: WallClock, keys: Keyring
) -> AuditOptions:
    """Return what the audit log of a service records. `keys` commit to events."""
    return AuditOptions(
        now=clock.now,
        shown=identity.delivery_id,
        commit=Commitments(keys).commit,
        signed=partial(is_signed, keys),
        everything=config.audit.record == "all",
    )


async def restore(
    config: Config,
    journal: Journal,
    identity: Identity,
    *,
    clock: WallClock,
    load: Callable[[], Loaded],
    chance: Callable[[], float] = random.random,
    period_keys: Keyring | None = None,
    audit: AuditOptions | None = None,
) -> Parts:
    """Put a service together with the keys, sinks, orders and balances of its journal.

    `period_keys` are those that opened the journal, and `audit` is what its log records. The
    stored deliveries are adapted to the configured sinks. Raises Unavailable.
    """
    stored = await journal.ask(SinkRecords())
    records = dict(stored)
    for name, sink in config.sinks.items():
        await adapt(journal, name, sink, now=clock.now())
        record = records.get(name)
        if record is not None and record.paused == Pause.FAILING and sink.pause_after is None:
            # Without `pause_after` nothing would ever resume the sink.
            await journal.submit(ResumeSink(name))
            records[name] = msgspec.structs.replace(record, paused=None)
    parts = assemble(
        *(config, journal, identity),
        clock=clock,
        load=load,
        chance=chance,
        records=records,
        period_keys=period_keys,
        audit=audit,
    )
    await parts.keys.load()
    await parts.subscriptions.load(records)
    await parts.orders.load()
    await parts.balances.load()
    await parts.replays.load()
    await parts.pruner.load()
    await parts.history.load()
    await parts.alerts.load()
    return parts


def assemble(  # noqa: PLR0913, PLR0915 - arguments and statements are parts of the service
    config: Config,
    journal: Journal,
    identity: Identity,
    *,
    load: Callable[[], Loaded],
    clock: WallClock | None = None,
    chance: Callable[[], float] = random.random,
    records: Mapping[str, SinkRecord] = {},
    period_keys: Keyring | None = None,
    audit: AuditOptions | None = None,
) -> Parts:
    """Put the parts of a service together. Nothing runs yet.

    `load` reads the configuration again; `chance` returns a number of [0, 1); `records` are the
    stored states of sinks; `period_keys` those that opened the journal; `audit` is what its log
    records.
    """
    identity.begin_generation(journal.generation, first=journal.generation == journal.identity)
    clock = WallClock(ticks=boot_ticks) if clock is None else clock
    current = Current(config, clock.ticks)
    now, ticks, sources = clock.now, clock.ticks, current.sources
    sink_clock, pace = real_clock(chance, clock), Pace(clock.ticks)
    tracer = Tracer(Chance())
    current.follow(lambda new: tracer.use(new.tracing))
    lines = frequent_lines()
    facts = AuditFacts(journal, lines)
    readers = Readers(journal, facts, new_id=identity.request_id, ticks=ticks)
    keeper = _audit_keeper(current, journal, facts, clock, period_keys, audit)
    codes_sent: Counter[str] = Counter()
    given_up = GivenUpCounts()

    def code_sent(sink: str) -> None:
        live = subscriptions.get(sink.removeprefix(PREFIX))
        codes_sent[sink if live is None else live.stored.key] += 1

    def make_worker(name: str, sink: Sink, record: SinkRecord | None) -> Worker:
        worker = Worker(
            name,
            sink,
            journal,
            sink_clock,
            record,
            shown=identity.delivery_id,
            log_attempted=None if lines is None else lines.attempted,
            code_sent=partial(code_sent, name),
            traces=tracer,
            pace=pace,
        )
        worker.gave_up = partial(given_up.add, name)
        return worker

    workers: dict[str, Worker] = {}
    sinks = ConfiguredSinks(
        read_options(config.sinks),
        journal=journal,
        workers=workers,
        make_worker=make_worker,
        clock=sink_clock,
        records=records,
    )
    clock.listen(ClockJumps(journal, workers).follow_clock)
    keys = Keys(journal, identity, now=now, ticks=ticks)
    subscriptions = LiveSubscriptions(
        journal=journal,
        identity=identity,
        options=config.subscriptions,
        rights=keys.rights,
        workers=workers,
        make_worker=make_worker,
        clock=sink_clock,
    )
    monitor = JournalMonitor(journal, ticks=ticks)
    rejections = RejectionCounter(journal, facts, now=now, ticks=ticks)
    credentials = HeaderCredentials(sources, identity)
    order_book = OrderBook()
    planner = Planner(
        identity=identity,
        routes=current.routes,
        workers=workers,
        subscriptions=subscriptions,
        entries=journal.sealer.dedupe if journal.sealer and journal.seals_dedupe else no_entries,
    )
    recorder = Recorder(
        journal=journal,
        monitor=monitor,
        planner=planner,
        identity=identity,
        order_book=order_book,
        sources=sources,
        now=now,
        traces=AcceptTraces(tracer, journal, now),
    )
    alerts = Alerts(
        journal=journal, planner=planner, identity=identity, current=current, clock=clock
    )
    audit_file, anchors = _audit_outputs(
        *(current, keeper, facts),
        journal=journal,
        recorder=recorder,
        identity=identity,
        clock=clock,
    )
    signer = SampleSigner(config.server.secret.reveal())
    quarantine = QuarantineKeeper(
        journal=journal,
        monitor=monitor,
        identity=identity,
        signer=signer,
        recorder=recorder,
        sources=sources,
        now=now,
    )
    space = FreeSpace(config.journal.path.parent, config.journal.min_free)
    readiness = Readiness(journal, space)
    intake = CallbackIntake(
        readiness=readiness,
        identity=identity,
        signer=signer,
        recorder=recorder,
        quarantine=quarantine,
        rejections=rejections,
        credentials=credentials,
        ticks=time.monotonic,
    )
    orders = Orders(
        journal=journal,
        order_book=order_book,
        recorder=recorder,
        identity=identity,
        sources=sources,
        now=now,
        ticks=ticks,
    )
    clock.listen(orders.follow_clock)
    balances = Balances(journal=journal, recorder=recorder, identity=identity, now=now)

    hub = Hub(journal, in_force=keys.is_in_force)
    keys.listen(hub.end_readers)
    keys.listen(lambda access: subscriptions.end_key(access.name))

    # Without `seal`, the key file has the keys of the audit log only.
    sealing_keys = None if journal.sealer is None else period_keys
    pruner = Pruner(
        journal,
        workers=workers,
        clock=clock,
        shown=identity.delivery_id,
        keys=sealing_keys,
        gave_up=given_up.add,
    )
    row_sealer = RowSealer(
        journal,
        keys=sealing_keys,
        credentials=credentials,
        seal_secrets=subscriptions.seal_secrets,
        clock=clock,
    )
    erasures = Erasures(
        journal,
        ErasedIds(config.journal.path.with_name(ERASED_IDS)),
        pruner=pruner,
        orders=orders,
        hub=hub,
        clock=clock,
        keys=sealing_keys,
    )

    make_backfill = partial(
        Backfiller,
        recorder=recorder,
        journal=journal,
        identity=identity,
        orders=orders,
        balances=balances,
        now=now,
        ticks=ticks,
    )
    backfills = Backfills(
        make_backfill,
        journal=journal,
        ready=readiness,
        now=now,
        ticks=ticks,
        alerts=alerts,
    )
    # All that depends on the configuration, beside the sinks and the listeners.
    current.follow(lambda new: planner.use(current.routes, new.sinks.values()))
    current.follow(lambda new: keys.use(new.api.keys))
    current.follow(lambda new: subscriptions.use(new.subscriptions))
    current.follow(lambda new: hub.limit(streams=new.api.streams, waits=new.api.waits))
    current.follow(lambda _: backfills.use(sources))
    current.follow(lambda new: space.use(new.journal.min_free))
    current.follow(lambda new: pruner.use(new.retention, is_configured=new.retention_is_set))
    return Parts(
        current=current,
        identity=identity,
        clock=clock,
        journal=journal,
        journal_monitor=monitor,
        sinks=sinks,
        workers=workers,
        subscriptions=subscriptions,
        intake=intake,
        quarantine=quarantine,
        rejections=rejections,
        replays=Replays(
            journal=journal, workers=workers, keys=keys, sees=subscriptions.sees, now=now
        ),
        codes_sent=codes_sent,
        history=History(
            journal,
            workers=workers,
            codes_read=lambda: codes_read(keys.readers(), codes_sent),
            code_seconds=orders.code_seconds.values,
            now=now,
        ),
        credentials=credentials,
        keys=keys,
        period_keys=period_keys,
        facts=facts,
        readers=readers,
        audit=keeper,
        audit_verifier=AuditVerifier(journal, facts, clock),
        audit_file=audit_file,
        anchors=anchors,
        hub=hub,
        orders=orders,
        balances=balances,
        backfills=backfills,
        source_monitor=SourceMonitor(sources, now, orders.waiting_since),
        samples=SampleEvents(sources, planner, recorder, signer, now),
        alerts=alerts,
        given_up=given_up,
        reloads=Reloads(
            load,
            current=current,
            journal=journal,
            keys=keys,
            sinks=sinks,
            facts=facts,
            ends=intake.draining,
            alerts=alerts,
        ),
        space=space,
        disk=DiskMonitor(ticks),
        pruner=pruner,
        row_sealer=row_sealer,
        erasures=erasures,
        tracer=tracer,
        ready=readiness,
        not_ready=readiness.reasons,
    )


def _note_jump(facts: AuditFacts, by: float) -> None:
    seconds = round(by, 3)
    facts.add(
        "clock.jumped",
        {"seconds": seconds},
        lambda leaf: log.warning("clock.jumped", seconds=seconds, leaf=leaf),
    )


def _audit_keeper(
    current: Current,
    journal: Journal,
    facts: AuditFacts,
    clock: WallClock,
    keys: Keyring | None,
    options: AuditOptions | None,
) -> AuditKeeper | None:
    clock.listen(partial(_note_jump, facts))
    if keys is None or options is None:
        return None
    keeper = AuditKeeper(
        *(journal, keys, facts, options),
        clock=clock,
        version=__version__,
        seals=journal.sealer is not None,
    )
    current.follow(keeper.use)
    return keeper


def _audit_outputs(
    current: Current,
    keeper: AuditKeeper | None,
    facts: AuditFacts,
    *,
    journal: Journal,
    recorder: Recorder,
    identity: Identity,
    clock: WallClock,
) -> tuple[AuditFile, Anchors]:
    file = AuditFile(journal, clock)
    anchors = Anchors(
        *(keeper, facts), journal=journal, recorder=recorder, identity=identity, clock=clock
    )
    current.follow(file.use)
    current.follow(anchors.use)
    return file, anchors


def run_parts(parts: Parts, supervisor: Supervisor) -> None:
    """Start all tasks of a service but the backfills."""

    async def end_orders() -> None:
        await parts.backfills.first_runs(within=FIRST_RUNS)
        await parts.orders.run()

    async def index_visible() -> None:
        while True:
            parts.keys.changed.clear()
            await finish(lambda: parts.journal.submit(IndexVisible()))
            await parts.keys.changed.wait()

    parts.sinks.start(supervisor)
    give_up = partial(supervisor.give_up, "subscriptions", "unusable")
    supervisor.run("subscriptions", parts.subscriptions.run(give_up))
    supervisor.run("visible events", index_visible())
    supervisor.run("keys", parts.keys.run())
    if parts.period_keys is not None:
        supervisor.run("period keys", prepare_keys(parts.period_keys, parts.clock.now))
    supervisor.run("readers", parts.readers.run())
    supervisor.run("history", parts.history.run())
    supervisor.run("traces", parts.tracer.exporter.run())
    if parts.audit is not None:
        supervisor.run("audit", parts.audit.run(parts.workers))
        supervisor.run("audit check", parts.audit_verifier.run())
        supervisor.run("audit file", parts.audit_file.run())
        supervisor.run("anchors", parts.anchors.run())
    supervisor.run("calls", forget_calls(parts.journal, parts.clock.now))
    supervisor.run("clock", watch_clock(parts.clock))
    supervisor.run("journal", parts.journal_monitor.run())
    supervisor.run("rejections", parts.rejections.run())
    supervisor.run("sources", parts.source_monitor.run())
    supervisor.run("orders", end_orders())
    supervisor.run("replays", parts.replays.run())
    supervisor.run("reload", parts.reloads.run())
    supervisor.run("disk", parts.space.run())
    supervisor.run("erasures", parts.erasures.run())
    supervisor.run("retention", parts.pruner.run())
    supervisor.run("seal", parts.row_sealer.run())
    watching = Watching(parts)
    supervisor.run("alerts", watching.run())
    supervisor.run("certificates", repeat(watching.look_at_certificates, 60.0))
    heartbeat = HeartbeatSender(ready=parts.ready, ticks=parts.clock.ticks)
    parts.current.follow(heartbeat.use)
    supervisor.run("heartbeat", heartbeat.run())


def public_door(parts: Parts) -> Door:
    """Return the door of the public listener."""
    server, clock = parts.config.server, parts.clock
    return Door(
        tuple(parts.sources.values()),
        parts.intake,
        peers=Peers(server.trusted_proxies),
        max_body=server.max_body,
        now=lambda: utc(clock.now()),
    )


def public_app(parts: Parts) -> App:
    """Return the app behind the door: health, and the API if `admin_listen` is `same`."""
    if parts.config.server.admin_listen == "same":
        return admin_app(parts)
    return cast("App", create_health(parts.ready, parts.not_ready))


def admin_app(parts: Parts) -> App:
    """Return the app of the API and of the console.

    If it listens on loopback, it answers only to its own host names.
    """
    server = parts.config.server
    host = "" if server.admin_listen == "same" else host_and_port(server.admin_listen)[0]
    is_loopback = host == "localhost"
    with contextlib.suppress(ValueError):  # a name
        is_loopback = ipaddress.ip_address(host).is_loopback
    # Litestar has a type of its own for each ASGI message.
    api = cast("App", create_api(parts))
    own = OwnHost(api, any_host=not is_loopback)
    parts.current.follow(lambda config: own.allow(config.server.own_names))
    console = Console(parts, api)

    def app(scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        # The console has rules of its own for hosts and origins.
        return (console if console.has(scope) else own)(scope, receive, send)

    return BodyTime(app, BODY_TIME)
