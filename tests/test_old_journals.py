"""Journals of every older schema: opened, served, sealed, pruned and restored by this version.

`old_journals/mNNN.sql` are journals that services of these commits left behind. Where no commit had
a step as its last one, the step is applied to the file before it, and its new tables get a row.
"""

import asyncio
import contextlib
import json
from collections import Counter
from pathlib import Path

import live
import msgspec
import pytest
from canary import secrets_in
from contracts.journal import arrival, planned
from journals import shell
from old_journals import make
from sealing import ALL
from services import clock_of, configured, identity_of, keys_of

from core.secret import Secret
from core.units import Duration
from journal.reads import (
    CallbackOfEvent,
    Consumers,
    EventById,
    JournalStats,
    KnownOrders,
    QuarantinedById,
    StoredKeys,
    Subscriptions,
)
from journal.seal import Reason
from journal.sqlite import schema
from journal.writes import Record
from server import stopped
from server.backups import back_up
from server.config.options import Retention, Sealing
from server.service import open_journal

FOLDER = Path(__file__).parent / "old_journals"
SCHEMAS = [name[:4] for name, _ in schema._scripts()]
#: The schemas, and a sealed journal of the last one.
JOURNALS = [*SCHEMAS, "sealed"]
#: After its start a journal has today's schema, so CI needs few of them for the rest.
FEW = [
    name
    if name in {SCHEMAS[0], SCHEMAS[8], "sealed"}
    else pytest.param(name, marks=pytest.mark.nightly)
    for name in JOURNALS
]
#: The hour in which the files were made is over, and two days later.
MADE, LATER = 1_796_122_800.0, 1_796_122_800.0 + 2 * 86_400
KEPT = ("events", "codes", "people", "quarantine")
SECRETS = {
    *(number for number, *_ in make.MESSAGES),
    *(code for *_, code in make.MESSAGES if code),
    *("918277", "918278", "918279"),
}
#: Rows of the tables that a step made, where no file has them.
ROWS = {
    "m006": "insert into balances values ('tellabot', '12.50', 'USD', 1796122000.0, 0)",
    "m014": "insert into api_keys values (1, 'k1', 'reader', x'00', '[\"events:read\"]', null,"
    " null, null, 1796122000.0)",
    "m016": "insert into subscriptions values (1, 's1', 'admin', 'https://app.example.com/hook',"
    " '{\"data.service.key\":\"google\"}', 'json', '[]', 1796122000.0)",
    "m017": "insert into replays values ('r1', 'k1', 'running', null, null, '[]', '[]', null, 6, 2,"
    " 6, 2, 2, 1796122000.0, null)",
}


@pytest.fixture
def old(tmp_path, monkeypatch):
    """Return a function that makes an old journal in a folder, and returns its configuration."""

    def old(name, folder=tmp_path):
        folder.mkdir(exist_ok=True)
        config = configured(
            folder,
            seal=Sealing(
                root=(Secret(make.ROOT),) if name == "sealed" else (),
                file=str(folder / "smshook.keys"),
            ),
            retention=Retention(**dict.fromkeys(KEPT, Duration(3600))),
            retention_is_set=True,
        )
        if name == "sealed":
            keys = (FOLDER / "sealed.keys").read_bytes()
            (folder / "smshook.keys").write_bytes(keys)
        files = sorted(path.stem for path in FOLDER.glob("*.sql"))
        begun = name if name in files else max(file for file in files if file < name)
        with shell(config.journal.path) as conn:
            conn.executescript((FOLDER / f"{begun}.sql").read_text())
        for step in [step for step in SCHEMAS if begun < step <= name]:
            with monkeypatch.context() as older:
                its = [script for script in schema._scripts() if script[0][:4] <= step]
                older.setattr(schema, "_scripts", lambda its=its: its)
                schema.migrate(config.journal.path)
            with shell(config.journal.path) as conn:
                conn.execute(ROWS.get(step, "select 1"))
        return config

    monkeypatch.setattr(stopped, "WallClock", lambda: clock_of(lambda: LATER))
    return old


def rows(path, sql):
    with shell(path) as conn:
        return conn.execute(sql).fetchall()


@contextlib.asynccontextmanager
async def opened(config, now=MADE):
    """Open a journal with today's code."""
    keys = keys_of(config, now=now)
    journal = await open_journal(config, identity_of(config), now=now, keys=keys)
    try:
        yield journal
    finally:
        await journal.close()


def contents(path):
    """Return what must stay as it is, byte for byte."""
    return {
        table: rows(path, f"select {columns} from {table} order by 1")  # noqa: S608 - ours
        for table, columns in (
            ("events", "seq, id, source, type, recorded_at, routes, body"),
            ("callbacks", "id, source, channel, token, peer, at, body"),
            ("quarantine", "seq, id, source, reason, at, body"),
            ("keys", "source, key, event"),
            ("duplicates", "*"),
            ("rejections", "*"),
        )
    }


def states(path):
    """Count deliveries by state. Older versions wrote down that one was being sent."""
    found = Counter(dict(rows(path, "select state, count(*) from deliveries group by state")))
    found["pending"] += found.pop("sending", 0)
    return dict(found)


def assert_whole(path):
    assert rows(path, "pragma integrity_check") == [("ok",)]
    assert rows(path, "pragma foreign_key_check") == []
    assert_given_up(path)


def assert_given_up(path):
    """The table of deliveries that are given up has all of them, as they and their events are."""
    kept = "select state, id, sink, event, event_id, source, recorded_at from given_up order by id"
    assert rows(path, kept) == rows(
        path,
        "select deliveries.state, deliveries.id, sink, event, events.id, source, recorded_at"
        " from deliveries join events on seq = event where deliveries.state in ('dead', 'expired')"
        " order by deliveries.id",
    )


async def seen(config):
    """Return what readers see of a journal: its events, by id, callbacks and quarantine."""
    path = config.journal.path
    async with opened(config) as journal:
        events = {
            id_: (await journal.ask(EventById(id_, opening=ALL))).body.decode()
            for (id_,) in rows(path, "select id from events")
        }
        callbacks = {
            id_: (await journal.ask(CallbackOfEvent(id_, why=Reason.RAW))).body
            for (id_,) in rows(path, "select id from events where erased_at is null")
        }
        quarantined = {
            id_: (await journal.ask(QuarantinedById(id_, why=Reason.QUARANTINE))).body
            for (id_,) in rows(path, "select id from quarantine")
        }
    return events, callbacks, quarantined


@pytest.mark.parametrize("name", JOURNALS)
async def test_old_journal_opens_with_every_byte(old, name):
    """Mutants: a migration changes a body; loses the deliveries that were being sent, or orders;
    an upgrade makes other dedupe keys; a migration finds no expired deliveries."""
    config = old(name)
    path = config.journal.path
    before, its_states = contents(path), states(path)
    orders = rows(path, "select id from orders order by seq") if name >= "m005" else []
    tables = {table for (table,) in rows(path, "select name from sqlite_schema")}
    keys = before["keys"][0]

    events, callbacks, quarantined = await seen(config)
    async with opened(config) as journal:
        stats = await journal.ask(JournalStats())
        known = [order.id for _, order in (await journal.ask(KnownOrders())).items]
        copy = msgspec.structs.replace(planned(source=keys[0]), keys=(keys[1],))
        again = await journal.submit(Record(arrival(source=keys[0]), (copy,)))
        stored = [
            len(await journal.ask(read))
            for table, read in (
                ("api_keys", StoredKeys()),
                ("subscriptions", Subscriptions()),
                ("consumers", Consumers()),
            )
            if table in tables
        ]

    after = contents(path)
    assert after.pop("duplicates")[:-1] == before.pop("duplicates")
    assert after == before
    assert states(path) == its_states
    assert (stats.events, dict(stats.deliveries)) == (6, {"sending": 0} | its_states)
    assert set(its_states) == {"delivered", "pending", "dead", "expired"}
    assert sorted(known) == sorted(id_ for (id_,) in orders)
    assert again.new == (False,)
    assert stored == [1] * len(stored)
    if name != "sealed":
        assert events == {id_: body for _, id_, *_, body in before["events"]}
        assert {*quarantined.values()} == {body for *_, body in before["quarantine"]}
    texts = {json.loads(body)["data"]["text"] for body in events.values()}
    assert texts >= {text for _, text, *_ in make.MESSAGES[:4]}
    assert {*quarantined.values()} == {b'{"what": "918278"}', b"918279"}
    assert [b"918273" in body for body in callbacks.values()].count(True) == 1
    assert_whole(path)


@pytest.mark.parametrize("name", FEW)
async def test_backup_of_an_old_journal_is_restored(old, name, tmp_path):
    """Mutants: a backup of an older schema is refused; an erased event comes back from it."""
    config, other = old(name, tmp_path / "made"), old(name, tmp_path / "restored")
    other.journal.path.unlink()
    events, *rest = await seen(old(name, tmp_path / "compared"))
    erased = next(id_ for id_, body in events.items() if "918274" in body)
    (tmp_path / "restored" / "smshook.erased").write_text(f"{erased}\n")

    made = await asyncio.to_thread(
        back_up, config.path, config.journal.path, tmp_path / "copy", lambda *_: None
    )
    with (tmp_path / "copy").open("rb") as source:
        await asyncio.to_thread(stopped.restore, source, other)
    found, *others = await seen(other)

    assert made.events == 6
    assert json.loads(found.pop(erased))["data"]["text"] is None
    assert found == {id_: body for id_, body in events.items() if id_ != erased}
    assert others[1] == rest[1]
    assert secrets_in(other.journal.path.parent.glob("smshook*"), {"918274"}) == []
    assert_whole(other.journal.path)


@pytest.mark.parametrize("name", FEW)
def test_old_journal_is_pruned(old, name):
    """Mutants: a row of an older version is not found, and its code stays; its delivery waits."""
    config = old(name)
    path = config.journal.path

    pruned = stopped.prune(config, dry_run=False, progress=lambda _counts: None)

    left = rows(path, "select body from events")
    # A replay that runs keeps the events that it comes to.
    assert (pruned["events"], len(left)) == ((2, 4) if name == "m017" else (6, 0))
    assert (pruned["codes"], pruned["quarantine"]) == (5 if name >= "m020" else 6, 2)
    # All that waited needed the content.
    assert rows(path, "select count(*) from deliveries where state = 'pending'") == [(0,)]
    # An open order keeps its number.
    is_open = name >= "m005" and name != "sealed"
    kept = [("18505550102", "smshook.db")] if is_open else []
    assert secrets_in(path.parent.glob("smshook*"), SECRETS) == kept
    assert rows(path, "pragma integrity_check") == [("ok",)]
    assert_given_up(path)


@pytest.mark.parametrize("name", FEW[:-1])
def test_old_journal_is_sealed(old, name, tmp_path):
    """Mutant: a column of an older version stays in clear."""
    config = old(name)
    before = asyncio.run(seen(config))
    root = Sealing(root=(Secret(make.ROOT),), file=str(tmp_path / "smshook.keys"))
    config = msgspec.structs.replace(config, seal=root)

    stopped.seal(config, progress=lambda _run: None)

    assert secrets_in(tmp_path.glob("smshook*"), SECRETS) == []
    assert asyncio.run(seen(config)) == before
    assert states(config.journal.path) == states(old(name, tmp_path / "again").journal.path)
    assert_whole(config.journal.path)


def test_oldest_journal_is_served_and_delivered(old, tmp_path):
    """Mutant: deliveries of the first version are never due."""
    old("m001")
    (tmp_path / "missing").mkdir()
    stored = rows(tmp_path / "smshook.db", "select id from events order by seq")

    config = make.config(None, subscribes=False, sealed=False)
    with live.Live(tmp_path, config, in_clear="an old configuration") as service:
        live.eventually(lambda: len(service.delivered("missing/later.jsonl")) == len(stored))
        listed = service.api("/events", key=make.KEY).json()["data"]
        assert service.stop() == 0

    assert [one["event"]["id"] for one in listed] == [id_ for (id_,) in stored]
    assert {event["id"] for event in service.delivered("missing/later.jsonl")} == {
        id_ for (id_,) in stored
    }
