"""`audit.file`: the lines of the log, each once, whatever happens to service and file."""

import asyncio
import contextlib
import gzip
import shutil

import pytest
from anchored import running
from services import identity_of

from journal.actor import Actor
from journal.records import LineErasure
from journal.sqlite.schema import begin_generation
from journal.writes import EraseLine
from server.runtime.audit_file import last_line
from sinks.file.rotation import Rotate


@contextlib.asynccontextmanager
async def writing(folder, **audit):
    path = folder / "audit.jsonl"
    async with running(folder, file=str(path), **audit) as service:
        yield service, path


@contextlib.asynccontextmanager
async def following(service):
    """Let the file follow the log."""
    task = asyncio.create_task(service.parts.audit_file.run(every=0.01))
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def has_all(service):
    """Wait until the last line is in the file, or until writing fails."""
    path, wanted = service.folder / "audit.jsonl", (await service.raw())[-1] + b"\n"
    for _ in range(300):
        await asyncio.sleep(0.01)
        if service.parts.audit_file.output.failing_since is not None:
            return
        if path.exists() and path.read_bytes().endswith(wanted):
            return
    raise AssertionError("the last line is not in the file")


async def copied(service):
    async with following(service):
        await has_all(service)


def lines_of(*paths):
    return b"".join(path.read_bytes() for path in paths).splitlines()


async def test_file_has_each_line_once_over_restarts(tmp_path):
    """Mutants: a start begins with the first line; the last lines of a stop are missing."""
    async with writing(tmp_path) as (service, path):
        await copied(service)
        for _ in range(3):
            await service.add(700)
            await copied(service)
            await service.add(700)
            await service.kill()
            await service.start(file=str(path))
        await service.stop()
        export = service.export() / "entries.jsonl"
        assert path.read_bytes() == export.read_bytes()
        assert path.read_bytes().endswith(b'"service.stopping","by":"service"}\n')


@pytest.mark.parametrize("cut", [1, 5, 60])
async def test_line_that_a_crash_cut_off_is_written_again(tmp_path, cut):
    """Mutant: the file of this form is not mended, or goes on after the lost line."""
    async with writing(tmp_path) as (service, path):
        await copied(service)
        await service.add(3)
        await copied(service)
        await service.kill()
        data = path.read_bytes()
        path.write_bytes(data[:-cut])
        await service.start(file=str(path))
        await copied(service)
        assert lines_of(path) == await service.raw()


async def test_file_that_was_taken_away_goes_on_where_it_was(tmp_path):
    """As logrotate does it. Mutant: the whole log is written again."""
    async with writing(tmp_path) as (service, path):
        async with following(service):
            await service.add(5)
            await has_all(service)
            moved = path.rename(tmp_path / "audit.jsonl-20261130")
            service.at += 61
            await service.add(5)
            await has_all(service)
        assert lines_of(moved, path) == await service.raw()

        await service.kill()
        path.unlink()
        await service.start(file=str(path))
        await copied(service)
        assert len(lines_of(path)) < len(await service.raw())
        assert lines_of(path)[-1] == (await service.raw())[-1]


@pytest.mark.parametrize("compress", [False, True])
async def test_file_is_rotated_and_goes_on_after_the_one_set_aside(tmp_path, compress):
    rotate = Rotate(size=20_000, keep=9, compress=compress)
    async with writing(tmp_path, rotate=rotate) as (service, path):
        for _ in range(4):
            await service.add(300)
            await copied(service)
        aside = sorted(tmp_path.glob("audit.jsonl.*"), reverse=True)
        assert len(aside) >= 2
        await service.kill()
        path.unlink()
        newest = tmp_path / f"audit.jsonl.1{'.gz' * compress}"
        assert last_line(path) == _lines(newest)[-1]
        await service.start(file=str(path), rotate=rotate)
        await copied(service)
        found = [line for one in aside for line in _lines(one)] + lines_of(path)
        assert found == await service.raw()


def _lines(path):
    data = path.read_bytes()
    return (gzip.decompress(data) if path.suffix == ".gz" else data).splitlines()


@pytest.mark.parametrize(("goes_on", "is_other"), [(False, False), (True, False), (False, True)])
async def test_file_has_each_line_once_over_a_restore(tmp_path, goes_on, is_other):
    """Numbers begin with 0 again, and only the file has the lines after the backup.

    Mutants: only the number of the last line counts; the file goes on at the place of the backup;
    each unknown line stands for the whole backup.
    """
    copy = tmp_path / "backup.db"
    async with writing(tmp_path) as (service, path):
        async with following(service):
            await has_all(service)  # the place is noted now, and not again within the minute
            await service.add(10)
            await has_all(service)
        await service.kill()
        shutil.copy(service.config.journal.path, copy)
        kept = lines_of(path)
        if goes_on:
            service.at += 5
            await service.start(file=str(path))
            await service.add(30)
            await copied(service)
            await service.stop()
        before = lines_of(path)
        service.at += 5
        seal = identity_of(service.config).seal
        begin_generation(copy, seal=seal, now=service.at, actor=Actor("cli/0"))
        shutil.copy(copy, service.config.journal.path)
        if is_other:
            path.write_bytes(b'{"n":70,"at":"2020-01-01T00:00:00.000000Z","do":"key.refused"}\n')
        with contextlib.suppress(ValueError):  # there are two logs now
            await service.start(file=str(path))
        await service.add(20)
        await copied(service)

        if is_other:
            # A line of another time says nothing about those of the backup.
            assert kept[-1] in lines_of(path)
            return
        assert lines_of(path)[: len(before)] == before
        new = lines_of(path)[len(before) :]
        assert new[0].startswith(b'{"n":0,')
        assert kept + new == await service.raw()


async def test_line_that_was_erased_since_is_known(tmp_path):
    """Mutant: the line differs, so the log is written again."""
    async with writing(tmp_path) as (service, path):
        await copied(service)  # the place is noted now, and not again within the minute
        await service.add(5)
        await copied(service)
        await service.kill()
        await service.start()
        last = len(lines_of(path)) - 1
        erased = await service.journal.submit(EraseLine(last, "a person's address"))
        assert erased == LineErasure.DONE
        await service.kill()
        await service.start(file=str(path))
        await copied(service)
        numbers = [line.partition(b",")[0] for line in lines_of(path)]
        assert numbers == [b'{"n":%d' % n for n in range(len(numbers))]


async def test_other_files_stay_as_they_are(tmp_path):
    async with writing(tmp_path) as (service, path):
        path.write_text("my notes")
        await copied(service)
        assert path.read_text() == "my notes"
        assert service.parts.audit_file.output._error == "not_lines"


async def test_reload_changes_the_file(tmp_path):
    async with running(tmp_path) as service, following(service):
        service.use(file=str(tmp_path / "audit.jsonl"))
        await has_all(service)
        assert lines_of(tmp_path / "audit.jsonl") == await service.raw()
