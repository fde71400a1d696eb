"""Accept: planned, recorded and handed over, whatever becomes of the caller."""

import asyncio
import contextlib
import json
import secrets
import sqlite3
import uuid
from datetime import UTC, datetime

import live
import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from core.errors import Unavailable
from core.secret import Secret
from journal.reads import EventById, JournalStats, QuarantinedCallbacks, Rejections
from journal.sqlite.journal import SQLiteJournal
from receiver.callback import Callback, Malformed
from receiver.door import understood
from receiver.intake import Caller
from receiver.providers.tellabot.callbacks import TellABot
from receiver.source_state import SourceState
from routes.table import Route, compile_table
from server.runtime.accept import Pipeline, UnknownId, masked
from server.runtime.identity import Identity
from sinks.attempt import Clock
from sinks.file.sink import File
from sinks.worker import CAPACITY, Worker

NOW = datetime(2026, 11, 21, 12, 0, 0, 123456, tzinfo=UTC)
CALLER = Caller(source="tellabot", token="fingerprint", request_id="r1")


def callback(body):
    return Callback(headers=(), body=body, peer="192.0.2.1", received=NOW)


def sms(number=1, **over):
    return callback(live.sms(number, at=int(NOW.timestamp()), **over))


@pytest.fixture
async def journal(tmp_path):
    opened = await SQLiteJournal.open(tmp_path / "j.db", seal="s", now=0.0, version="0")
    yield opened
    await opened.close()


@pytest.fixture
def worker(journal, tmp_path):
    clock = Clock(now=NOW.timestamp, ticks=lambda: 0.0, chance=lambda: 0.0)
    return Worker("log", File(path=str(tmp_path / "out.jsonl")), journal, clock)


@pytest.fixture
def gate():
    return SourceState(
        "tellabot", TellABot(tokens=(Secret("t" * 20),), labels={"team": "a"}), lambda: 0.0
    )


@pytest.fixture
def pipeline(journal, worker, gate):
    return Pipeline(
        gates=[gate],
        routes=compile_table({"everything": Route(to=("log",))}),
        workers={"log": worker},
        journal=journal,
        identity=Identity("x" * 32, secrets.token_bytes),
        now=NOW.timestamp,
        ticks=lambda: 0.0,
    )


async def test_an_event_is_whole_and_dated_by_provider_and_by_us(pipeline, journal, gate):
    accepted = await pipeline.accept(CALLER, sms(), understood(gate, sms()))

    kept = await journal.ask(EventById(accepted.events[0]))
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


async def test_a_caller_that_is_cancelled_loses_neither_its_event_nor_its_delivery(
    pipeline, journal, gate, worker
):
    """Mutant: a hand-over after the await; the delivery stays `sending` and nobody sends it."""
    accepting = asyncio.create_task(pipeline.accept(CALLER, sms(), understood(gate, sms())))
    await asyncio.sleep(0)
    accepting.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await accepting

    await asyncio.wait_for(worker._lanes.ready(), 30)
    handed = worker._lanes.pick().delivery

    assert accepting.cancelled()
    assert handed.sink == "log"
    assert (await journal.ask(JournalStats())).deliveries["sending"] == 1


async def test_a_duplicate_and_a_failure_give_their_place_in_the_queue_back(
    pipeline, journal, gate, worker, tmp_path
):
    """Mutant: without `forget` a thousand duplicates fill the queue for good."""
    await pipeline.accept(CALLER, sms(), understood(gate, sms()))
    for _ in range(3):
        await pipeline.accept(CALLER, sms(), understood(gate, sms()))
    with contextlib.closing(sqlite3.connect(tmp_path / "j.db", isolation_level=None)) as other:
        other.execute("begin immediate")
        with pytest.raises(Unavailable):
            await pipeline.accept(CALLER, sms(2), understood(gate, sms(2)))

    assert worker._lanes.held == 1
    assert (await journal.ask(JournalStats())).duplicates == 3


async def test_what_the_queue_has_no_room_for_is_owed_in_the_journal(
    pipeline, journal, gate, worker
):
    for number in range(CAPACITY):
        worker.owe({})
        assert worker._lanes.held == number + 1

    await pipeline.accept(CALLER, sms(), understood(gate, sms()))

    assert (await journal.ask(JournalStats())).deliveries == {
        "pending": 1,
        "sending": 0,
        "delivered": 0,
        "dead": 0,
        "expired": 0,
    }


async def test_a_journal_that_cannot_write_is_complained_of_once_a_second(pipeline, gate, tmp_path):
    with (
        structlog.testing.capture_logs() as said,
        contextlib.closing(sqlite3.connect(tmp_path / "j.db", isolation_level=None)) as other,
    ):
        other.execute("begin immediate")
        for number in range(3):
            with pytest.raises(Unavailable):
                await pipeline.accept(CALLER, sms(number), understood(gate, sms(number)))

    errors = [entry for entry in said if entry["log_level"] == "error"]
    assert errors == [{"event": "journal.error", "error": "SQLITE_BUSY", "log_level": "error"}]


async def quarantined(pipeline, journal, body):
    malformed = Malformed("unknown_event", "event")
    await pipeline.quarantine(CALLER, callback(body), malformed)
    [kept] = await journal.ask(QuarantinedCallbacks(limit=9))
    return kept


async def test_a_replay_of_what_is_understood_by_now_leaves_quarantine_with_its_event(
    pipeline, journal
):
    kept = await quarantined(pipeline, journal, sms().body)

    accepted = await pipeline.replay(kept, "r2")

    assert accepted.status == "accepted"
    stats = await journal.ask(JournalStats())
    assert (stats.events, stats.quarantine) == (1, 0)


async def test_a_replay_of_what_is_still_not_understood_leaves_it_there(pipeline, journal):
    kept = await quarantined(pipeline, journal, b"event=unheard_of")

    with pytest.raises(Malformed):
        await pipeline.replay(kept, "r2")

    assert (await journal.ask(JournalStats())).quarantine == 1


async def test_a_replay_for_a_source_that_is_gone_says_so(pipeline, journal):
    elsewhere = Caller(source="gone", token="f", request_id="r")
    await pipeline.quarantine(elsewhere, callback(b"x"), Malformed("malformed", "body"))
    [kept] = await journal.ask(QuarantinedCallbacks(limit=9))

    with pytest.raises(UnknownId):
        await pipeline.replay(kept, "r2")


async def test_a_sample_that_was_quarantined_is_still_a_sample_when_it_is_replayed(
    pipeline, journal
):
    signature = pipeline._identity.sample_signature("tellabot", sms().body)
    sample = Callback(
        headers=(("smshook-sample", signature),),
        body=sms().body,
        peer="192.0.2.1",
        received=NOW,
        sample=True,
    )
    await pipeline.quarantine(CALLER, sample, Malformed("error", "KeyError"))
    [kept] = await journal.ask(QuarantinedCallbacks(limit=9))

    accepted = await pipeline.replay(kept, "r2")

    event = json.loads((await journal.ask(EventById(accepted.events[0]))).body)
    assert event["data"]["sample"] is True


async def test_rejections_that_the_journal_could_not_take_are_counted_on(
    pipeline, journal, tmp_path
):
    pipeline.reject("token", "tellabot", "192.0.2.1", "r")
    with contextlib.closing(sqlite3.connect(tmp_path / "j.db", isolation_level=None)) as other:
        other.execute("begin immediate")
        writing = asyncio.create_task(pipeline.write_rejections())
        await asyncio.sleep(0.1)
        pipeline.reject("token", "tellabot", "192.0.2.1", "r")
        await writing

    await pipeline.write_rejections()

    [(_, counted)] = await journal.ask(Rejections(limit=9))
    assert counted.count == 2


async def test_a_flood_of_wrong_tokens_is_sampled_and_counted_in_full(pipeline, journal):
    """Mutants: a line for each; what got no line is not counted."""
    with structlog.testing.capture_logs() as logs:
        for _ in range(500):
            pipeline.reject("token", "tellabot", "192.0.2.1", "r")
        pipeline.reject("path", "", "192.0.2.1", "r")
        pipeline.say_rejections()
        pipeline.say_rejections()
    await pipeline.write_rejections()

    items = await journal.ask(Rejections(limit=9))
    assert sorted((item.reason, item.count) for _, item in items) == [("path", 1), ("token", 500)]
    assert [line["reason"] for line in logs] == ["token"] * 10 + ["path", "token"]
    assert [line["unlogged"] for line in logs] == [None] * 11 + [490]


def test_a_number_is_recognized_but_not_told():
    assert masked("+18503814729") == "+1850***4729"
    assert masked("+4930123") == "***23"
    assert masked(None) is None


@given(st.from_regex(r"\+[1-9][0-9]{7,14}", fullmatch=True))
def test_no_masked_number_holds_the_whole_one(number):
    assert number not in masked(number)
    assert len(masked(number).replace("***", "")) <= len(number) - 2
