"""Accepted events are planned, recorded and passed to workers, even if the caller is gone."""

import asyncio
import contextlib
import json
import uuid
from functools import partial

import msgspec
import pytest
import structlog
from services import assembled, clock_of, configured, identity_of

from core.errors import Unavailable
from core.secret import Secret
from journal.commit import settle
from journal.reads import EventById, JournalStats
from receiver.door import read_happenings
from receiver.providers.tellabot.callbacks import TellABot
from routes.table import Route, compile_table
from server.config.options import Tracing
from server.runtime.planner import Planner
from sinks.file.sink import File


@pytest.fixture
def accept(parts, caller):
    """Accept a callback as the door does."""

    async def accepted(callback):
        happenings = read_happenings(parts.sources["tellabot"], callback)
        done = asyncio.get_running_loop().create_future()
        parts.intake.accept(caller, callback, happenings, partial(settle, done))
        return await done

    return accepted


async def test_event_has_all_fields_and_both_times(accept, sms, parts):
    accepted = await accept(sms())

    kept = await parts.journal.ask(EventById(accepted.ids[0]))
    event = json.loads(kept.body)
    assert uuid.UUID(event["id"]).version == 7
    assert event["time"] == "2026-11-21T12:00:00Z"
    assert event["recordedtime"] == "2026-11-21T12:00:00.123456Z"
    assert event["data"]["labels"] == {"team": "a"}
    assert kept.routes == ("everything",)
    assert list(event) == [
        *("specversion", "id", "source", "type", "subject", "time", "recordedtime"),
        *("dedupekey", "datacontenttype", "data"),
    ]


@pytest.mark.parametrize(
    ("when", "ordered_by", "routes", "ordering"),
    [
        (None, None, ("only",), None),
        ({"source": "tellabot"}, "data.from", ("only",), '"22000"'),
        ({"data.from": "22000"}, None, ("only",), None),
        ({"data.from": "another"}, "data.from", (), None),
    ],
)
async def test_plan_has_data_if_a_route_or_sink_reads_it(
    tmp_path, sms, when, ordered_by, routes, ordering
):
    """Mutants: only routes are asked whether they read `data`; only sinks are."""
    config = configured(
        tmp_path,
        sources={"tellabot": TellABot(tokens=(Secret("t" * 20),))},
        sinks={"log": File(path=str(tmp_path / "out.jsonl"), ordered_by=ordered_by)},
        routes={"only": Route(to=("log",), when=when)},
    )
    async with assembled(config, clock_of(lambda: 1.5)) as parts:
        [happening] = read_happenings(parts.sources["tellabot"], sms())
        planner = Planner(
            identity=identity_of(config),
            routes=compile_table(config.routes),
            workers=parts.workers,
            subscriptions=parts.subscriptions,
        )
        plan = planner.plan("tellabot", happening, 1.5)
        line = None if ordering is None else parts.journal.sealer.hash_line(ordering)

    assert plan.routes == routes
    assert [owed.ordering for owed in plan.owed] == [line] * len(routes)


async def test_cancelled_caller_loses_no_event_and_no_delivery(accept, sms, parts):
    """Mutant: the caller notifies the workers after its wait."""
    commits = asyncio.Queue()
    with parts.journal.listen(commits.put_nowait):
        accepting = asyncio.create_task(accept(sms()))
        await asyncio.sleep(0)
        accepting.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await accepting
        committed = await asyncio.wait_for(commits.get(), 30)

    assert accepting.cancelled()
    assert [one.sink for one in committed.deliveries["log"]] == ["log"]
    assert (await parts.journal.ask(JournalStats())).deliveries["pending"] == 1


async def test_duplicates_and_failures_do_not_reach_workers(accept, sms, parts, locked):
    """Mutant: planned deliveries are passed to workers, recorded or not."""
    commits = []
    with parts.journal.listen(commits.append):
        await accept(sms())
        for _ in range(3):
            await accept(sms())
        with locked(), pytest.raises(Unavailable):
            await accept(sms(2))

    assert sum(len(one.deliveries.get("log", ())) for one in commits) == 1
    assert (await parts.journal.ask(JournalStats())).duplicates == 3


async def test_delivery_waits_in_the_journal_while_its_sink_is_closed(accept, sms, parts):
    await accept(sms())

    assert (await parts.journal.ask(JournalStats())).deliveries == {
        "pending": 1,
        "sending": 0,
        "delivered": 0,
        "dead": 0,
        "expired": 0,
    }


async def test_spans_that_cannot_be_kept_are_counted(accept, sms, parts):
    """A callback has three spans, a message of a poll two, and a copy none.

    The first drop is logged. Mutants: spans are made while the queue is full; copies count, or
    events that are not sampled; a poll counts as a callback; no line; the instant of the commit is
    lost.
    """
    exporter = parts.tracer.exporter
    parts.tracer.use(Tracing(endpoint="http://127.0.0.1:9", sample=1.0))
    await accept(sms())
    assert (exporter.size, exporter.dropped) == (3, 0)
    [kept] = exporter._waiting
    instants = kept.received, kept.planned, kept.waited, kept.durable
    assert instants == pytest.approx([parts.clock.now()] * 4, abs=1e-6)

    while not exporter.is_full:
        exporter.put("")
    size = exporter.size
    with structlog.testing.capture_logs() as said:
        await accept(sms(2))
        await accept(sms(2))
        assert exporter.dropped == 3
        await accept(msgspec.structs.replace(sms(3), channel="poll"))
    assert (exporter.size, exporter.dropped) == (size, 5)
    assert [line["error"] for line in said if line["event"] == "tracing.dropping"] == ["full"]

    parts.tracer.use(Tracing(endpoint="http://127.0.0.1:9", sample=0.0))
    await accept(sms(4))
    assert exporter.dropped == 5


async def test_failing_journal_is_logged_once_a_second(accept, sms, locked):
    with structlog.testing.capture_logs() as said, locked():
        for number in range(3):
            with pytest.raises(Unavailable):
                await accept(sms(number))

    errors = [entry for entry in said if entry["log_level"] == "error"]
    assert errors == [{"event": "journal.error", "error": "SQLITE_BUSY", "log_level": "error"}]


async def test_order_of_a_callback_that_cannot_be_planned_is_not_known(
    callback, caller, parts, sms
):
    """Mutant: it stays among the orders in memory, and joins events that follow."""
    body = b'{"event":"premium_request","status":"ok","id":"10000001","mdn":"18503814729"}'
    source = parts.sources["tellabot"]
    [assigned] = read_happenings(source, callback(body))
    [message] = read_happenings(source, sms())
    spoiled = msgspec.structs.replace(message, data=None)

    with pytest.raises(AttributeError):
        parts.intake.accept(caller, callback(body), [assigned, spoiled], print)

    assert set(parts.orders.states.values()) == {0}
    parts.intake.accept(caller, callback(body), [assigned], print)
    assert set(parts.orders.states.values()) == {0, 1}
