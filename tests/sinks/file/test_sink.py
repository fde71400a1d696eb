import asyncio
import errno
import gzip
import itertools
import json
import os
import stat
import subprocess
import threading
from contextlib import asynccontextmanager, contextmanager

import msgspec
import pytest
import structlog
from contracts.sink import SOON, SinkContract, outgoing

from core.units import Duration, Size, from_written
from sinks.file.rotation import Rotate
from sinks.file.sink import File
from sinks.file.writer import appending
from sinks.sink import Failed, Receipt

WHOLE = b'{"id":"a"}\n'


@pytest.fixture
def path(tmp_path):
    return tmp_path / "out.jsonl"


@pytest.fixture
def sink(path):
    return File(path=str(path))


@pytest.fixture
def arrived(path):
    return lambda: path.read_bytes().splitlines()


class TestFile(SinkContract):
    @pytest.fixture
    def broken(self, path):
        """A folder stands where the file should be; the file comes back."""

        @asynccontextmanager
        async def broken():
            aside = path.with_name("aside")
            if path.exists():
                path.rename(aside)
            path.mkdir()
            yield
            path.rmdir()
            if aside.exists():
                aside.rename(path)

        return broken


class Disk:
    """An fsync that can be held and can fail. It counts its calls for files and folders."""

    def __init__(self):
        self.may_go_on = threading.Event()
        self.may_go_on.set()
        self.entered = threading.Semaphore(0)
        self.error = None
        self.files = 0
        self.folders = 0

    def fsync(self, fd):
        if stat.S_ISDIR(os.fstat(fd).st_mode):
            self.folders += 1
        else:
            self.files += 1
        if not self.may_go_on.is_set():
            self.entered.release()
        assert self.may_go_on.wait(SOON)
        if self.error:
            raise OSError(self.error, "text of a library")
        os.fsync(fd)

    async def is_held(self):
        assert await asyncio.to_thread(self.entered.acquire, timeout=SOON)


@pytest.fixture
def disk():
    return Disk()


async def word_of(sending):
    with pytest.raises(Failed) as failure:
        await sending
    return failure.value.word


# ---- durable


async def test_line_is_confirmed_after_its_fsync(path, disk):
    """Mutant: answering after the write and before the fsync."""
    async with appending(str(path), fsync=disk.fsync) as append:
        await append(WHOLE)
        disk.may_go_on.clear()
        waiting = append(WHOLE)
        await disk.is_held()
        await asyncio.sleep(0.05)
        written, confirmed_early = path.read_bytes(), waiting.done()
        disk.may_go_on.set()
        await waiting

    assert (written, confirmed_early) == (WHOLE * 2, False)


async def test_lines_that_come_while_one_fsync_runs_share_the_next(path, disk):
    async with appending(str(path), fsync=disk.fsync) as append:
        await append(WHOLE)
        disk.may_go_on.clear()
        before = disk.files
        first = append(WHOLE)
        await disk.is_held()
        others = [append(WHOLE) for _ in range(100)]
        disk.may_go_on.set()
        await asyncio.gather(first, *others)

    assert disk.files - before == 2


async def test_folder_is_synced_when_the_file_is_made(path, disk):
    """Mutant: no fsync of the folder. A power cut can take the whole file with its lines."""
    async with appending(str(path), fsync=disk.fsync) as append:
        await append(WHOLE)

    assert disk.folders == 1


async def test_failed_fsync_leaves_no_line(path, disk):
    async with appending(str(path), fsync=disk.fsync) as append:
        await append(WHOLE)
        disk.error = errno.EIO
        words = await asyncio.gather(*(word_of(append(b'{"id":"b"}\n')) for _ in range(3)))
        left = path.read_bytes()
        disk.error = None
        await append(b'{"id":"c"}\n')

    assert (words, left) == (["io"] * 3, WHOLE)
    assert path.read_bytes() == WHOLE + b'{"id":"c"}\n'


async def test_line_of_a_cancelled_caller_is_written(path, disk):
    async with appending(str(path), fsync=disk.fsync) as append:
        await append(WHOLE)
        disk.may_go_on.clear()
        waiting = append(WHOLE)
        waiting.cancel()
        disk.may_go_on.set()

    assert path.read_bytes() == WHOLE * 2


async def test_close_writes_queued_lines(path, disk):
    async with appending(str(path), fsync=disk.fsync) as append:
        waiting = [append(WHOLE) for _ in range(10)]

    await asyncio.gather(*waiting)
    assert path.read_bytes() == WHOLE * 10


async def test_append_after_close_fails(sink):
    async with sink.open() as send:
        pass

    async with asyncio.timeout(SOON):
        assert await word_of(send(outgoing())) == "closed"


async def test_unexpected_error_reaches_the_caller(path):
    """Mutant: the thread ends with the exception, and all callers wait for ever."""

    def fsync(_):
        raise ZeroDivisionError

    async with asyncio.timeout(SOON), appending(str(path), fsync=fsync) as append:
        for _ in range(2):
            with pytest.raises(ZeroDivisionError):
                await append(WHOLE)


# ---- the file


async def test_new_file_has_mode_0600(sink, path):
    async with sink.open() as send:
        await send(outgoing())

    assert stat.S_IMODE(path.stat().st_mode) == 0o600


async def test_text_with_line_ends_of_unicode_is_one_line(sink, path):
    """Python and libraries end a line at U+2028, too. Mutant: the body as it is."""
    text = "a\x85b\u2028c\u2029d\ve"
    event = msgspec.structs.replace(outgoing(), body=msgspec.json.encode({"text": text}))
    async with sink.open() as send:
        await send(event)

    [line] = path.read_text().splitlines()
    assert json.loads(line) == {"text": text}


async def test_renamed_file_is_made_again(sink, path):
    async with sink.open() as send:
        await send(outgoing(1))
        path.rename(path.with_name("yesterday"))
        await send(outgoing(2))

    lines = {p.name: p.read_bytes() for p in path.parent.iterdir()}
    assert lines == {
        "yesterday": outgoing(1).body + b"\n",
        "out.jsonl": outgoing(2).body + b"\n",
    }
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


async def test_removed_file_is_made_again(sink, path, arrived):
    async with sink.open() as send:
        await send(outgoing(1))
        path.unlink()
        await send(outgoing(2))

    assert arrived() == [outgoing(2).body]


async def test_emptied_file_is_written_from_its_start(sink, path, arrived):
    async with sink.open() as send:
        await send(outgoing(1))
        os.truncate(path, 0)
        await send(outgoing(2))

    assert arrived() == [outgoing(2).body]


async def test_symbolic_link_is_not_followed(sink, path):
    target = path.with_name("somebody-elses")
    target.write_bytes(b"theirs")
    path.symlink_to(target)

    async with sink.open() as send:
        word = await word_of(send(outgoing()))

    assert (word, target.read_bytes()) == ("symlink", b"theirs")


async def test_pipe_fails_as_no_file(sink, path):
    """Mutant: no check. The pipe fills and the sink hangs, or the event is lost."""
    os.mkfifo(path)

    async with asyncio.timeout(SOON), sink.open() as send:
        assert await word_of(send(outgoing())) == "not_a_file"


async def test_missing_folder_fails_until_it_is_there(tmp_path):
    folder = tmp_path / "later"
    sink = File(path=str(folder / "out.jsonl"))

    async with sink.open() as send:
        word = await word_of(send(outgoing(1)))
        folder.mkdir()
        receipt = await send(outgoing(2))

    assert (word, receipt) == ("missing", Receipt())


@pytest.mark.parametrize(
    ("code", "word"),
    [
        (errno.ENOSPC, "disk_full"),
        (errno.EDQUOT, "disk_full"),
        (errno.EACCES, "permission"),
        (errno.EROFS, "read_only"),
        (errno.EIO, "io"),
        (errno.EMFILE, "io"),
    ],
)
async def test_each_failure_has_its_word(path, disk, code, word):
    disk.error = code

    async with appending(str(path), fsync=disk.fsync) as append:
        assert await word_of(append(WHOLE)) == word


# ---- mended


OURS = b'{"specversion":"1.0","id":"a","type":"sms.received"}\n'
NEXT = OURS.replace(b'"a"', b'"b"').rstrip()


@pytest.mark.parametrize(
    ("left", "mended"),
    [
        (b"", b""),
        (WHOLE, WHOLE),
        (OURS, OURS),
        (OURS + NEXT, OURS + NEXT + b"\n"),
        (NEXT, NEXT + b"\n"),
        (OURS + NEXT[:-1], OURS),
        (OURS + NEXT[:3], OURS),
        (NEXT[:-1], b""),
        (NEXT[:3], b""),
        (OURS + b'{"specversion":"\xff"', OURS),
        (OURS + bytes(5000), OURS),
        (bytes(5000), b""),
        (OURS + NEXT[:-1] + bytes(100), OURS),
        (OURS + NEXT[:4] + bytes(100) + NEXT[90:-1], OURS),
        (OURS + NEXT + bytes(100), OURS + NEXT + b"\n"),
        (OURS * 3 + NEXT[:-2] + b"b" * 200_000, OURS * 3),
        (OURS * 10_000 + NEXT[:-1], OURS * 10_000),
        # Another program's line: it loses nothing.
        (OURS + b"a note", OURS + b"a note\n"),
        (OURS + b'{"id":"b"', OURS + b'{"id":"b"\n'),
        (OURS + b"[" * 100_000, OURS + b"[" * 100_000 + b"\n"),
    ],
    ids=lambda value: repr(value[:24]) + f" {len(value)}",
)
async def test_last_line_cut_short_is_mended_at_start(sink, path, left, mended):
    """It is mended before an event is sent.

    Mutant: the next event continues the half line, and both are lost.
    """
    path.write_bytes(left)

    async with sink.open():
        pass
    at_start = path.read_bytes()
    async with sink.open() as send:
        await send(outgoing())

    assert at_start == mended
    assert path.read_bytes() == mended + outgoing().body + b"\n"


@pytest.mark.parametrize(
    "left",
    [
        b"first\nlast line without newline",
        b'{\n "a": 1\n}',
        b'{"a": 1}',
        b"KEY=value",
        b'{"id":"a"}\n{"id":"b"',
        b"a note\n" + NEXT[:-1],
        bytes(range(11, 256)) * 4000,
        b"x" * 17 * 1024**2,
    ],
    ids=lambda value: repr(value[:24]) + f" {len(value)}",
)
async def test_file_without_events_is_not_touched(sink, path, left):
    """A wrong `path` may name notes, an .env or a picture. Mutant: its end is cut off at start."""
    path.write_bytes(left)

    async with sink.open() as send:
        word = await word_of(send(outgoing()))

    assert (word, path.read_bytes() == left) == ("not_lines", True)


async def test_foreign_unfinished_line_is_ended_while_running(sink, path):
    """Mutant: a file is checked only when it is opened, and our line continues the foreign one."""
    async with sink.open() as send:
        await send(outgoing())
        with path.open("ab") as file:
            file.write(b"a note")
        await send(outgoing())

    ours = outgoing().body + b"\n"
    assert path.read_bytes() == ours + b"a note\n" + ours


async def test_plain_file_beside_another_ones_gzip_is_kept(path):
    """Mutant: any `PATH.1.gz` counts as the compressed form of `PATH.1`."""
    aside, compressed = path.with_name("out.jsonl.1"), path.with_name("out.jsonl.1.gz")
    aside.write_bytes(OURS * 2)
    compressed.write_bytes(gzip.compress(OURS))

    async with appending(str(path), Rotate(compress=True)) as append:
        await append(OURS)
        kept = aside.read_bytes()
    compressed.write_bytes(gzip.compress(OURS * 2))
    async with appending(str(path), Rotate(compress=True)) as append:
        await append(OURS)

    assert (kept, aside.exists()) == (OURS * 2, False)


async def test_file_without_lines_is_left_alone(sink, path):
    with path.open("wb") as file:
        file.truncate(17 * 1024**2)

    async with sink.open() as send:
        word = await word_of(send(outgoing()))

    assert (word, path.stat().st_size) == ("not_lines", 17 * 1024**2)


async def test_mended_line_is_logged_by_its_size(sink, path):
    """Mutants: no log line; the half line in the log, although it holds a message."""
    path.write_bytes(OURS + b'{"specversion":"s3cret')
    path.chmod(0o600)

    with structlog.testing.capture_logs() as logged:
        for _ in range(2):
            async with sink.open() as send:
                await send(outgoing())

    assert logged == [
        {"event": "sink.mended", "log_level": "warning", "path": str(path), "bytes": 22}
    ]


async def test_missing_newline_is_mended_silently(sink, path):
    path.write_bytes(OURS.rstrip())
    path.chmod(0o600)

    with structlog.testing.capture_logs() as logged:
        async with sink.open():
            pass

    assert (logged, path.read_bytes()) == ([], OURS)


@pytest.mark.parametrize(("mode", "warnings"), [(0o644, 1), (0o604, 1), (0o640, 1), (0o600, 0)])
async def test_readable_file_is_warned_of_once(sink, path, mode, warnings):
    """Mutants: a warning each time it is opened; its mode changed, although its owner chose it."""
    path.touch()
    path.chmod(mode)

    with structlog.testing.capture_logs() as logged:
        async with sink.open() as send:
            await send(outgoing(1))
            path.rename(path.with_name("yesterday"))
            path.touch()
            path.chmod(mode)
            await send(outgoing(2))

    warning = {"event": "sink.readable_by_others", "log_level": "warning", "path": str(path)}
    assert logged == [warning] * warnings
    assert stat.S_IMODE(path.stat().st_mode) == mode


# ---- a full disk


@contextmanager
def small_disk(folder, size):
    folder.mkdir()
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)],
        capture_output=True,
        check=False,
    )
    if made.returncode:
        pytest.skip("a small disk needs root and mount")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


async def test_full_disk_leaves_no_half_line(tmp_path):
    """Mutant: the file is not cut back to its old length, and the half line stays inside it."""
    with small_disk(tmp_path / "small", "64k") as folder:
        path, ballast = folder / "out.jsonl", folder / "ballast"
        ballast.write_bytes(bytes(50_000))
        async with File(path=str(path)).open() as send:
            sent, word = await until_it_fails(send)
            lines = path.read_bytes().splitlines(keepends=True)
            ballast.unlink()
            await send(outgoing(9999))
        after = path.read_bytes().splitlines(keepends=True)

    assert word == "disk_full"
    assert lines == [outgoing(number).body + b"\n" for number in range(sent)]
    assert after == [*lines, outgoing(9999).body + b"\n"]


async def until_it_fails(send):
    for number in itertools.count():
        try:
            await send(outgoing(number))
        except Failed as failed:
            return number, failed.word
    raise AssertionError


# ---- rotation


def line(number):
    return b'{"id":"%04d"}\n' % number


def folder_of(path):
    return {p.name: p.read_bytes() for p in path.parent.iterdir()}


async def append_each(path, rotate, numbers, **given):
    async with appending(str(path), rotate, **given) as append:
        for number in numbers:
            await append(line(number))


async def test_file_is_set_aside_before_it_exceeds_its_size(path):
    await append_each(path, Rotate(size=Size(len(line(0)) * 2)), range(5))

    assert folder_of(path) == {
        "out.jsonl": line(4),
        "out.jsonl.1": line(2) + line(3),
        "out.jsonl.2": line(0) + line(1),
    }


async def test_oldest_file_is_deleted_beyond_keep(path):
    await append_each(path, Rotate(size=Size(1), keep=2), range(5))

    assert folder_of(path) == {
        "out.jsonl": line(4),
        "out.jsonl.1": line(3),
        "out.jsonl.2": line(2),
    }


async def test_oldest_compressed_file_is_deleted_too(path):
    """Mutant: the old gzip file is taken for that of the next file, which is then removed."""
    path.with_name("out.jsonl.1.gz").write_bytes(gzip.compress(b"older"))

    await append_each(path, Rotate(size=Size(1), keep=1), range(2))
    await append_each(path, Rotate(size=Size(1000), keep=1), [2])

    assert folder_of(path) == {"out.jsonl": line(1) + line(2), "out.jsonl.1": line(0)}


async def test_gap_in_the_numbers_loses_no_file(path):
    """Mutant: renumbering beyond the gap deletes the oldest file although there is room."""
    path.with_name("out.jsonl.3").write_bytes(b"oldest")
    path.with_name("out.jsonl.1").write_bytes(b"newest")

    await append_each(path, Rotate(size=Size(1), keep=3), range(2))

    assert folder_of(path) == {
        "out.jsonl": line(1),
        "out.jsonl.1": line(0),
        "out.jsonl.2": b"newest",
        "out.jsonl.3": b"oldest",
    }


async def test_other_files_in_the_folder_are_not_touched(path):
    names = ["out.jsonl.2024", "out.jsonl.bak", "out.jsonl.01", "other.jsonl.1"]
    for name in names:
        path.with_name(name).write_bytes(b"theirs")

    await append_each(path, Rotate(size=Size(1), keep=1), range(5))

    assert {name: folder_of(path)[name] for name in names} == dict.fromkeys(names, b"theirs")


async def test_compressed_files_are_whole_and_private(path):
    await append_each(path, Rotate(size=Size(1), keep=2, compress=True), range(5))

    files = folder_of(path)
    assert sorted(files) == ["out.jsonl", "out.jsonl.1.gz", "out.jsonl.2.gz"]
    assert gzip.decompress(files["out.jsonl.1.gz"]) == line(3)
    assert gzip.decompress(files["out.jsonl.2.gz"]) == line(2)
    assert stat.S_IMODE(path.with_name("out.jsonl.1.gz").stat().st_mode) == 0o600


async def test_interrupted_compression_is_finished_at_start(path):
    path.with_name("out.jsonl.gz.unfinished").write_bytes(b"half")
    path.with_name("out.jsonl.1").write_bytes(line(1))
    path.with_name("out.jsonl.1.gz").write_bytes(gzip.compress(line(1)))
    path.with_name("out.jsonl.2").write_bytes(line(0))

    await append_each(path, Rotate(compress=True), [])

    assert sorted(folder_of(path)) == ["out.jsonl", "out.jsonl.1.gz", "out.jsonl.2"]


async def test_file_that_cannot_be_compressed_stays_plain(path):
    path.with_name("out.jsonl.gz.unfinished").mkdir()

    await append_each(path, Rotate(size=Size(1), compress=True), range(2))

    assert path.with_name("out.jsonl.1").read_bytes() == line(0)
    assert path.read_bytes() == line(1)


async def test_old_file_is_set_aside(path):
    clock = [1000.0]
    async with appending(str(path), Rotate(every=Duration(60)), now=lambda: clock[0]) as append:
        await append(line(0))
        clock[0] += 59
        await append(line(1))
        clock[0] += 1
        await append(line(2))

    assert folder_of(path) == {"out.jsonl": line(2), "out.jsonl.1": line(0) + line(1)}


async def test_empty_file_does_not_grow_old(path):
    clock = [1000.0]
    async with appending(str(path), Rotate(every=Duration(60)), now=lambda: clock[0]) as append:
        await append(line(0))
        path.write_bytes(b"")
        clock[0] += 100
        await append(line(1))
        clock[0] += 59
        await append(line(2))

    assert folder_of(path) == {"out.jsonl": line(1) + line(2)}


async def test_age_of_the_first_event_survives_a_restart(path):
    """Mutant: the age counts from the start. A service restarted daily never rotates weekly."""
    first = outgoing().body + b"\n"  # recorded 2020-09-14T18:42:37Z
    path.write_bytes(first + line(1))

    rotate = Rotate(every=Duration(86400))
    await append_each(path, rotate, [2], now=lambda: 1600108957.0 + 86300)
    young = folder_of(path)
    await append_each(path, rotate, [3], now=lambda: 1600108957.0 + 86500)

    assert young == {"out.jsonl": first + line(1) + line(2)}
    assert folder_of(path)["out.jsonl"] == line(3)


async def test_rotation_loses_and_doubles_no_line(path):
    async with appending(str(path), Rotate(size=Size(200), keep=100)) as append:
        await asyncio.gather(*(append(line(number)) for number in range(100)))
        for number in range(100, 300):
            await append(line(number))

    everything = b"".join(folder_of(path).values())
    assert sorted(everything.splitlines(keepends=True)) == [line(n) for n in range(300)]


async def test_failed_rotation_loses_nothing_and_is_retried(path):
    blocked = path.with_name("out.jsonl.1")
    blocked.mkdir()  # a folder can be renamed; the next one cannot be removed
    async with appending(str(path), Rotate(size=Size(1), keep=1)) as append:
        await append(line(0))
        word = await word_of(append(line(1)))
        blocked.rmdir()
        await append(line(2))

    assert word in {"not_a_file", "permission"}
    assert folder_of(path) == {"out.jsonl": line(2), "out.jsonl.1": line(0)}


# ---- options


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"path": ""}, "path must be that of a file"),
        ({"path": "a\0b"}, "path must be that of a file"),
        ({"path": "a/"}, "path must be that of a file"),
        ({"path": "a/.."}, "path must be that of a file"),
        ({"path": "."}, "path must be that of a file"),
        ({"path": "a", "expire_after": "0s"}, "expire_after must be longer than 0s"),
        ({"path": "a", "rotate": {"size": 0}}, "size must be larger than 0"),
        ({"path": "a", "rotate": {"every": "0s"}}, "every must be longer than 0s"),
        ({"path": "a", "rotate": {"keep": 0}}, "keep must be 1 or more"),
        ({"path": "a", "rotate": {"kep": 1}}, "unknown field `kep`"),
        ({"path": "a", "redact": "code"}, "redact: 'code' is not one of codes, people"),
        ({"path": "a", "redact": ["data.cod"]}, "did you mean data.code?"),
    ],
)
def test_wrong_option_is_named(options, complaint):
    with pytest.raises(msgspec.ValidationError) as error:
        msgspec.convert(options, File, dec_hook=from_written)

    assert complaint in str(error.value)


def test_options_are_read_as_they_are_written():
    written = {"path": "/a", "rotate": {"size": "1MiB", "every": "1d", "compress": True}}

    sink = msgspec.convert(written, File, dec_hook=from_written)

    rotate = Rotate(size=Size(1024**2), every=Duration(86400), keep=10, compress=True)
    assert sink == File(path="/a", rotate=rotate)
