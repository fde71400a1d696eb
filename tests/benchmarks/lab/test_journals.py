from datetime import UTC, datetime

import msgspec
import pytest
from journals import shell

from benchmarks.lab import journals
from core.delivery import State, Turn
from core.order import OrderState
from journal.reads import (
    CallbackOfEvent,
    Counters,
    Deliveries,
    DeliveriesBriefly,
    DeliveryFilter,
    EventById,
    EventFilter,
    Events,
    JournalStats,
    KnownOrders,
    OrderById,
    OrderFilter,
    PendingBySink,
    QuarantinedCallbacks,
    SinkRecords,
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


@pytest.fixture(scope="module")
def varied(tmp_path_factory):
    """A journal that is large enough for rare events, orders and a quarantine."""
    path = tmp_path_factory.mktemp("varied") / "journal.db"
    journals.fill(path, 2 * journals.RARE + 2_000)
    return path


async def test_filled_journal_has_rare_rows_that_lists_find(varied):
    """Mutants: the searched fields are not filled, and a search finds an empty table; the table of
    given-up deliveries has another event, source or time."""
    opened = await SQLiteJournal.open(varied, seal="seal", now=0.0, version="0.1.0")
    rare = {"source": (journals.RARE_SOURCE,)}
    events = await opened.ask(
        Events(filter=EventFilter(service=("telegram",), code=True, **rare), limit=9)
    )
    [first, _] = events.items
    number = msgspec.json.decode(first[1])["data"]["to"]
    by_number = await opened.ask(Events(filter=EventFilter(number=(number,)), limit=9))
    wanted = DeliveryFilter(state=(State.DEAD,), **rare)
    dead = await opened.ask(Deliveries(filter=wanted, limit=9))
    briefly = await opened.ask(DeliveriesBriefly(filter=wanted, limit=9))
    named = await opened.ask(DeliveriesBriefly(ids=tuple(one.id for one in briefly), limit=9))
    states = {
        state: len((await opened.ask(KnownOrders(filter=OrderFilter(state=(state,))))).items)
        for state in (OrderState.WAITING, OrderState.EXPIRED)
    }
    orders = await opened.ask(KnownOrders(filter=OrderFilter(), limit=1000))
    answered = await opened.ask(OrderById(orders.items[0][1].id))
    unclear = await opened.ask(QuarantinedCallbacks(source=journals.SOURCE, limit=9))
    await opened.close()

    assert [seq for seq, _ in events.items] == [journals.RARE, 2 * journals.RARE]
    assert [seq for seq, _ in by_number.items] == [journals.RARE]
    assert [(one.event_id != "", len(one.attempts)) for _, one in dead.items] == [(True, 1)] * 2
    # Those by id are read with their events.
    assert (len(briefly), briefly) == (2, named)
    assert states == {OrderState.WAITING: 0, OrderState.EXPIRED: 3}
    assert len(orders.items) == (2 * journals.RARE + 2_000) // 2 // journals.ORDERED
    assert [msgspec.json.decode(body)["subject"] for body in answered.events] == [
        f"request/{journals.FIRST_REQUEST + journals.ORDERED - 1}"
    ]
    assert len(unclear) == (2 * journals.RARE + 2_000) // journals.QUARANTINED


async def test_failing_deliveries_wait_for_a_paused_sink(tmp_path):
    """Mutant: the attempts of failed deliveries stay after they are delivered again."""
    path = tmp_path / "journal.db"
    journals.fill(path, EVENTS)
    journals.make_pending(path, 100)
    journals.make_failing(path, 40)
    opened = await SQLiteJournal.open(path, seal="seal", now=0.0, version="0.1.0")
    failing = await opened.ask(Deliveries(filter=DeliveryFilter(failing=True), limit=99))
    owed, counted = await opened.ask(PendingBySink()), await opened.ask(Counters())
    sinks = await opened.ask(SinkRecords())
    await opened.close()
    journals.make_delivered(path)
    opened = await SQLiteJournal.open(path, seal="seal", now=0.0, version="0.1.0")
    newest = await opened.ask(Deliveries(desc=True, limit=1))
    await opened.close()

    outcomes = [[one.outcome for one in kept.attempts] for _, kept in failing.items]
    assert outcomes == [["failed"]] * 40
    assert owed == {journals.SINK: 100}
    assert counted[f"pending/{journals.SINK}"] == 100
    assert sinks[journals.SINK].paused == "operator"
    [(_, last)] = newest.items
    assert [one.outcome for one in last.attempts] == ["delivered"]


def test_keys_and_ids_grow_with_time(filled):
    """Mutant: random keys, which cost more than those of the product."""
    with shell(filled) as conn:
        keys = [key for (key,) in conn.execute("select key from keys order by event")]
        ids = [id_ for (id_,) in conn.execute("select id from events order by seq")]

    assert keys == sorted(keys)
    assert ids == sorted(ids)
    assert len(set(keys)) == EVENTS


def test_journal_is_filled_again_only_after_it_grew(kept_in):
    path = journals.journal(EVENTS)
    made = path.stat().st_ino
    again = journals.journal(EVENTS).stat().st_ino
    with shell(path) as conn:
        conn.execute(
            "insert into events (seq, id, source, type, subject, recorded_at, callback, routes,"
            " body) select seq + 1000, id || seq, source, type, subject, recorded_at, callback,"
            " routes, body from events limit 1"
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
