"""Sealing rows that were stored in clear, while the service runs: its run, counts and warnings."""

import asyncio
import contextlib

import pytest
from canary import secrets_in
from contracts.journal import NOW, arrival, owed, planned, record
from journals import shell
from sealing import ALL
from services import clock_of, configured, identity_of, keys_of, loading
from structlog.testing import capture_logs

from core.errors import Broken, Unavailable
from core.secret import Secret
from core.units import Duration
from journal.keyring import KeyFile
from journal.reads import CallbackOfEvent, EventById
from journal.records import Unsealed
from journal.seal import Kind, Reason
from server.config.options import Retention, Sealing
from server.runtime import period_keys, sealing
from server.runtime.period_keys import warn_of_missing_keys
from server.runtime.supervisor import Supervisor
from server.service import assemble, open_journal, run_parts
from sinks.file.sink import File

ROOT = Secret("the root key of these tests, 0123456789")
CODE, NUMBER, HOUR = "ZQ7-918273", "+18505550123", 3600.0
SMS = {"to": NUMBER, "text": f"{CODE} is it", "code": CODE}
HEADERS = (("authorization", "Basic c2VjcmV0LW9mLWEtcHJvdmlkZXI="),)


def options(folder, *, is_on=True, **changed):
    sinks = {
        "crm": File(path=str(folder / "crm.jsonl")),
        "log": File(path=str(folder / "log.jsonl"), redact="people"),
    }
    return configured(
        folder,
        **{
            "seal": Sealing(root=(ROOT,) if is_on else (), file=str(folder / "smshook.keys")),
            "sinks": sinks,
            "retention": Retention(codes=Duration(86_400)),
            "retention_is_set": True,
        }
        | changed,
    )


@contextlib.asynccontextmanager
async def parts_of(folder, *, is_on=True, at=NOW + 60):
    config = options(folder, is_on=is_on)
    keys = keys_of(config, now=at)
    identity = identity_of(config)
    journal = await open_journal(config, identity, now=at, keys=keys)
    try:
        yield assemble(
            *(config, journal, identity),
            load=loading(config),
            clock=clock_of(lambda: at),
            period_keys=keys,
        )
    finally:
        await journal.close()


async def in_clear(folder, count=3, *, at=NOW):
    """Store events in clear, and return their plans."""
    plans = [planned(at=at, owed=[owed("crm", wait=60.0)], **SMS) for _ in range(count)]
    async with parts_of(folder, is_on=False, at=at) as parts:
        for plan in plans:
            await record(parts.journal, plan, came=arrival(at=at, body=b"x", headers=HEADERS))
    return plans


async def ended(parts):
    """Wait for the end of the run."""
    async with asyncio.timeout(20):
        while parts.row_sealer.last is None or parts.row_sealer.last.ended_at is None:  # noqa: ASYNC110 - it has no event
            await asyncio.sleep(0.01)


async def test_clock_that_is_set_back_ages_no_row(tmp_path):
    """Mutant: the row gets a key of a day ago, which is destroyed when the clock is right again."""
    [plan] = await in_clear(tmp_path, 1)
    async with parts_of(tmp_path):
        pass
    async with parts_of(tmp_path, at=NOW - 86_400) as parts:
        await parts.row_sealer.seal(gently=False)
        parts.period_keys.destroy(Kind.CODES, NOW - 4 * HOUR)
        kept = await parts.journal.ask(EventById(plan.event.id, ALL))

    assert kept.body == plan.body


async def test_asked_run_seals_all_and_is_logged(tmp_path):
    """Mutants: a secret of a header is sealed; the run is not awaited by its state."""
    plans = await in_clear(tmp_path)
    with shell(tmp_path / "smshook.db") as conn:
        conn.execute("insert into meta values ('callbacks_in_clear', '3')")  # as after an upgrade
    async with parts_of(tmp_path) as parts:
        with capture_logs() as lines:
            task = asyncio.create_task(parts.row_sealer.run())
            parts.row_sealer.start()
            await ended(parts)
            task.cancel()
        run = parts.row_sealer.last
        kept = await parts.journal.ask(EventById(plans[0].event.id, ALL))
        raw = await parts.journal.ask(CallbackOfEvent(plans[0].event.id, Reason.SHOW))

    [(_, credential)] = raw.headers
    assert credential.startswith("digest:")
    rows = {Unsealed.EVENTS: 3, Unsealed.CALLBACKS: 3}
    assert run.error is None
    assert {table: n for table, n in run.found.items() if n} == rows
    assert {table: n for table, n in run.sealed.items() if n} == rows
    assert kept.body == plans[0].body
    warned, done = (line for line in lines if line["event"].startswith("seal."))
    assert (warned["event"], warned["events"], warned["callbacks"]) == ("seal.rows_in_clear", 3, 3)
    assert done == {
        "event": "seal.migrated",
        "log_level": "info",
        "sealed": 6,
        "erased": 0,
        "error": None,
    }
    assert secrets_in(tmp_path.glob("smshook*"), [CODE, NUMBER[1:]]) == []


async def test_sealed_journal_is_not_warned_of(tmp_path):
    """Mutant: the warning does not end when everything is sealed."""
    await in_clear(tmp_path)
    async with parts_of(tmp_path) as parts:
        await parts.row_sealer.seal(gently=False)
    async with parts_of(tmp_path) as parts:
        with capture_logs() as lines:
            task = asyncio.create_task(parts.row_sealer.run())
            await asyncio.sleep(0.2)
            task.cancel()

    assert [line["event"] for line in lines] == []


async def test_callbacks_come_between_gentle_steps(tmp_path, monkeypatch):
    """Mutant: one step seals all rows while a callback waits."""
    monkeypatch.setattr(sealing, "_BUSY_ROWS", 2)
    await in_clear(tmp_path, 12)
    async with parts_of(tmp_path) as parts:
        running = asyncio.create_task(parts.row_sealer.seal())
        sealed_at = []
        while not running.done():
            await record(parts.journal, planned(at=NOW, **SMS))
            done = parts.row_sealer.last
            sealed_at.append(0 if done is None else sum(done.sealed.values()))
        run = running.result()

    assert run.error is None
    assert sum(run.sealed.values()) == 24
    assert len({n for n in sealed_at if n < 24}) > 3


async def test_keys_are_made_before_the_writer_needs_them(tmp_path, monkeypatch):
    """Mutant: the writer makes each key, and all callbacks wait for the disk."""
    for hours in (5, 3, 1):
        await in_clear(tmp_path, 1, at=NOW - hours * HOUR)
    async with parts_of(tmp_path) as parts:
        keys, made = parts.period_keys, []
        make = keys._make
        monkeypatch.setattr(
            keys,
            "_make",
            lambda kinds, instants: (made.append(len(instants)), make(kinds, instants))[1],
        )

        run = await parts.row_sealer.seal(gently=False)

    assert run.error is None
    # One rewrite for each kind of the rows.
    assert sorted(made) == [3, 3]


@pytest.mark.parametrize("reason", ["keys", "log"])
async def test_run_that_fails_says_why(tmp_path, monkeypatch, reason):
    """Mutants: the run stays under way for ever; it counts as done."""
    await in_clear(tmp_path)
    async with parts_of(tmp_path) as parts:

        async def fail():
            raise Unavailable("another process reads the journal")

        def full(_kind, _times):
            raise Unavailable("smshook.keys cannot be written: No space left on device")

        if reason == "keys":
            monkeypatch.setattr(parts.period_keys, "cover", full)
        else:
            monkeypatch.setattr(parts.journal, "empty_log", fail)
        failed = await parts.row_sealer.seal(gently=False)
        monkeypatch.undo()
        again = await parts.row_sealer.seal(gently=False)

    assert failed.error is not None
    assert failed.ended_at is not None
    assert again.error is None


async def test_broken_journal_ends_the_run(tmp_path, monkeypatch):
    await in_clear(tmp_path)
    async with parts_of(tmp_path) as parts:

        async def broken(_read):
            raise Broken("SQLITE_CORRUPT")

        monkeypatch.setattr(parts.journal, "ask", broken)
        await parts.row_sealer.run()
        with pytest.raises(Broken):
            await parts.row_sealer.seal(gently=False)


async def test_count_that_is_unavailable_does_not_end_the_task(tmp_path, monkeypatch):
    await in_clear(tmp_path)
    async with parts_of(tmp_path) as parts:
        ask, failures = parts.journal.ask, [Unavailable("busy")]

        async def once(read):
            if failures:
                raise failures.pop()
            return await ask(read)

        monkeypatch.setattr(parts.journal, "ask", once)
        task = asyncio.create_task(parts.row_sealer.run())
        await asyncio.sleep(0.05)
        assert not task.done()
        parts.row_sealer.start()
        await ended(parts)
        task.cancel()


async def test_service_runs_the_task(tmp_path):
    """Mutant: the task is not started, and a request waits for ever."""
    await in_clear(tmp_path)
    async with parts_of(tmp_path) as parts:
        supervisor = Supervisor(lambda: None)
        run_parts(parts, supervisor)
        parts.row_sealer.start()
        try:
            await ended(parts)
        finally:
            for task in supervisor.tasks:
                task.cancel()
            await asyncio.gather(*supervisor.tasks, return_exceptions=True)


async def test_journal_in_clear_is_not_sealed(tmp_path):
    await in_clear(tmp_path)
    async with parts_of(tmp_path, is_on=False) as parts:
        await parts.row_sealer.run()
        run = await parts.row_sealer.seal(gently=False)

    assert (run.error, parts.row_sealer.is_on) == ("the journal has no keys", False)


async def test_rows_without_a_key_are_counted(tmp_path):
    """Mutants: rows with a destroyed key count, too; a second key of a period counts as theirs."""
    await in_clear(tmp_path)
    async with parts_of(tmp_path) as parts:
        await parts.row_sealer.seal(gently=False)
        whole = await parts.row_sealer.count_without_key()
        parts.period_keys.destroy(Kind.CODES, NOW + 2 * HOUR)
        destroyed = await parts.row_sealer.count_without_key()
    (tmp_path / "smshook.keys").unlink()
    async with parts_of(tmp_path) as parts:
        await record(parts.journal, planned(at=NOW))  # its keys are made
        another = await parts.row_sealer.count_without_key()
    (tmp_path / "smshook.keys").unlink()
    async with parts_of(tmp_path, at=NOW + 90_000) as parts:
        missing = await parts.row_sealer.count_without_key()

    assert not any((*whole.values(), *destroyed.values()))
    assert (another[Unsealed.EVENTS], another[Unsealed.CALLBACKS]) == (3, 3)
    assert (missing[Unsealed.EVENTS], missing[Unsealed.CALLBACKS]) == (3, 4)


# --- missing keys --------------------------------------------------------------------------------


async def test_missing_key_file_is_reported_with_numbers(tmp_path):
    """Mutants: it is reported after another file was made; a sink that needs nothing counts."""
    async with parts_of(tmp_path) as parts:
        both = [owed("crm", wait=60.0), owed("log", wait=60.0), owed("gone", wait=60.0)]
        both += [owed("sub:1", wait=60.0)]
        await record(parts.journal, planned(at=NOW, owed=both, to=NUMBER))
        await record(parts.journal, planned(at=NOW))
    config = options(tmp_path)
    with capture_logs() as present:
        warn_of_missing_keys(config, config.journal.path)
    keys = (tmp_path / "smshook.keys").rename(tmp_path / "elsewhere")

    with capture_logs() as missing:
        warn_of_missing_keys(config, config.journal.path)
    with capture_logs() as no_seal:
        warn_of_missing_keys(options(tmp_path, is_on=False), config.journal.path)

    assert present == []
    assert missing == [
        {
            "event": "seal.keys_missing",
            "log_level": "error",
            "missing": "smshook.keys",
            "events": 1,
            "callbacks": 2,
            "quarantine": 0,
            "orders": 0,
            "expiring": 2,
            "then": period_keys.PUT_BACK,
        }
    ]
    assert no_seal == [missing[0] | {"missing": "seal"}]
    assert not config.seal.path.exists()
    assert KeyFile.read(keys) is not None


async def test_older_copy_of_the_key_file_is_reported_with_numbers(tmp_path):
    """Mutants: only a missing file is reported; a delivery with a key counts as expiring."""
    config, keys = options(tmp_path), tmp_path / "smshook.keys"
    async with parts_of(tmp_path) as parts:
        await record(parts.journal, planned(at=NOW, owed=[owed("crm", wait=60.0)], **SMS))
    copy = keys.read_bytes()
    later = NOW + 3 * 3600
    async with parts_of(tmp_path, at=later) as parts:
        await record(parts.journal, planned(at=later, owed=[owed("crm", wait=60.0)], **SMS))
    with capture_logs() as present:
        warn_of_missing_keys(config, config.journal.path)
    keys.write_bytes(copy)

    with capture_logs() as older:
        warn_of_missing_keys(config, config.journal.path)

    assert present == []
    [line] = older
    assert (line["event"], line["missing"]) == ("seal.keys_missing", "smshook.keys")
    assert (line["events"], line["expiring"]) == (1, 1)


async def test_journal_without_sealed_rows_needs_no_key_file(tmp_path):
    config = options(tmp_path)
    with capture_logs() as lines:
        warn_of_missing_keys(config, config.journal.path)
        await in_clear(tmp_path)
        warn_of_missing_keys(config, config.journal.path)

    assert lines == []
