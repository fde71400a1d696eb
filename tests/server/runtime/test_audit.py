"""The audit log of a service: signed, with keys that are destroyed, and verifiable by others."""

import asyncio
import base64
import contextlib
import hashlib
import json
import os
import shutil
import sqlite3
from functools import partial
from types import SimpleNamespace

import pytest
from contracts.journal import owed, planned, record
from services import clock_of, configured, identity_of, loading
from structlog.testing import capture_logs

from core.clock import AgeClock, rfc3339
from core.errors import Unavailable
from core.secret import Secret
from journal.actor import Actor
from journal.audit.lines import Fact, commitment, commitment_key
from journal.keyring import EPOCH, KeyFile
from journal.reads import AuditLines, AuditLogs, LineFilter
from journal.seal import Kind
from journal.sqlite.schema import begin_generation
from journal.writes import EraseLine, PackLog, RecordFacts, SetMoment, SignCheckpoint
from server import stopped
from server.cli import audit_export, audit_log, audit_verify
from server.config.options import Auditing, Retention, Sealing
from server.runtime.audit import RETRY
from server.runtime.period_keys import make_keys
from server.service import audit_options, open_journal
from server.service import restore as restore_parts

BEGIN = 1_764_460_800.0
DAY = 86_400.0
#: What runs from time to time: signing, counting, packing, pruning.
JOBS = 5
ROOT = Secret("the root key of these tests, long enough")


class Service:
    """A folder with a journal, and its starts. Time is what the test says."""

    def __init__(self, folder, **options):
        self.folder, self.at, self.parts = folder, BEGIN, None
        plain = {"audit": Auditing(epoch=DAY), "seal": Sealing(file=str(folder / "smshook.keys"))}
        self.config = configured(folder, **plain | options)

    async def start(self):
        """Start it as the process does; return the first key of a new log."""
        config, identity = self.config, identity_of(self.config)
        clock = clock_of(lambda: self.at)
        roots = config.seal.root
        keys = make_keys(config.seal, roots, now=self.at, secret=config.server.secret)
        audit = audit_options(config, identity, clock, keys)
        self.journal = await open_journal(
            config, identity, now=self.at, keys=keys if roots else None, audit=audit
        )
        self.parts = await restore_parts(
            *(config, self.journal, identity),
            clock=clock,
            load=loading(config),
            period_keys=keys,
            audit=audit,
        )
        return await self.parts.audit.begin(config)

    async def stop(self):
        await self.parts.audit.end()
        await self.journal.close()

    async def work(self, *, days=0, every=0.0):
        """Let the time pass, and the jobs that are due run once."""
        self.at += days * DAY
        running = asyncio.create_task(self.parts.audit.run(every=every))
        await asyncio.sleep(0.05)
        for _ in range(100):
            await asyncio.sleep(0.01)
            due = self.parts.audit._due
            if len(due) == JOBS and min(due.values()) > self.at:
                break
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)

    def epochs(self):
        return KeyFile.read(self.config.seal.path).spans(EPOCH)

    def export(self, name="export", **said):
        folder = self.folder / name
        with audit_log.open_log(self.config.journal.path) as log:
            audit_export.write_export(folder, log.export(**said))
            audit_export.add_tiles(folder, log.hashes)
        return folder

    async def lines(self, **said):
        page = await self.journal.ask(AuditLines(limit=10_000, filter=LineFilter(**said)))
        return [json.loads(line) for _, line in page.items]

    async def actions(self):
        return [line["do"] for line in await self.lines()]


def verified(*folders, keys):
    """Run the auditor's file; return its exit code."""
    given = [f"--key={key}" for key in keys]
    return audit_verify.main([*given, *map(str, folders)])


@pytest.fixture
async def service(tmp_path):
    service = Service(tmp_path)
    yield service
    with contextlib.suppress(RuntimeError):
        await service.journal.close()


# Keys and epochs


async def test_new_log_is_signed_and_names_its_first_key(service):
    """The log line of the start names its line. Mutant: it names that of a key."""
    key = await service.start()
    assert service.parts.audit.started == 0
    await service.stop()

    assert verified(service.export(), keys=[key]) == 0
    assert await service.start() is None
    assert (await service.journal.ask(AuditLogs()))[0].key == key
    assert await service.actions() == [
        *("service.started", "config.loaded", *["seal.made"] * 2, "service.stopping"),
        *("service.started", "config.loaded"),
    ]


async def test_log_of_several_days_verifies_and_its_keys_are_gone(service):
    """Mutants: the key of an epoch is not destroyed; its last line is signed by the next key."""
    key = await service.start()
    for day in range(4):
        [before] = service.epochs()
        await record(service.journal, planned(owed=[owed("log")], at=service.at))
        await service.work(days=1)
        [after] = service.epochs()
        assert before != after, day
        await service.journal.submit(RecordFacts((Fact("key.refused", {"by": "service"}),)))
    await service.stop()

    assert (await asyncio.to_thread(verified, service.export(), keys=[key])) == 0
    with audit_log.open_log(service.config.journal.path) as log:
        lines = [json.loads(line) for line in log.export().lines]
    assert [line["do"] for line in lines].count("audit.epoch") == 4


async def test_idle_log_is_signed_again(service):
    await service.start()
    before = service.export("one")
    await service.work()
    service.at += 3600
    await service.work()

    after = service.export("two")
    first, second = ((one / "checkpoint").read_text() for one in (before, after))
    assert first.split("\n")[:3] == second.split("\n")[:3]
    assert first != second


@pytest.mark.parametrize("step", ["make", "close", "sign", "forget"])
async def test_interrupted_change_of_the_key_is_finished(service, step, monkeypatch):
    """At each step the process dies. Mutants: a start makes another key; the older key stays."""
    key = await service.start()
    await record(service.journal, planned())
    keeper = service.parts.audit

    class Died(BaseException):
        pass

    async def die(*_args, **_said):
        raise Died

    after = {"make": "_close", "close": "_sign", "sign": "_forget_epochs"}.get(step)
    if after is not None:
        monkeypatch.setattr(keeper, after, die)
    service.at += DAY
    with contextlib.suppress(Died):
        await keeper._sign_again()
    await service.journal.close()

    assert await service.start() is None
    await record(service.journal, planned())
    await service.stop()
    assert len(service.epochs()) == 1
    assert verified(service.export(), keys=[key]) == 0
    assert [line["do"] for line in map(json.loads, _entries(service))].count("audit.epoch") == 1


@pytest.mark.parametrize("is_stored", [False, True])
@pytest.mark.parametrize("stops", [False, True])
async def test_failed_change_of_the_key_is_tried_again(service, is_stored, stops, monkeypatch):
    """A full or slow disk: the caller does not know whether the end of the epoch is stored.
    Mutants: the next key signs although the log does not name it; another key is made; the end is
    stored twice; the last note of a stop is by the older key."""
    key = await service.start()
    await record(service.journal, planned())
    submit, failures = service.journal.submit, [1]

    async def failing(write, **said):
        ends = isinstance(write, SignCheckpoint) and write.closing is not None
        if ends and not is_stored and failures:
            raise Unavailable(f"failure {failures.pop()}")
        result = await submit(write, **said)
        if ends and failures:
            raise Unavailable(f"failure {failures.pop()}")
        return result

    monkeypatch.setattr(service.journal, "submit", failing)
    service.at += DAY
    with pytest.raises(Unavailable):
        await service.parts.audit._sign_again()
    await record(service.journal, planned())
    if not stops:
        await service.parts.audit._sign_again()
    await service.stop()

    assert verified(service.export(), keys=[key]) == 0
    assert [line["do"] for line in map(json.loads, _entries(service))].count("audit.epoch") == 1
    await service.start()
    await service.stop()
    assert len(service.epochs()) == 1
    assert verified(service.export("again"), keys=[key]) == 0


async def test_epoch_ends_although_the_clock_was_ahead(service):
    """Its start is then in the future, perhaps by years. Mutant: only the wall clock counts."""
    await service.start()
    ticks = service.at
    service.parts.audit._clock = clock = clock_of(lambda: service.at, lambda: ticks)
    service.at += 400 * DAY
    clock.check()
    await service.parts.audit._sign_again()
    [ahead] = service.epochs()
    service.at = BEGIN + 60
    clock.check()
    await service.parts.audit._sign_again()
    assert service.epochs() == [ahead]
    ticks += DAY
    service.at += DAY
    await service.parts.audit._sign_again()

    assert ahead.start * 60 == BEGIN + 400 * DAY
    [after] = service.epochs()
    assert after != ahead


def _entries(service):
    return (service.folder / "export/entries.jsonl").read_text().splitlines()


async def test_yesterdays_lines_cannot_be_signed_with_todays_keys(service):
    """A thief of all that the machine holds rewrites yesterday, and signs with what he finds."""
    key = await service.start()
    await record(service.journal, planned())
    await service.work(days=1)
    yesterday = service.export("before")
    note = (yesterday / "checkpoints").read_text()
    await service.stop()

    signatures = [line.split(" ") for line in note.splitlines() if "/epoch " in line]
    signers = {encoded[:6] for _, _, encoded in signatures}
    assert len(signers) == 2
    [epoch] = service.parts.period_keys.epochs()
    text = service.config.seal.path.read_text()
    assert text.count("\nepoch ") == 1
    assert verified(yesterday, keys=[key]) == 0
    changed = _entries_of(yesterday).replace("callback.accepted", "callback.rejected", 1)
    (yesterday / "entries.jsonl").write_text(changed)
    assert verified(yesterday, keys=[key]) == 1
    assert epoch.start * 60 == BEGIN + DAY


def _entries_of(folder):
    return (folder / "entries.jsonl").read_text()


@pytest.mark.parametrize(
    "change",
    [
        "update audit set lines = cast(replace(lines, '1.1.1.1', '2.2.2.2') as blob)",
        "delete from audit where n = (select max(n) from audit)",
    ],
)
async def test_start_keeps_the_evidence_of_a_change(service, change):
    """Somebody changed the last lines while the service was stopped. Mutant: the note that shows it
    is replaced, as each note is in its hour, and the service signs the changed lines."""
    key = await service.start()
    await service.journal.submit(
        RecordFacts((Fact("key.refused", {"by": "service", "from": "1.1.1.1"}),))
    )
    await service.stop()
    with contextlib.closing(sqlite3.connect(service.config.journal.path)) as conn:
        assert conn.execute(change).rowcount
        conn.commit()
    await service.start()
    await service.work(days=0.001)
    await service.stop()
    export = service.export()

    assert verified(export, keys=[key]) == 1


async def test_start_keeps_no_note_of_unchanged_lines(service):
    """Each costs a verifier time. Mutant: each start keeps one."""
    await service.start()
    await service.stop()
    await service.start()
    await service.stop()

    assert len(audit_verify.read_file(service.export() / "checkpoints")) == 1


async def test_restored_journal_has_a_log_of_its_own(service, tmp_path):
    """It goes on behind what others saw of the first one.

    Mutant: it goes on under the old origin, and signs another log of that name."""
    key = await service.start()
    await record(service.journal, planned())
    await service.stop()
    old = service.export("old")
    copy = tmp_path / "backup.db"
    shutil.copy(service.config.journal.path, copy)
    seal = identity_of(service.config).seal
    begin_generation(copy, seal=seal, now=service.at, actor=Actor("cli/0"))
    shutil.copy(copy, service.config.journal.path)

    next_key = await service.start()
    await record(service.journal, planned())
    await service.stop()

    assert next_key.partition("+")[0] != key.partition("+")[0]
    new = service.export("new")
    first = json.loads(_entries_of(new).splitlines()[0])
    size, root = (old / "checkpoint").read_text().split("\n")[1:3]
    assert (first["do"], first["by"], first["size"], first["root"]) == (
        *("journal.restored", "cli/0"),
        *(int(size), root),
    )
    assert verified(old, new, keys=[key, next_key]) == 0


async def test_log_without_its_keys_begins_anew(service):
    """Mutant: other keys sign the old log, which nobody could verify any more."""
    key = await service.start()
    await service.stop()
    old = service.export("old")
    service.config.seal.path.unlink()

    next_key = await service.start()
    await service.stop()

    assert next_key not in (None, key)
    assert verified(old, service.export("new"), keys=[key, next_key]) == 0


async def test_job_that_fails_is_not_tried_each_second(service):
    """Mutant: a damaged row fills the ordinary log."""
    await service.start()
    tries = []

    async def fails():
        tries.append(service.at)
        raise Unavailable("damaged")

    service.parts.audit._prune = fails
    for _ in range(12):
        await service.work()
        service.at += 1

    assert len(tries) == 2


async def test_log_that_was_renamed_begins_anew(service):
    """Its notes have the old name. Mutant: the service does not start, with an internal error."""
    await service.start()
    await service.stop()
    with contextlib.closing(sqlite3.connect(service.config.journal.path)) as conn:
        conn.execute("update audit_logs set origin = origin || '0'")
        conn.commit()

    assert await service.start() is not None
    assert (await service.actions())[-3:] == [
        *("journal.restored", "service.started", "config.loaded")
    ]


async def test_pruned_log_verifies(service):
    service.config = configured(
        service.folder, seal=service.config.seal, audit=Auditing(epoch=DAY, keep=2 * DAY)
    )
    key = await service.start()
    for _ in range(4):
        refused = tuple(Fact("key.refused", {"by": f"key/{n}"}) for n in range(300))
        await service.journal.submit(RecordFacts(refused))
        await service.work(days=1)
    while await service.journal.submit(PackLog()):
        pass
    await service.work(days=1)
    await service.stop()

    export = service.export()
    pruned = json.loads((export / "pruned.json").read_text())
    assert pruned["size"] >= 512
    assert len(pruned["epochs"]) >= 2
    assert verified(export, keys=[key]) == 0
    part = service.export("part", since=service.at - DAY)
    assert json.loads((part / "pruned.json").read_text())["size"] > pruned["size"]
    assert verified(part, keys=[key]) == 0


@pytest.mark.parametrize("is_running", [True, False])
async def test_clock_that_is_ahead_prunes_no_lines(service, is_running):
    """Mutants: the age of lines follows the wall clock; the hour after a start does not count."""
    service.config = configured(
        service.folder, seal=service.config.seal, audit=Auditing(epoch=DAY, keep=2 * DAY)
    )
    await service.start()
    await service.journal.submit(
        RecordFacts(tuple(Fact("key.refused", {"by": "key/a"}) for _ in range(600)))
    )
    await service.parts.pruner._note_time()
    await service.journal.submit(PackLog())
    await service.parts.audit._sign_again()
    commitments = len(KeyFile.read(service.config.seal.path).spans(Kind.CODES))
    if is_running:
        begun = service.at
        service.parts.audit._ages = AgeClock(clock_of(lambda: service.at, lambda: begun), None)
        service.at += 401 * DAY
    else:
        await service.stop()
        service.at += 401 * DAY
        await service.start()
    await service.parts.audit._prune()

    assert (await service.journal.ask(AuditLogs()))[0].pruned == 0
    assert len(KeyFile.read(service.config.seal.path).spans(Kind.CODES)) >= commitments


async def test_export_soon_after_an_erasure_of_a_line_verifies(service):
    """The line that names it must be signed. Mutant: it is signed a minute later."""
    key = await service.start()
    await service.work(days=0.01)
    await service.journal.submit(EraseLine(0, "the address of a person", service.parts.audit.sign))
    export = service.export()
    await service.journal.close()

    assert verified(export, keys=[key]) == 0


async def test_export_until_a_time_has_the_names_of_its_erased_lines(service):
    """Mutants: it ends before them; it ends with the log."""
    key = await service.start()
    for _ in range(3):
        await service.work(days=0.1)
        await service.journal.submit(RecordFacts((Fact("key.refused", {"by": "service"}),)))
    await service.work(days=0.1)
    await service.journal.submit(EraseLine(0, "the address of a person", service.parts.audit.sign))
    size = (await service.journal.ask(AuditLogs()))[0].size
    for _ in range(2):
        await service.work(days=0.1)
        await service.journal.submit(RecordFacts((Fact("key.refused", {"by": "service"}),)))
    await service.stop()
    export = service.export(until=BEGIN + 1)

    assert verified(export, keys=[key]) == 0
    assert len(_entries_of(export).splitlines()) == size


# Facts


async def test_killed_service_reports_a_gap(service):
    await service.start()
    await service.journal.close()
    service.at += 60
    await service.start()

    assert await service.actions() == [
        *("service.started", "config.loaded", *["seal.made"] * 2),
        *("service.gap", "service.started", "config.loaded"),
    ]


@pytest.mark.parametrize("is_killed", [False, True])
async def test_command_between_two_starts_is_no_gap(service, is_killed):
    """Mutants: the line of a command counts as the end; a command hides that it was killed."""
    await service.start()
    if not is_killed:
        await service.parts.audit.end()
    await service.journal.close()
    for _ in range(11):
        fact = Fact("backup.made", {"file": "-"})
        await asyncio.to_thread(stopped.record, service.config, fact)
    await service.start()

    assert ("service.gap" in await service.actions()) == is_killed


async def test_rejections_have_one_line_a_minute(service):
    """Mutant: each has a line, and strangers fill the disk."""
    await service.start()
    for peer in ("192.0.2.1", "192.0.2.2"):
        for _ in range(5):
            service.parts.rejections.add("token", "tellabot", peer, "r")
    for _ in range(3):
        service.parts.rejections.add("path", "", "192.0.2.1", "r")
    await service.work(days=0.1)

    found = await service.lines(do=("callback.rejected",))
    assert [[line[name] for name in ("reason", "from", "count")] for line in found] == [
        ["token", "*", 10],
        ["path", "192.0.2.1", 3],
    ]


async def test_failing_sink_has_two_lines(service):
    """Mutants: each look adds a line; one failure is enough."""
    await service.start()
    sink = SimpleNamespace(failing_for=None)
    running = asyncio.create_task(service.parts.audit.run({"crm": sink}, every=0.0))
    for failing_for in (None, 1.0, None, 61.0, 62.0, None, None):
        sink.failing_for = failing_for
        await asyncio.sleep(0.05)
    running.cancel()

    await asyncio.gather(running, return_exceptions=True)
    found = [(line["do"], line["sink"]) for line in await service.lines(do=("sink.",))]
    assert found == [("sink.failing", "crm"), ("sink.recovered", "crm")]


async def test_failure_of_the_journal_is_recorded_after_it(service):
    """Mutant: a line for each look."""
    await service.start()
    running = asyncio.create_task(service.parts.audit.run(every=0.0))
    service.journal._writer.working = False
    await asyncio.sleep(0.05)
    service.at += 9
    service.journal._writer.working = True
    await asyncio.sleep(0.1)
    running.cancel()

    await asyncio.gather(running, return_exceptions=True)
    assert [line["since"] for line in await service.lines(do=("journal.",))] == [rfc3339(BEGIN)]


async def test_failed_job_is_tried_again(service, monkeypatch):
    """Mutant: the log is signed no more after a full disk."""
    await service.start()
    keeper, failures = service.parts.audit, [Unavailable("full")]
    sign = keeper._sign

    async def failing(*given):
        if failures:
            raise failures.pop()
        await sign(*given)

    monkeypatch.setattr(keeper, "_sign", failing)
    await service.work(days=1)
    service.at += RETRY
    await service.work()

    assert failures == []
    assert len(service.epochs()) == 1


async def test_line_of_the_log_names_its_line_in_the_audit_log(service):
    """Facts that are waited for, and those that are counted.

    Mutants: the line comes before the commit; a checkpoint of the same size is logged again.
    """
    with capture_logs() as logs:
        await service.start()
        facts = service.parts.facts
        facts.count("session.refused", "key", "", "192.0.2.7")
        facts.write_counts()
        assert "session.refused" not in [line["event"] for line in logs]
        await facts.record(Fact("session.opened", {"by": "key/ana", "from": "192.0.2.7"}))
        await service.work()
        for _ in range(3):
            await service.parts.audit._sign_again()
    said = {line["leaf"]: line["event"] for line in logs if "leaf" in line}
    sizes = [line["size"] for line in logs if line["event"] == "audit.checkpoint"]
    lines = {line["n"]: line["do"] for line in await service.lines(do=("session.",))}

    assert said == lines
    assert set(said.values()) == {"session.refused", "session.opened"}
    assert sizes == sorted(set(sizes))
    assert sizes[-1] == len(await service.lines())


async def test_facts_wait_for_a_journal_that_fails(service):
    """Mutant: a fact that could not be written is lost."""
    await service.start()
    write = service.journal._commits._write

    def fail(_ops):
        raise Unavailable("full")

    service.journal._commits._write = fail
    service.parts.facts.add("backup.made")
    with pytest.raises(Unavailable):
        await service.journal.submit(SetMoment("m", 1.0))
    service.journal._commits._write = write
    assert "backup.made" not in await service.actions()

    await service.work()

    assert "backup.made" in await service.actions()


async def test_keys_of_a_sealed_journal_have_lines(tmp_path):
    """Mutants: the first keys have no line; events of all periods are counted; a destroyed key
    has no line.
    """
    seal = Sealing(file=str(tmp_path / "smshook.keys"), root=(ROOT,))
    service = Service(tmp_path, seal=seal)
    await service.start()
    keys = service.parts.period_keys
    keys.prepare(service.at + 3600)
    for after in (0, 10, 3600):
        await record(service.journal, planned(at=BEGIN + after))
    keys.destroy(Kind.CODES, service.at + 3600)
    keys.rotate([Secret("another root key, which is long enough, too")])
    await service.work()

    lines = await service.lines(do=("seal.",))
    said = [(line["do"], line.get("kind"), line.get("events")) for line in lines]
    made = [one for one in said if one[0] == "seal.made"]
    first = ("codes", "raw", "people", "quarantine", "dedupe", "order")
    assert [kind for _, kind, _ in made[: len(first)]] == list(first)
    assert set(made[len(first) :]) == {("seal.made", "codes", None), ("seal.made", "raw", None)}
    assert said[len(made) :] == [("seal.rotated", None, None), ("seal.destroyed", "codes", 2)]
    await service.journal.close()


async def test_keys_have_lines_although_the_process_dies_before_them(tmp_path):
    """The next start records them, once.

    Mutants: it does not look; destroyed keys are not forgotten, and have a line at each start.
    """
    seal = Sealing(file=str(tmp_path / "smshook.keys"), root=(ROOT,))
    service = Service(tmp_path, seal=seal)
    await service.start()
    await record(service.journal, planned(at=BEGIN))
    await service.journal.close()
    keys = service.parts.period_keys
    keys.prepare(service.at + 3600)
    keys.destroy(Kind.CODES, service.at + 3600)

    for _ in range(3):
        await service.start()
        await service.work()
        await service.journal.close()

    await service.start()
    lines = await service.lines(do=("seal.",))
    of_codes = [line for line in lines if line["kind"] == "codes"]
    assert [(line["do"], line["period"], line.get("events")) for line in of_codes] == [
        ("seal.made", rfc3339(BEGIN), None),
        ("seal.made", rfc3339(BEGIN + 3600), None),
        ("seal.destroyed", rfc3339(BEGIN), 1),
    ]
    await service.journal.close()


async def test_keys_that_a_command_destroys_have_lines(tmp_path):
    """The service is stopped. Mutant: only a running service follows its keys."""
    seal = Sealing(file=str(tmp_path / "smshook.keys"), root=(ROOT,))
    service = Service(tmp_path, seal=seal, retention=Retention(codes=DAY), retention_is_set=True)
    await service.start()
    await record(service.journal, planned(at=BEGIN))
    await service.stop()

    pruned = partial(stopped.prune, service.config, dry_run=False, progress=lambda _counts: None)
    await asyncio.to_thread(pruned)

    await service.start()
    found = {line["kind"]: line for line in await service.lines(do=("seal.destroyed",))}
    assert {"codes", "raw"} <= found.keys()
    assert (found["codes"]["by"], found["codes"]["period"]) == (
        f"cli/{os.getuid()}",
        rfc3339(BEGIN),
    )
    await service.journal.close()


async def test_root_key_takes_over_the_keys_of_the_log(service):
    """Mutant: they stay wrapped with the secret of the server."""
    key = await service.start()
    await service.stop()
    seal = Sealing(file=str(service.config.seal.path), root=(ROOT,))
    service.config = configured(service.folder, seal=seal, audit=Auditing(epoch=DAY))

    assert await service.start() is None
    await service.stop()

    assert len({one.root for one in KeyFile.read(service.config.seal.path).keys.values()}) == 1
    assert verified(service.export(), keys=[key]) == 0


async def test_service_without_its_root_key_begins_another_log(service):
    """Its keys are wrapped with the root key. Mutant: the service does not start any more."""
    plain = service.config
    seal = Sealing(file=str(plain.seal.path), root=(ROOT,))
    service.config = configured(service.folder, seal=seal)
    key = await service.start()
    await service.stop()
    old = service.export("old")
    before = plain.seal.path.read_text()
    service.config = plain

    next_key = await service.start()
    await service.stop()

    assert plain.seal.path.read_text() == before
    assert verified(old, service.export("new"), keys=[key, next_key]) == 0


async def test_commitment_needs_the_key_of_its_period(service):
    """Mutant: a plain hash, which a guess of the code would confirm."""
    await service.start()
    plan = planned(code="481516", at=service.at)
    await record(service.journal, plan)

    [line] = await service.lines(do=("callback.accepted",))
    period, key = service.parts.period_keys.current(Kind.CODES, plan.at)
    event = plan.event.id
    assert line["c"] == commitment(commitment_key(key, event), plan.body)
    hashed = base64.b64encode(hashlib.sha256(plan.body).digest()[:24]).decode()
    assert line["c"] != hashed
    assert period * 60 <= plan.at


async def test_keys_of_commitments_end_with_the_codes(service):
    """Mutant: in a journal in clear, nobody destroys them."""
    service.config = configured(
        service.folder,
        seal=service.config.seal,
        audit=Auditing(),
        retention=Retention(codes=3600.0),
    )
    await service.start()
    await service.work(days=1)

    assert service.parts.period_keys.get(Kind.CODES, int(BEGIN // 60)) is None
    assert service.journal.sealer is None
