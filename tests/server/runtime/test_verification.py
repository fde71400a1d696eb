"""The service verifies its audit log: what it says of honest and of changed lines."""

import sqlite3
import zlib

import pytest
from anchored import running
from structlog.testing import capture_logs

from journal.actor import ACTING, Actor
from journal.audit.lines import erased_line, leaf_of
from journal.reads import LeavesAt
from journal.writes import EraseLine, PackLog, PruneLog
from server.runtime import verification
from server.runtime.verification import EVERY, WHOLE_EVERY


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """Small steps without pauses, so that a check has several."""
    monkeypatch.setattr(verification, "_STEP", 7)
    monkeypatch.setattr(verification, "_BETWEEN", 0.0)
    monkeypatch.setattr(verification, "_PAUSES", 0.0)


@pytest.fixture
async def service(tmp_path):
    async with running(tmp_path) as service:
        await service.add(300)
        await service.sign()
        yield service


def change(service, old, new, *, count=1):
    """Write to the file of the journal, as somebody on the machine would."""
    with sqlite3.connect(service.config.journal.path) as conn:
        rows = conn.execute("select n, lines from audit order by n").fetchall()
        changed = 0
        for n, row in rows:
            packed = row[:1] == b"\x78"
            text = zlib.decompress(row) if packed else row
            if old in text and changed < count:
                changed += 1
                text = text.replace(old, new, 1)
                written = zlib.compress(text) if packed else text
                conn.execute("update audit set lines = ? where n = ?", (written, n))
    conn.close()
    assert changed == count


async def look(service, after=0.0):
    service.at += after
    verifier = service.parts.audit_verifier
    await verifier.look()
    return verifier.verdict


async def test_log_is_read_after_the_start_and_then_with_its_new_lines(service):
    """Mutants: new lines are not read; all lines are read each time."""
    assert service.parts.audit_verifier.verdict.outcome == "unchecked"

    first = await look(service)
    assert (first.outcome, first.size, first.at, first.whole_at) == (
        *("unchanged", len(await service.raw())),
        *(service.at, service.at),
    )
    await service.add(30)
    assert (await look(service, EVERY)).size == first.size  # no signed state has them
    await service.sign()
    second = await look(service, EVERY)
    assert (second.outcome, second.size, second.at, second.whole_at) == (
        *("unchanged", first.size + 30),
        *(service.at, first.at),
    )
    assert await service.lines("audit.verified") == []


async def test_new_lines_are_read_although_each_second_is_a_look(service):
    """Mutant: each look puts off the next reading."""
    await look(service)
    await service.add(30)
    service.at -= 60  # signing takes a minute
    await service.sign()
    for _ in range(int(EVERY)):
        verdict = await look(service, 1.0)

    assert verdict.size == len(await service.raw())


@pytest.mark.parametrize("packs", [False, True])
async def test_changed_line_is_found(service, packs):
    """Mutants: packed rows are not read; a changed log is unchanged at the next look."""
    if packs:
        while await service.journal.submit(PackLog()):
            pass
    await look(service)
    change(service, b"key/17", b"key/71")

    assert (await look(service, EVERY)).outcome == "unchanged"  # it reads new lines only
    with capture_logs() as logs:
        found = await look(service, WHOLE_EVERY)
    size = len(await service.raw())
    assert (found.outcome, found.error) == (
        "changed",
        f"lines 0 to {size - 1} are not those of the checkpoint of {size} lines",
    )
    assert [(line["event"], line["where"]) for line in logs] == [("audit.changed", found.error)]
    await service.sign()
    assert [(line["by"], line["outcome"]) for line in await service.lines("audit.verified")] == [
        ("service", "changed")
    ]
    assert await look(service, EVERY) == found


async def test_new_line_that_was_changed_is_found_at_once(service):
    await look(service)
    await service.add(3)
    change(service, b'key/2"}', b'key/1"}', count=2)  # also an old one
    await service.sign()

    assert (await look(service, EVERY)).outcome == "changed"


async def test_missing_and_damaged_lines_are_found(service):
    """Mutants: a short log is unchanged; the check ends with an error."""
    await look(service)
    path = service.config.journal.path
    while await service.journal.submit(PackLog()):
        pass
    with sqlite3.connect(path) as conn:
        conn.execute("update audit set lines = ? where n = 0", (b"\x78damaged",))
    conn.close()
    found = await look(service, WHOLE_EVERY)
    assert found.error == "another line is in the place of line 0"
    with sqlite3.connect(path) as conn:
        conn.execute("delete from audit where n > 0")
        conn.execute("update audit set lines = ?", (zlib.compress(b'{"n":0,"at":""}'),))
    conn.close()
    assert (await look(service, WHOLE_EVERY)).error == "line 1 is missing"


async def test_erased_line_is_no_change(service):
    """Also while the line that names it is not signed. Mutant: any erased line is no change."""
    await service.journal.submit(EraseLine(20, "the address of a person"))
    assert (await look(service)).outcome == "unchanged"
    line = (await service.raw())[30]
    change(service, line, erased_line(leaf_of(line)))

    found = await look(service, WHOLE_EVERY)
    assert found.error == "line 30 is erased, but no line audit.erased names it"


async def test_person_asks_for_a_check(service):
    """Mutants: the check waits for its turn; the line names the service."""
    await look(service)
    verifier = service.parts.audit_verifier
    ACTING.set(Actor("key/ana", "192.0.2.7"))
    service.at += 5
    verifier.start()
    assert verifier.is_due

    found = await look(service)
    assert (verifier.is_due, found.whole_at) == (False, service.at)
    await service.sign()
    [line] = await service.lines("audit.verified")
    assert (line["by"], line["from"], line["size"], line["outcome"]) == (
        *("key/ana", "192.0.2.7"),
        *(found.size, "unchanged"),
    )


async def prune(service):
    while await service.journal.submit(PackLog()):
        pass
    assert await service.journal.submit(PruneLog(service.at - 1)) >= 256
    await service.sign()


async def test_lines_that_nobody_pruned_are_missed(service):
    """The tree is whole, so all that is left verifies. Mutant: no line has to name them."""
    await prune(service)
    assert (await look(service)).outcome == "unchanged"
    await service.add(300)
    await service.sign()
    while await service.journal.submit(PackLog()):
        pass
    with sqlite3.connect(service.config.journal.path) as conn:
        conn.execute("delete from audit where n < 512")
        conn.execute("update audit_logs set pruned = 512")
    conn.close()

    found = await look(service, WHOLE_EVERY)

    assert found.error == "lines before 512 are gone, but no line audit.pruned says so"


async def test_pruned_log_is_unchanged_from_its_first_line_on(service):
    """Mutants: it begins with an empty tree; the key of the first epoch is that of line 0."""
    await service.add(700)
    await service.sign(after=86_400.0)
    await service.add(300)
    await service.sign(after=86_400.0)
    await prune(service)

    found = await look(service)
    assert (found.outcome, found.error, found.size) == (
        *("unchanged", None),
        service.parts.audit_verifier._check[0].covered,
    )
    change(service, b"key/299", b"key/992")
    assert (await look(service, WHOLE_EVERY)).outcome == "changed"


async def test_lines_that_are_pruned_meanwhile_are_not_missing(service, monkeypatch):
    """Mutant: they are."""
    await service.add(700)
    await service.sign(after=86_400.0)
    ask, asked = service.journal.ask, []

    async def pruning(read):
        if isinstance(read, LeavesAt) and not asked:
            asked.append(read)
            await prune(service)
        return await ask(read)

    monkeypatch.setattr(service.journal, "ask", pruning)

    assert (await look(service)).outcome == "unchecked"
    assert (await look(service)).outcome == "unchanged"
