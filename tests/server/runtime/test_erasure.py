"""The list of erased events: who reads it at a start, and when it becomes shorter."""

import asyncio
import contextlib
import json
import shutil

import msgspec
import pytest
from contracts.journal import arrival, owed, planned, record
from contracts.orders import order
from deaths import deaths
from sealing import ALL
from services import clock_of, configured, identity_of, keys_of, loading
from structlog.testing import capture_logs
from whole_files import shorten

from core.clock import rfc3339
from core.errors import Unavailable
from core.secret import Secret
from core.units import Duration
from journal.reads import ErasedUpTo, EventById, JournalStats, OrderById
from journal.writes import CancelOrder, EraseContent, QuarantineCallback, RegisterOrder
from server.config.options import Retention, Sealing
from server.runtime import erasure
from server.runtime.erasure import ErasedIds
from server.service import open_journal
from server.service import restore as restore_parts
from sinks.file.sink import File
from sinks.worker import Worker

#: 2026-09-21T14:13:20Z
NOW, HOUR, DAY = 1_790_000_000.0, 3600.0, 86_400.0
SEAL = Sealing(root=(Secret("the root key of these tests, 0123456789"),))
TEXT, NUMBER = "the canary text 918273", "+18505550142"
OLD, OTHER, NEW = (letter * 36 for letter in "abc")
#: The functions of the system that end a step of a rewrite.
STEPS = ("open", "ftruncate", "fsync", "rename", "unlink")


@pytest.fixture
def start(tmp_path):
    """Return a context that is a start of the service at a time."""

    @contextlib.asynccontextmanager
    async def start(now=NOW, *, seal=SEAL, **changed):
        seal = msgspec.structs.replace(seal, file=str(tmp_path / "smshook.keys"))
        kept = Retention(codes=Duration(DAY), people=Duration(2 * DAY))
        config = configured(tmp_path, seal=seal, retention=kept, retention_is_set=True, **changed)
        keys = keys_of(config, now=now)
        identity = identity_of(config)
        journal = await open_journal(config, identity, now=now, keys=keys)
        try:
            yield await restore_parts(
                *(config, journal, identity),
                clock=clock_of(lambda: now),
                load=loading(config),
                period_keys=keys,
            )
        finally:
            await journal.close()

    return start


async def stored(parts, at=NOW):
    """Store an event, and return its id."""
    plan = planned(at=at, text=TEXT, to=NUMBER)
    await record(parts.journal, plan)
    return plan.event.id


async def text_of(parts, event):
    kept = await parts.journal.ask(EventById(event, opening=ALL))
    return json.loads(kept.body)["data"]["text"]


async def started(parts, monkeypatch):
    """Do what a start does, until its first look at the list; return the ids that it erased."""
    erased, submit, looked = [], parts.journal.submit, asyncio.Event()
    shorten = parts.erasures.shorten

    def watched(write, **its):
        if isinstance(write, EraseContent):
            erased.extend(write.events)
        return submit(write, **its)

    async def look(keys):
        await shorten(keys)
        looked.set()

    with monkeypatch.context() as patch:
        patch.setattr(parts.journal, "submit", watched)
        patch.setattr(parts.erasures, "shorten", look)
        running = asyncio.create_task(parts.erasures.run())
        async with asyncio.timeout(30):
            await looked.wait()
        running.cancel()
    return erased


def ids_in(folder):
    return ErasedIds(folder / "smshook.erased").read()


async def test_start_makes_the_list(start, tmp_path, monkeypatch):
    """A restore refuses a missing one. Mutant: the first erasure makes it."""
    async with start() as parts:
        assert await started(parts, monkeypatch) == []

    assert (tmp_path / "smshook.erased").read_bytes() == b""


async def test_list_that_cannot_be_written_is_logged(start, tmp_path):
    """The answer says only that something is unavailable. Mutant: the content goes all the same."""
    async with start() as parts:
        event = await stored(parts)
        (tmp_path / "smshook.erased").mkdir()

        with capture_logs() as lines, pytest.raises(Unavailable):
            await parts.erasures.erase_event(event)

        its = [line["error"] for line in lines if line["event"] == "content.not_erased"]
        assert its == ["smshook.erased: Is a directory"]
        assert await text_of(parts, event) == TEXT
        (tmp_path / "smshook.erased").rmdir()


async def test_waiting_delivery_expires_only_if_its_sink_needs_the_content(
    start, tmp_path, monkeypatch
):
    """Its worker may have it already, with the content. Mutants: a late worker sends it; a sink
    that masks the content gets nothing.
    """
    paths = {name: str(tmp_path / f"{name}.txt") for name in ("crm", "log")}
    sinks = {"crm": File(path=paths["crm"]), "log": File(path=paths["log"], redact="people")}
    taken_back = []
    monkeypatch.setattr(Worker, "put_back", lambda _self, id_: taken_back.append(id_))
    async with start(sinks=sinks) as parts:
        plan = planned(at=NOW, text=TEXT, to=NUMBER, owed=[owed("crm"), owed("log")])
        await record(parts.journal, plan)
        await parts.erasures.erase_event(plan.event.id)
        kept = (await parts.journal.ask(EventById(plan.event.id))).deliveries

    assert [one.state for one in kept] == ["expired", "pending"]
    assert sorted(taken_back) == sorted(one.id for one in kept)


# --- a start ---------------------------------------------------------------------------------


async def test_start_erases_only_what_an_earlier_one_did_not_finish(start, tmp_path, monkeypatch):
    """Mutants: each start erases all ids; the first id is stored, not the last."""
    async with start() as parts:
        done = [await stored(parts) for _ in range(2)]
        await parts.erasures.erase_number(NUMBER)
        listed = await stored(parts)
        ErasedIds(tmp_path / "smshook.erased").add([listed])  # killed after this
    async with start() as parts:
        first = await started(parts, monkeypatch)
        texts = [await text_of(parts, event) for event in (*done, listed)]
    async with start() as parts:
        second = await started(parts, monkeypatch)

    assert (first, second, texts) == ([listed], [], [None] * 3)


async def test_older_copy_of_the_journal_is_erased_from_its_last_id_on(
    start, tmp_path, monkeypatch
):
    """A person copied the file back. Mutant: a start trusts that everything is erased."""
    path = tmp_path / "smshook.db"
    async with start() as parts:
        events = [await stored(parts) for _ in range(3)]
        await parts.erasures.erase_event(events[0])
    shutil.copyfile(path, tmp_path / "copy")
    async with start() as parts:
        for event in events[1:]:
            await parts.erasures.erase_event(event)
    shutil.copyfile(tmp_path / "copy", path)
    async with start() as parts:
        before = [await text_of(parts, event) for event in events]
        erased = await started(parts, monkeypatch)
        after = [await text_of(parts, event) for event in events]

    assert (before, after) == ([None, TEXT, TEXT], [None] * 3)
    assert erased == events[1:]


async def test_orders_and_quarantine_of_an_older_copy_are_erased_again(start, tmp_path):
    """No event names the number. Mutants: only ids of events are listed; an open order stays open;
    the ids are listed after the erasure; the number is forgotten in the file only."""
    path = tmp_path / "smshook.db"
    held = arrival(body=f"number={NUMBER[1:]}".encode())
    async with start() as parts:
        by_number, named = order(NUMBER, kind="number"), order("7", number=NUMBER)
        for one in (by_number, named):
            await parts.journal.submit(RegisterOrder(one, None))
        await parts.journal.submit(CancelOrder(named.id, at=NOW))
        unread = QuarantineCallback(held, "q" * 36, b"f", "unreadable", "detail")
        await parts.journal.submit(unread)
    shutil.copyfile(path, tmp_path / "copy")
    async with start() as parts:
        done = await parts.erasures.erase_number(NUMBER)
    shutil.copyfile(tmp_path / "copy", path)
    async with start() as parts:
        await parts.erasures.erase_again(after=await parts.journal.ask(ErasedUpTo()))
        kept = [await parts.journal.ask(OrderById(one.id)) for one in (by_number, named)]
        stats = await parts.journal.ask(JournalStats())
        book = [vars(one) for one in parts.orders._order_book._orders.values()]
        last = await parts.journal.ask(ErasedUpTo())

    assert (done.events, done.orders, done.quarantine) == (0, 2, 1)
    assert ids_in(tmp_path) == (by_number.id, named.id, unread.id)
    assert [(one.order.state, one.order.number) for one in kept] == [("cancelled", None)] * 2
    assert NUMBER not in str(kept)
    assert NUMBER not in str(book)
    assert (stats.quarantine, last) == (0, unread.id)


async def test_journal_with_an_id_that_is_gone_is_erased_whole(start, tmp_path, monkeypatch):
    """Its last id left the file. Mutant: what cannot be found means that nothing is left."""
    async with start() as parts:
        event = await stored(parts)
        await parts.journal.submit(EraseContent(("gone",), at=NOW))
        ErasedIds(tmp_path / "smshook.erased").add([event])
    async with start() as parts:
        erased = await started(parts, monkeypatch)
        last = await parts.journal.ask(ErasedUpTo())

    assert (erased, last) == ([event], event)


# --- a shorter list ----------------------------------------------------------------------------


async def test_ids_go_when_their_keys_are_destroyed(start, tmp_path, monkeypatch):
    """Mutants: they never go; with the keys of one kind; before the keys; the last one goes."""
    async with start() as parts:
        for _ in range(2):
            await parts.erasures.erase_event(await stored(parts))
        ids = ids_in(tmp_path)
    found = []
    # Codes and callbacks are destroyed by then, numbers are not; then all; then another start.
    for now in (NOW + DAY + 2 * HOUR, NOW + 3 * DAY + HOUR, NOW + 3 * DAY + HOUR):
        async with start(now) as parts:
            await started(parts, monkeypatch)
            found.append(ids_in(tmp_path))
            await parts.pruner.prune(gently=False)
            with capture_logs() as lines:
                await parts.erasures.shorten(parts.period_keys)
            found.append(ids_in(tmp_path))

    assert found == [ids, ids, ids, ids[1:], ids[1:], ids[1:]]
    assert lines == []
    assert (tmp_path / "smshook.erased").stat().st_mode & 0o777 == 0o600


async def test_running_service_shortens_the_list(start, tmp_path, monkeypatch):
    """Mutant: only a start does."""
    monkeypatch.setattr(erasure, "_SHORTEN_EVERY", 0.01)
    async with start() as parts:
        for _ in range(2):
            await parts.erasures.erase_event(await stored(parts))
    async with start(NOW + 9 * DAY) as parts:
        running = asyncio.create_task(parts.erasures.run())
        await parts.pruner.prune(gently=False)
        async with asyncio.timeout(10):
            while len(ids_in(tmp_path)) > 1:  # noqa: ASYNC110 - a file has no event
                await asyncio.sleep(0.01)
        running.cancel()


@pytest.mark.parametrize("clear", ["before", "between"])
async def test_id_of_an_event_that_was_stored_in_clear_stays(start, tmp_path, clear):
    """A backup without keys has it. Mutants: every event counts as sealed; a start in clear does
    not count."""
    async with start(seal=SEAL if clear == "between" else Sealing()) as parts:
        await stored(parts)
    async with start(seal=Sealing()) as parts:
        event = await stored(parts)
    async with start() as parts:
        sealed = await stored(parts)
        for one in (event, sealed, await stored(parts)):
            await parts.erasures.erase_event(one)
        parts.pruner._keys.destroy("codes", NOW + 9 * DAY)
        parts.pruner._keys.destroy("people", NOW + 9 * DAY)
        parts.pruner._keys.destroy("raw", NOW + 9 * DAY)
        await parts.erasures.shorten(parts.period_keys)

    assert ids_in(tmp_path)[0] == event
    assert sealed not in ids_in(tmp_path)


async def test_new_key_file_keeps_the_ids(start, tmp_path, monkeypatch):
    """The old keys may be in a copy. Mutant: a key that is missing counts as destroyed."""
    async with start() as parts:
        for _ in range(2):
            await parts.erasures.erase_event(await stored(parts))
        ids = ids_in(tmp_path)
    (tmp_path / "smshook.keys").unlink()
    async with start(NOW + 9 * DAY) as parts:
        await started(parts, monkeypatch)

    assert ids_in(tmp_path) == ids


async def test_full_disk_keeps_the_list(start, tmp_path, monkeypatch):
    """Mutants: the file is written in place; it is renamed before it is on disk."""
    async with start() as parts:
        for _ in range(2):
            await parts.erasures.erase_event(await stored(parts))
        before = (tmp_path / "smshook.erased").read_bytes()

        def full(_path):
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(erasure, "sync_file", full)
        parts.pruner._keys.destroy("codes", NOW + 9 * DAY)
        parts.pruner._keys.destroy("people", NOW + 9 * DAY)
        parts.pruner._keys.destroy("raw", NOW + 9 * DAY)
        with capture_logs() as lines:
            await parts.erasures.shorten(parts.period_keys)

    assert (tmp_path / "smshook.erased").read_bytes() == before
    assert [line["event"] for line in lines] == ["content.ids_kept"]
    assert [path.name for path in tmp_path.iterdir() if "unfinished" in path.name] == []


@pytest.fixture
def listed(tmp_path):
    """A list of three ids. The key of the first is destroyed."""
    path = tmp_path / "smshook.erased"
    ErasedIds(path).add([OLD, OTHER, NEW], newest_keys={OLD: NOW, NEW: NOW + HOUR})
    return path


def test_death_at_any_step_of_a_rewrite_loses_no_id(listed):
    """Mutant: the old list is removed before the new one has its name."""
    before, seen = listed.read_text(), []
    for _ in deaths(STEPS, shorten, listed, NOW + HOUR):
        seen.append(ErasedIds(listed).read())
        ErasedIds(listed).add(["d" * 36])
        assert ErasedIds(listed).read() == (*seen[-1], "d" * 36)
        listed.write_text(before)

    assert (seen[0], seen[-1]) == ((OLD, OTHER, NEW), (OTHER, NEW))
    assert {*seen} == {seen[0], seen[-1]}
    assert len(seen) > 5


def test_id_whose_time_is_half_written_stays(tmp_path):
    """A power cut. Mutant: half a time is earlier than every key."""
    path = tmp_path / "smshook.erased"
    path.write_text(f"{OLD} {rfc3339(NOW)[:15]}\n{NEW}\n")

    assert ErasedIds(path).shorten(NOW + DAY) == 0
    assert ErasedIds(path).read() == (OLD, NEW)


def test_missing_list_is_not_made(tmp_path):
    assert ErasedIds(tmp_path / "smshook.erased").shorten(NOW) == 0
    assert list(tmp_path.iterdir()) == []
