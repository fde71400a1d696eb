import contextlib
import sqlite3
from datetime import UTC, datetime

import msgspec
import pytest

from benchmarks.lab import journals
from core.delivery import State, Turn
from journal.reads import (
    CallbackOfEvent,
    EventById,
    EventFilter,
    Events,
    JournalStats,
    PendingBySink,
    TokenUses,
)
from journal.sqlite.journal import SQLiteJournal
from journal.writes import Take
from receiver.callback import Callback
from receiver.decode import decode
from receiver.providers.tellabot.callbacks import TellABot

EVENTS = 300


@pytest.fixture(scope="module")
def filled(tmp_path_factory):
    path = tmp_path_factory.mktemp("filled") / "journal.db"
    journals.fill(path, EVENTS)
    return path


@pytest.fixture
async def journal(filled):
    opened = await SQLiteJournal.open(filled, seal="seal", now=0.0, version="0.1.0")
    yield opened
    await opened.close()


@pytest.fixture
def kept_in(tmp_path, monkeypatch):
    monkeypatch.setenv("SMSHOOK_BENCH_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


async def test_counters_of_the_product_match_the_filled_rows(journal):
    stats = await journal.ask(JournalStats())

    assert (stats.events, stats.duplicates, stats.quarantine) == (EVENTS, 0, 0)
    assert stats.deliveries == {state.value: EVENTS * (state is State.DELIVERED) for state in State}
    assert (await journal.ask(TokenUses()))[0].callbacks == EVENTS


async def test_filled_event_equals_the_product_event(journal):
    """Mutant: a fixed template lacks a newer field of events."""
    page = await journal.ask(Events(filter=EventFilter(), after=120, limit=1))
    event = msgspec.json.decode(page.items[0][1])

    came = await journal.ask(CallbackOfEvent(event["id"]))
    received = datetime.fromtimestamp(came.at, UTC)
    callback = Callback(headers=came.headers, body=came.body, peer=came.peer, received=received)
    source = TellABot()
    [happening] = source.normalize(
        decode(came.body, content_encoding="", encodings=source.encodings), callback
    )

    assert event["data"] == msgspec.json.decode(msgspec.json.encode(happening.data))
    assert (event["subject"], event["time"]) == (happening.subject, happening.time)


async def test_filled_event_is_found_by_its_request(journal):
    request = str(journals.FIRST_REQUEST + 42)
    page = await journal.ask(Events(filter=EventFilter(request_id=(request,)), limit=9))

    [(seq, body)] = page.items
    kept = await journal.ask(EventById(msgspec.json.decode(body)["id"]))

    assert (seq, kept.seq, kept.routes) == (43, 43, (journals.ROUTE,))
    [delivery] = kept.deliveries
    assert (delivery.sink, delivery.state) == (journals.SINK, State.DELIVERED)
    assert [attempt.outcome for attempt in delivery.attempts] == ["delivered"]


def test_keys_and_ids_grow_with_time(filled):
    """Mutant: random keys, which cost more than those of the product."""
    with contextlib.closing(sqlite3.connect(filled)) as conn:
        keys = [key for (key,) in conn.execute("select key from keys order by event")]
        ids = [id_ for (id_,) in conn.execute("select id from events order by seq")]

    assert keys == sorted(keys)
    assert ids == sorted(ids)
    assert len(set(keys)) == EVENTS


def test_journal_is_filled_again_only_after_it_grew(kept_in):
    path = journals.journal(EVENTS)
    made = path.stat().st_ino
    again = journals.journal(EVENTS).stat().st_ino
    with contextlib.closing(sqlite3.connect(path)) as conn:
        conn.execute(
            "insert into events select seq + 1000, id || seq, source, type, subject, also,"
            " recorded_at, callback, routes, body, reference, erased_at from events limit 1"
        )
        conn.commit()

    grown = not journals.is_kept(EVENTS)
    journals.journal(EVENTS)

    assert (made, grown) == (again, True)
    assert journals.is_kept(EVENTS)
    assert [left.suffix for left in kept_in.glob("*") if left.suffix == ".part"] == []


@pytest.mark.usefixtures("kept_in")
async def test_kept_journal_opens_with_any_secret():
    for seal in ("one", "another"):
        opened = await SQLiteJournal.open(
            journals.journal(EVENTS), seal=seal, now=0.0, version="0.1.0"
        )
        await opened.close()


async def test_pending_deliveries_are_made_delivered_again(tmp_path):
    path = tmp_path / "journal.db"
    journals.fill(path, EVENTS)
    journals.make_pending(path, 100)
    opened = await SQLiteJournal.open(path, seal="seal", now=0.0, version="0.1.0")
    owed, stats = await opened.ask(PendingBySink()), await opened.ask(JournalStats())
    taken = await opened.submit(Take(journals.SINK, Turn.FRESH, limit=10, now=1e10))
    await opened.close()
    journals.make_delivered(path)
    opened = await SQLiteJournal.open(path, seal="seal", now=0.0, version="0.1.0")
    after = await opened.ask(JournalStats())
    await opened.close()

    assert (owed, len(taken)) == ({journals.SINK: 100}, 10)
    assert stats.deliveries == {
        **dict.fromkeys(stats.deliveries, 0),
        "pending": 100,
        "delivered": EVENTS - 100,
    }
    assert after.deliveries == {**dict.fromkeys(after.deliveries, 0), "delivered": EVENTS}


def test_full_disk_is_an_error_before_anything_is_written(kept_in):
    with pytest.raises(journals.NoRoom, match="set SMSHOOK_BENCH_CACHE to a folder elsewhere"):
        journals.journal(10**12)

    assert list(kept_in.iterdir()) == []
