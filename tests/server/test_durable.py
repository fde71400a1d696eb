"""A written file is complete and on disk."""

import os
import stat
import subprocess

import live
import pytest
import tools

from server.durable import replace, unfinished, write_new


def test_new_file_is_complete_and_has_mode_0600(tmp_path):
    path = tmp_path / "new" / "folder" / "x.yaml"

    write_new(path, "é\n")

    assert path.read_bytes() == "é\n".encode()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [it.name for it in path.parent.iterdir()] == ["x.yaml"]


@pytest.mark.parametrize("kind", ["file", "folder", "link to nowhere"])
def test_existing_path_is_not_replaced(tmp_path, kind):
    """Mutant: `rename`, which replaces it."""
    path = tmp_path / "x.yaml"
    if kind == "file":
        path.write_text("mine")
    elif kind == "folder":
        path.mkdir()
    else:
        path.symlink_to(tmp_path / "nowhere")
    before = path.lstat()

    with pytest.raises(FileExistsError):
        write_new(path, "ours")

    assert path.lstat().st_ino == before.st_ino
    assert [it.name for it in tmp_path.iterdir()] == ["x.yaml"]


def test_failed_write_leaves_no_file(tmp_path):
    with pytest.raises(UnicodeEncodeError):
        write_new(tmp_path / "x.yaml", "\udc80")

    assert list(tmp_path.iterdir()) == []


def test_new_file_is_renamed_where_links_are_unsupported(tmp_path, monkeypatch):
    """FAT and some mounts have no links. Mutant: the command fails there."""

    def refused(*_args):
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(type(tmp_path), "hardlink_to", refused)
    write_new(tmp_path / "x.yaml", "ours")

    with pytest.raises(FileExistsError):
        write_new(tmp_path / "x.yaml", "other")

    assert (tmp_path / "x.yaml").read_text() == "ours"
    assert [it.name for it in tmp_path.iterdir()] == ["x.yaml"]


def test_link_stays_and_its_target_is_replaced(tmp_path):
    (tmp_path / "x.svg").write_text("old")
    (tmp_path / "link").symlink_to("x.svg")

    replace(tmp_path / "link", "new")

    assert (tmp_path / "x.svg").read_text() == "new"
    assert (tmp_path / "link").is_symlink()


def test_pipe_is_written_to_directly(tmp_path):
    """Such as `--file /dev/stdout`. Mutant: a file of that name in /dev."""
    os.mkfifo(tmp_path / "pipe")
    with subprocess.Popen(["cat", tmp_path / "pipe"], stdout=subprocess.PIPE) as reader:
        replace(tmp_path / "pipe", "new")

        assert reader.stdout.read() == b"new"


def calls(trace, *names):
    """Return the system calls of these names from a trace by strace, with paths."""
    lines = [line.split(None, 1)[1] for line in trace.read_text().splitlines()]
    return [line for line in lines if line.startswith(tuple(f"{name}(" for name in names))]


@pytest.mark.parametrize("arguments", [["init", "made/by/it"], ["dev", "--listen", "x:-1"]])
def test_file_is_synced_before_its_name_and_the_folder_after(tmp_path, arguments):
    """A power cut may keep a name without its bytes. Mutants: each `fsync` left out."""
    tools.require(tools.missing("strace"))
    trace = tmp_path / "calls"
    subprocess.run(
        ["strace", "-f", "-y", "-qq", "-o", trace, "-e", "trace=fsync,link,linkat,mkdir",
         live.command(), *arguments],
        cwd=tmp_path,
        capture_output=True,
        check=False,
        timeout=60,
    )  # fmt: skip

    folder = "made/by/it" if arguments[0] == "init" else ".smshook-dev"
    said = [line for line in calls(trace, "fsync", "link", "linkat") if "smshook.yaml" in line]
    linked = next(i for i, line in enumerate(said) if line.startswith("link"))
    assert any(line.startswith("fsync(") for line in said[:linked])
    synced = [line for line in calls(trace, "fsync") if f"{tmp_path}/{folder}>" in line]
    assert synced
    first = folder.partition("/")[0]
    made = [
        line for line in calls(trace, "fsync", "mkdir") if first in line or f"{tmp_path}>" in line
    ]
    assert made[0].startswith("mkdir(")
    assert any(line.startswith("fsync(") and f"{tmp_path}>" in line for line in made)


def test_unfinished_file_is_private_and_removed(tmp_path):
    """Mutant: it stays after an error, with all that was written."""
    modes = []

    def fail():
        with unfinished(tmp_path / "x.db", ("-wal",)) as temporary:
            modes.append(stat.S_IMODE(temporary.stat().st_mode))
            temporary.write_text("secret")
            temporary.with_name(f"{temporary.name}-wal").touch()
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()

    assert modes == [0o600]
    assert list(tmp_path.iterdir()) == []


def test_unfinished_file_of_a_killed_process_is_emptied(tmp_path):
    with unfinished(tmp_path / "x.db") as temporary:
        left = temporary
    left.write_text("half")
    left.with_name(f"{left.name}-wal").write_text("half")

    with unfinished(tmp_path / "x.db", ("-wal",)) as temporary:
        assert temporary == left
        assert temporary.read_bytes() == b""
        assert [path.name for path in tmp_path.iterdir()] == [temporary.name]


def test_renamed_file_leaves_its_name_to_the_next(tmp_path):
    """Mutant: the end removes the unfinished file of another process."""
    with unfinished(tmp_path / "x.db") as temporary:
        temporary.rename(tmp_path / "x.db")
        temporary.write_text("of another process")

    assert temporary.read_text() == "of another process"
