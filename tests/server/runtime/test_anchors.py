"""Anchors: files, sinks and commands that keep signed states of the audit log."""

import asyncio
import json
import os
import stat
import time

import pytest
from anchored import running
from structlog.testing import capture_logs

from journal.audit.note import Checkpoint, Note, split_notes
from journal.reads import EventFilter, Events, PendingBySink
from server.cli import audit_verify
from server.config.options import Anchor
from server.runtime.anchors import append_note, run_command
from sinks.file.sink import File
from sinks.sink import Failed


def notes_of(path):
    return [Checkpoint.parse(Note.parse(one).text) for one in split_notes(path.read_text())]


def disk(folder, **said):
    return {"disk2": Anchor(file=str(folder / "notes"), **said)}


def verified(service, *options):
    return audit_verify.main([str(service.export()), f"--key={service.key}", *options])


# Files


async def test_file_gets_each_state_with_new_lines(tmp_path):
    """Mutants: an idle log makes the file grow; the line about an anchor is anchored again."""
    async with running(tmp_path, anchors=disk(tmp_path)) as service:
        await service.sign()
        for _ in range(3):
            await service.sign()
        assert len(notes_of(tmp_path / "notes")) == 1
        await service.add()
        for _ in range(3):
            await service.sign()

        first, second = notes_of(tmp_path / "notes")
        assert first.origin == second.origin == service.log.origin
        # The new line, and the one about the first state.
        assert second.size == first.size + 2
        anchored = await service.lines("audit.anchored")
        assert [(one["anchor"], one["size"], one["by"]) for one in anchored] == [
            ("disk2", first.size, "service"),
            ("disk2", second.size, "service"),
        ]
        assert stat.S_IMODE((tmp_path / "notes").stat().st_mode) == 0o600


async def test_anchor_shows_a_cut_off_end_that_the_export_hides(tmp_path):
    """Without it the same export is unchanged: that is what `check` and the manual say."""
    async with running(tmp_path, anchors=disk(tmp_path)) as service:
        await service.add(5)
        await service.sign()
        before = service.export("before")
        await service.add(5)
        await service.sign()
        await service.stop()
        key, anchor = f"--key={service.key}", f"--anchor={tmp_path / 'notes'}"

        assert audit_verify.main([str(before), key]) == 0
        assert audit_verify.main([str(before), key, anchor]) == 1
        assert verified(service, anchor) == 0


async def test_file_gets_the_last_state_at_the_end(tmp_path):
    """Mutant: what was added since the last look is in no anchor until the next start."""
    async with running(tmp_path, anchors=disk(tmp_path)) as service:
        await service.sign()
        await service.add()
        await service.stop()
        assert notes_of(tmp_path / "notes")[-1].size == len(
            (service.export() / "entries.jsonl").read_text().splitlines()
        )


@pytest.mark.parametrize("cut", range(1, 400, 29))
def test_note_that_a_crash_cut_off_is_removed(tmp_path, cut):
    """Mutant: the next note follows the rest of it, and no verifier reads the file."""
    path = tmp_path / "notes"
    note = "smshook/1\n5\n" + "A" * 43 + "=\n\n\u2014 smshook/1 AAAA\n\u2014 smshook/1/epoch BBBB\n"
    append_note(path, note)
    data = note.encode()
    with path.open("ab") as file:
        file.write(data[: cut % len(data)])
    append_note(path, note)

    rest = path.read_text().removeprefix(note).removesuffix(note)
    # A note with its first signature is whole.
    assert rest == "" or rest == note[: note.index("\u2014 smshook/1/epoch")]


def test_note_begun_in_an_empty_file_is_removed(tmp_path):
    path = tmp_path / "notes"
    path.write_text("smshook/1\n5\nAA")
    append_note(path, "smshook/1\n6\nAA=\n\n\u2014 n AAAA\n")
    assert path.read_text() == "smshook/1\n6\nAA=\n\n\u2014 n AAAA\n"


def test_other_files_stay_as_they_are(tmp_path):
    """Mutant: the file of another program is cut."""
    path = tmp_path / "notes"
    path.write_text("my notes\n")
    with pytest.raises(Failed, match="not_notes"):
        append_note(path, "smshook/1\n")
    assert path.read_text() == "my notes\n"
    link = tmp_path / "link"
    link.symlink_to(path)
    with pytest.raises(Failed, match="symlink"):
        append_note(link, "smshook/1\n")
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(Failed, match="not_a_file"):
        append_note(tmp_path / "fifo", "smshook/1\n")


def test_failed_fsync_leaves_no_note(tmp_path):
    path = tmp_path / "notes"

    def fail(_fd):
        raise OSError(28, "no space")

    with pytest.raises(Failed, match="disk_full"):
        append_note(path, "smshook/1\n5\nAA=\n\n\u2014 n AAAA\n", fsync=fail)
    assert path.read_bytes() == b""


async def test_failing_anchor_is_logged_once_and_tried_again(tmp_path):
    """Mutants: each try is a line of the log; a failed state is never tried again."""
    folder = tmp_path / "usb"
    async with running(tmp_path, anchors=disk(folder)) as service:
        with capture_logs() as logs:
            for _ in range(3):
                await service.sign()
            assert service.outputs() == {"anchor/disk2": "missing"}
            folder.mkdir()
            await service.sign(after=61.0)

        assert [(one["event"], one["to"]) for one in logs] == [
            ("audit.output_failing", "anchor/disk2"),
            ("audit.output_recovered", "anchor/disk2"),
        ]
        assert len(notes_of(folder / "notes")) == 1


async def test_size_of_an_anchor_is_known_after_a_restart(tmp_path):
    """An alert names it if the anchor is out of reach since the start.

    Mutants: it is not read; it is that of the newest state; another anchor has the same.
    """
    anchors = disk(tmp_path)
    async with running(tmp_path, anchors=anchors) as service:
        await service.add(5)
        await service.sign()
        [last] = notes_of(tmp_path / "notes")
        await service.kill()
        (tmp_path / "notes").write_text("of another program")
        other = {"other": Anchor(file=str(tmp_path / "none" / "notes"))}
        await service.start(anchors=anchors | other)
        await service.add(5)
        await service.sign()

        states = {one.name: one.size for one in service.parts.anchors.states()}
        assert service.outputs() == {"anchor/disk2": "not_notes", "anchor/other": "missing"}
        assert states == {"anchor/disk2": last.size, "anchor/other": None}


# Sinks


async def checkpoints_of(service):
    page = await service.journal.ask(
        Events(filter=EventFilter(type=("system.audit_checkpoint",)), limit=100)
    )
    return [json.loads(body) for _, body in page.items]


async def test_sink_gets_an_event_each_time_it_is_due(tmp_path):
    """No route names the sink. Mutants: only routes count; a restart sends it again at once."""
    said = {"chat": Anchor(sink="log", every=3600.0)}
    options = {"sinks": {"log": File(path=str(tmp_path / "events.jsonl"))}}
    async with running(tmp_path, options=options, anchors=said) as service:
        for _ in range(3):
            await service.sign()
        [event] = await checkpoints_of(service)
        note = Note.parse(event["data"]["note"])
        assert Checkpoint.parse(note.text).size == event["data"]["size"]
        assert (event["subject"], event["data"]["severity"]) == ("audit", "info")
        assert await service.journal.ask(PendingBySink()) == {"log": 1}
        await service.stop()
        await service.start(anchors=said)
        await service.sign(after=1800.0)
        assert len(await checkpoints_of(service)) == 1
        await service.sign(after=1800.0)
        assert len(await checkpoints_of(service)) == 2
        # A clock that was set back does not silence it.
        await service.sign(after=-86_400.0)
        assert len(await checkpoints_of(service)) == 3


async def test_reload_changes_anchors(tmp_path):
    async with running(tmp_path) as service:
        await service.sign()
        service.use(anchors=disk(tmp_path))
        await service.sign()
        assert len(notes_of(tmp_path / "notes")) == 1
        service.use()
        await service.add()
        await service.sign()
        assert len(notes_of(tmp_path / "notes")) == 1
        assert service.outputs() == {}


# Commands


def script(folder, text):
    path = folder / "anchor"
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return str(path)


async def test_command_gets_the_note_on_its_stdin(tmp_path):
    """Mutant: it runs in the folder where the service was started."""
    command = (script(tmp_path, 'cat > "got-$1"'), "it")
    async with running(tmp_path, anchors={"git": Anchor(command=command, every=86_400.0)}) as it:
        for _ in range(3):
            await it.sign()
        text = (tmp_path / "got-it").read_text()
        assert Checkpoint.parse(Note.parse(text).text).origin == it.log.origin
        assert len(await it.lines("audit.anchored")) == 1


@pytest.mark.parametrize(
    ("text", "word"), [("exit 3", "exit_3"), ("cat; kill -9 $$", "exit_-9"), (None, "missing")]
)
async def test_failed_command_has_a_word(tmp_path, text, word):
    """Mutant: an exit code is ignored."""
    path = str(tmp_path / "none") if text is None else script(tmp_path, text)
    with pytest.raises(Failed) as info:
        await run_command((path,), tmp_path, b"note")
    assert info.value.word == word


async def test_command_may_leave_its_stdin(tmp_path):
    await run_command((script(tmp_path, "exit 0"),), tmp_path, b"n" * 1_000_000)


async def test_hanging_command_is_killed_with_its_children(tmp_path):
    """Mutant: only the shell is killed."""
    path = script(tmp_path, "sleep 600 & echo $! > child; wait")
    began = time.monotonic()
    with pytest.raises(Failed, match="timeout"):
        await run_command((path,), tmp_path, b"note", within=0.5)
    assert time.monotonic() - began < 10
    child = int((tmp_path / "child").read_text())
    for _ in range(100):
        if _is_gone(child):
            return
        await asyncio.sleep(0.05)
    raise AssertionError("the child still runs")


def _is_gone(pid):
    try:
        with open(f"/proc/{pid}/stat") as file:  # noqa: PTH123
            return file.read().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True
