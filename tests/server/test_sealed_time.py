"""When sealed content can no longer be opened: in the service, in the file, and in a backup."""

import asyncio
import contextlib
import json
import shutil

import pytest
from contracts.journal import arrival, keep, planned, record
from contracts.journal import owed as owed_to
from contracts.orders import of_number
from sealing import ALL
from services import Machine, configured, identity_of, keys_of, loading
from structlog.testing import capture_logs

from core.errors import Unavailable
from core.secret import Secret
from core.units import Duration
from journal.reads import CallbackOfEvent, EventById, QuarantinedById, SealedRows
from journal.seal import Reason
from journal.writes import EndDeliveries, Record, RegisterOrder
from server.backups import back_up, back_up_keys
from server.config.options import Retention, Sealing
from server.runtime.erasure import ErasedIds
from server.runtime.retention import EVERY
from server.service import open_journal
from server.service import restore as restore_parts
from sinks.file.sink import File
from sinks.sink import Receipt

ROOT = Secret("the root key of these tests, 0123456789")
HOUR, DAY = 3600.0, 86_400.0
#: 2026-09-21T00:00:00Z: each period begins, so its key lives longest.
NOW = 1_789_948_800.0
TEXT, NUMBER, KEPT = "G-918273 is it", "+18505550142", "918274 in quarantine"
#: What is read, the options, the seconds that it is kept, and the period of its keys.
CASES = {
    "codes": (Retention(codes=Duration(DAY)), DAY, HOUR),
    "numbers": (Retention(people=Duration(2 * DAY)), 2 * DAY, DAY),
    "raw": (Retention(codes=Duration(DAY), raw=Duration(2 * HOUR)), 2 * HOUR, HOUR),
    "raw by codes": (Retention(codes=Duration(DAY), raw=Duration(7 * DAY)), DAY, HOUR),
    "quarantine": (Retention(quarantine=Duration(3 * DAY)), 3 * DAY, DAY),
}


@pytest.fixture
def machine():
    return Machine(NOW)


def options(folder, retention, **changed):
    folder.mkdir(exist_ok=True)
    return configured(
        folder,
        seal=Sealing(root=(ROOT,), file=str(folder / "smshook.keys"), period=Duration(HOUR)),
        retention=retention,
        retention_is_set=True,
        **changed,
    )


@contextlib.asynccontextmanager
async def started(config, machine):
    """A start of the service; nothing runs."""
    clock, identity = machine.clock(), identity_of(config)
    keys = keys_of(config, now=clock.now())
    journal = await open_journal(config, identity, now=clock.now(), keys=keys)
    try:
        yield await restore_parts(
            *(config, journal, identity), clock=clock, load=loading(config), period_keys=keys
        )
    finally:
        await journal.close()


async def stored(parts, **plan):
    """Store an event with its callback, and a callback in quarantine; return the event's id."""
    plan = planned(at=NOW, text=TEXT, to=NUMBER, **plan)
    await parts.journal.submit(Record(arrival(at=NOW, body=TEXT.encode()), (plan,)))
    await keep(parts.journal, KEPT.encode(), new_id="q1", at=NOW)
    return plan.event.id


async def readable(journal, event):
    """Return what can be read, of all that was stored."""
    kept = await journal.ask(EventById(event, opening=ALL))
    data = json.loads(kept.body)["data"]
    raw = await journal.ask(CallbackOfEvent(event, why=Reason.RAW))
    held = await journal.ask(QuarantinedById("q1", why=Reason.QUARANTINE))
    return {
        "codes": data["text"] == TEXT,
        "numbers": data["to"] == NUMBER,
        "raw": raw is not None and raw.body == TEXT.encode(),
        "quarantine": held is not None and held.body == KEPT.encode(),
    }


async def opened(folder, *, journal, keys, event, machine):
    """Return what a copy of the journal reveals with a copy of the key file and the root key."""
    copy = options(folder, Retention())
    shutil.copyfile(journal, copy.journal.path)
    shutil.copyfile(keys, copy.seal.path)
    async with started(copy, machine) as parts:
        return await readable(parts.journal, event)


@pytest.mark.parametrize("case", CASES)
async def test_content_is_readable_until_its_time_and_nowhere_after_it(tmp_path, machine, case):
    """A thief has the root key, the file, and a backup from before. A copy of the keys from before
    opens that backup: hence the advice in back-up.md.

    Mutants: keys go a period later; `raw` alone keeps callbacks; no key is destroyed.
    """
    retention, kept, period = CASES[case]
    what, config = case.split(" ", maxsplit=1)[0], options(tmp_path / "service", retention)
    backup, keys = tmp_path / "backup.db", tmp_path / "backup.keys"
    async with started(config, machine) as parts:
        event = await stored(parts)
        await asyncio.to_thread(
            back_up, config.path, config.journal.path, backup, lambda *_progress: None
        )
        back_up_keys(config.seal.path, keys)

        machine.pass_by(kept - 1)
        await parts.pruner.prune(gently=False)
        before = await readable(parts.journal, event)
        machine.pass_by(1 + period + 60 - EVERY)  # a pass each EVERY seconds
        await parts.pruner.prune(gently=False)
        machine.pass_by(EVERY)
        after = await readable(parts.journal, event)

    copies = [(config.journal.path, config.seal.path), (backup, config.seal.path), (backup, keys)]
    found = [
        await opened(tmp_path / str(n), journal=file, keys=its, event=event, machine=machine)
        for n, (file, its) in enumerate(copies)
    ]

    assert before[what]
    assert not after[what]
    assert [one[what] for one in found] == [False, False, True]


async def test_restored_copy_of_the_keys_is_destroyed_at_the_first_pass(tmp_path, machine):
    """Mutant: the rows are erased, and the keys stay."""
    config = options(tmp_path / "service", CASES["codes"][0])
    async with started(config, machine) as parts:
        event = await stored(parts)
        copy = config.seal.path.read_bytes()
        machine.pass_by(2 * DAY)
    config.seal.path.write_bytes(copy)

    async with started(config, machine) as parts:
        before = await readable(parts.journal, event)
        await parts.pruner.prune(gently=False)
        after = await readable(parts.journal, event)
        left = [kind for kind in ("codes", "raw") if parts.period_keys.get(kind, NOW // 60)]

    assert (before["codes"], after["codes"]) == (True, False)
    assert (before["raw"], after["raw"], left) == (True, False, [])


# --- keys without a time of their own --------------------------------------------------------


def in_use(parts):
    """Return the kinds with a key of NOW."""
    keys = parts.period_keys
    return {kind for kind in ("codes", "people", "raw") if keys.get(kind, int(NOW // 60))}


NO_TIME = Retention(events=Duration(9 * DAY), codes=None, people=None, raw=None)
LONGER = Retention(
    events=Duration(9 * DAY), codes=Duration(20 * DAY), people=Duration(20 * DAY), raw=None
)


@pytest.mark.parametrize("retention", [NO_TIME, LONGER], ids=["no time", "longer"])
async def test_keys_go_with_the_last_event_that_they_seal(tmp_path, machine, retention):
    """A backup with the root key opens no longer than that.

    Mutants: such keys stay for ever; they go by the time of the event's period, not its end.
    """
    config = options(tmp_path / "service", retention)
    ids = ErasedIds(config.journal.path.with_name("smshook.erased"))
    backup, found = tmp_path / "backup.db", []
    async with started(config, machine) as parts:
        event = await stored(parts)
        await asyncio.to_thread(
            back_up, config.path, config.journal.path, backup, lambda *_progress: None
        )
        await parts.erasures.erase_event(event)
        await parts.erasures.erase_event(await stored(parts))
        for passed in (9 * DAY - 1, HOUR + 1, DAY - HOUR):  # each is a pass of another start
            machine.pass_by(passed)
            async with started(config, machine) as later:
                await later.pruner.prune(gently=False)
                await later.erasures.shorten(later.period_keys)
                found.append((in_use(later), len(ids.read())))
    copy = await opened(
        tmp_path / "copy", journal=backup, keys=config.seal.path, event=event, machine=machine
    )

    assert found == [({"codes", "people", "raw"}, 2), ({"people"}, 2), (set(), 1)]
    assert copy == {"codes": False, "numbers": False, "raw": False, "quarantine": True}


async def test_key_stays_while_a_row_needs_it(tmp_path, machine, monkeypatch):
    """An event waits for its sink, and an order ends later than its events.

    Mutants: `events` alone counts; orders are not looked at; callbacks are not; only the last rows
    count; a running service never looks again.
    """
    monkeypatch.setattr("journal.sqlite.unsealed._COUNTED", 1)
    sinks = {"log": File(path=str(tmp_path / "log.jsonl"))}
    config, found = options(tmp_path / "service", NO_TIME, sinks=sinks), []
    async with started(config, machine) as parts:
        event = await stored(parts, owed=[owed_to("log")])
        ended = of_number(NUMBER, created_at=NOW, expires_at=NOW + 15 * DAY, state="expired")
        await parts.journal.submit(RegisterOrder(ended, None))

        async def look():
            await parts.pruner.prune(gently=False)
            found.append(in_use(parts))

        machine.pass_by(12 * DAY)
        young = planned(at=NOW + 12 * DAY, text=TEXT, to=NUMBER)
        came = arrival(at=NOW + 12 * DAY, body=TEXT.encode())
        await parts.journal.submit(Record(came, (young,)))
        await look()
        kept = await readable(parts.journal, event)
        await parts.journal.submit(EndDeliveries("log", "gone", NOW))
        await look()  # too early
        machine.pass_by(DAY)
        await look()
        machine.pass_by(12 * DAY)
        await look()

    everything = {"codes", "people", "raw"}
    assert kept == {"codes": True, "numbers": True, "raw": True, "quarantine": True}
    assert found == [everything, everything, {"people"}, set()]


async def test_key_of_a_removed_row_stays_as_long_as_events(tmp_path, machine):
    """A journal from a copy may have such a row. Mutants: only the oldest row counts; the age
    follows the wall clock.
    """
    config = options(tmp_path / "service", NO_TIME)
    async with started(config, machine) as parts:
        machine.pass_by(5 * DAY)
        await record(parts.journal, planned(at=NOW + 5 * DAY, text=TEXT))
        machine.wall += 100 * DAY  # nothing is older by that
        parts.clock.check()
        await parts.pruner.prune(gently=False)

        assert in_use(parts) == {"codes", "people", "raw"}


async def test_keys_without_a_time_stay_with_their_events(tmp_path, machine):
    """Mutant: without `events`, they go by another time."""
    config = options(tmp_path / "service", Retention(events=None, raw=None))
    async with started(config, machine) as parts:
        event = await stored(parts)
        machine.pass_by(1000 * DAY)
        await parts.pruner.prune(gently=False)

        assert in_use(parts) == {"codes", "people", "raw"}
        assert (await readable(parts.journal, event))["numbers"]


async def test_clock_set_forward_keeps_the_keys_of_events(tmp_path, machine):
    """Mutant: the keys go by the wall clock."""
    config = options(tmp_path / "service", NO_TIME)
    async with started(config, machine) as parts:
        event = await stored(parts)
        await passes(parts)  # notes the time
        machine.wall += 100 * DAY
        parts.clock.check()
        await parts.pruner.prune(gently=False)
        running = in_use(parts)
    async with started(config, machine) as parts:
        assert "retention.postponed" in await passes(parts)
        started_late = in_use(parts)
        readable_then = await readable(parts.journal, event)

    assert running == started_late == {"codes", "people", "raw"}
    assert readable_then == ALL_READABLE


async def test_unavailable_journal_destroys_no_key(tmp_path, machine, monkeypatch):
    """Nobody knows then what is in use. Mutants: what was not read is not in use; it is not tried
    again.
    """
    config = options(tmp_path / "service", NO_TIME)
    async with started(config, machine) as parts:
        await stored(parts)
        machine.pass_by(11 * DAY)
        ask = parts.journal.ask

        async def unavailable(read):
            if isinstance(read, SealedRows):
                raise Unavailable("it is only tested")
            return await ask(read)

        with monkeypatch.context() as patch:
            patch.setattr(parts.journal, "ask", unavailable)
            await parts.pruner.prune(gently=False)
            kept = in_use(parts)
        await parts.pruner.prune(gently=False)

        assert (kept, in_use(parts)) == ({"codes", "people", "raw"}, set())


# --- a clock that is set forward -------------------------------------------------------------


SHORT = Retention(codes=Duration(DAY), people=Duration(DAY), quarantine=Duration(DAY))
ALL_READABLE = dict.fromkeys(("codes", "numbers", "raw", "quarantine"), True)


def kept_keys(parts):
    return {kind: [*parts.period_keys.periods(kind)] for kind in ("codes", "people", "raw")}


async def passes(parts):
    """Let the pruner run as in a service, until its first pass ended; return what it logged."""
    with capture_logs() as lines:
        pruning = asyncio.create_task(parts.pruner.run())
        async with asyncio.timeout(30):
            while not parts.pruner.wait and not (parts.pruner.last and parts.pruner.last.ended_at):  # noqa: ASYNC110 - it has no event
                await asyncio.sleep(0.01)
        await asyncio.sleep(0.1)  # a pass that should not be would begin
        pruning.cancel()
    return [line["event"] for line in lines]


async def test_clock_set_forward_by_days_destroys_no_key_and_expires_nothing(tmp_path, machine):
    """While it runs and over restarts, until the clock is right again.

    Mutants: ages follow the wall clock; a start believes it; a delivery counts by it.
    """
    sinks = {"log": File(path=str(tmp_path / "log.jsonl"), expire_after=Duration(HOUR))}
    config, sent = options(tmp_path / "service", SHORT, sinks=sinks), []
    async with started(config, machine) as parts:
        event = await stored(parts, owed=[owed_to("log")])
        await passes(parts)  # notes the time
        keys = kept_keys(parts)
        machine.wall += 10 * DAY
        parts.clock.check()
        await parts.pruner.prune(gently=False)
        running = (await readable(parts.journal, event), kept_keys(parts))
    for _ in range(2):
        async with started(config, machine) as parts:
            assert "retention.postponed" in await passes(parts)
            assert await readable(parts.journal, event) == ALL_READABLE
            assert all({*its} <= {*kept_keys(parts)[kind]} for kind, its in keys.items())
            machine.pass_by(60)
    async with started(config, machine) as parts:

        async def send(outgoing):
            sent.append(json.loads(outgoing.body)["id"])
            return Receipt()

        worker = asyncio.create_task(parts.workers["log"].run(send))
        async with asyncio.timeout(10):
            while not sent:  # noqa: ASYNC110 - a sink has no event
                await asyncio.sleep(0.01)
        worker.cancel()
    machine.wall -= 10 * DAY  # corrected
    async with started(config, machine) as parts:
        await passes(parts)
        corrected = await readable(parts.journal, event)

    assert running == (ALL_READABLE, keys)
    assert (corrected, sent) == (ALL_READABLE, [event])


async def test_destruction_goes_on_an_hour_after_a_start_with_a_late_clock(tmp_path, machine):
    """The service was stopped for days. Mutant: it waits for ever."""
    config = options(tmp_path / "service", SHORT)
    async with started(config, machine) as parts:
        event = await stored(parts)
        await passes(parts)
    machine.pass_by(5 * DAY)
    async with started(config, machine) as parts:
        first = await passes(parts)
        early = await readable(parts.journal, event)
        machine.pass_by(HOUR + 1)
        await passes(parts)
        late = await readable(parts.journal, event)

    assert (first, early) == (["retention.postponed"], ALL_READABLE)
    assert late == dict.fromkeys(ALL_READABLE, False)
