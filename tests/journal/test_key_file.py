"""The key file survives the death of its process at every step, and leaves no old copy."""

import contextlib
import os
import stat

import pytest
from deaths import deaths
from hypothesis import example, given
from hypothesis import strategies as st
from whole_files import rewrite

from journal import key_file
from journal.key_file import Damaged

OLD, NEW = "the old lines\n" * 40, "the new lines\n" * 50
#: The functions of the system that a rewrite calls.
CALLS = ("open", "write", "fsync", "link", "rename", "unlink")


@pytest.fixture
def path(tmp_path):
    return tmp_path / "smshook.keys"


@contextlib.contextmanager
def removals_watched(monkeypatch, path):
    """Every removed file has zeros only, or another name: that of the file in use."""
    real = os.unlink

    def unlink(name, **named):
        if name.name.startswith("smshook.keys"):
            in_use = path.exists() and path.samefile(name)
            assert in_use or not any(name.read_bytes())
        real(name, **named)

    with monkeypatch.context() as patch:
        patch.setattr(os, "unlink", unlink)
        yield


def test_written_file_has_its_text_and_mode_0600(path):
    rewrite(path, OLD)
    rewrite(path, NEW)

    assert key_file.read(path) == NEW
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [found.name for found in path.parent.iterdir()] == [path.name]


def test_missing_file_reads_as_none(path):
    assert key_file.read(path) is None


@pytest.mark.parametrize("before", [None, OLD])
def test_death_at_any_step_leaves_a_whole_file(path, monkeypatch, before):
    """Mutants: the file is written in place; `.dead` is not cleaned; or is overwritten while it is
    a second name of the file in use."""
    if before is not None:
        rewrite(path, before)
    seen = []
    for _ in deaths(CALLS, rewrite, path, NEW):
        seen.append(key_file.read(path))
        with removals_watched(monkeypatch, path):
            key_file.clean(path)
            assert key_file.read(path) == seen[-1]
            names = [found.name for found in path.parent.iterdir()]
            rewrite(path, OLD)
        assert names in ([path.name], [])
        assert key_file.read(path) == OLD
        if before is None:
            path.unlink()

    assert set(seen) == {before, NEW}
    assert len(seen) > (6 if before is None else 14)


def test_old_version_is_overwritten_with_zeros(path, tmp_path):
    """Mutant: `_overwrite` does nothing: the old keys stay in free blocks."""
    rewrite(path, OLD)
    witness = tmp_path / "witness"
    witness.hardlink_to(path)
    size = witness.stat().st_size

    rewrite(path, NEW)

    assert witness.read_bytes() == bytes(size)


def test_old_version_is_overwritten_after_a_death(path, tmp_path):
    """Mutant: `clean` unlinks without overwriting."""
    rewrite(path, OLD)
    size = path.stat().st_size
    for step in deaths(CALLS, rewrite, path, NEW):
        witness = tmp_path / f"witness-{step}"
        # The new version, if the rewrite has come that far; the old one is `.dead` then.
        dead = path.with_name(f"{path.name}.dead")
        if key_file.read(path) == NEW and dead.exists():
            witness.hardlink_to(dead)
        key_file.clean(path)
        if witness.exists():
            assert witness.read_bytes() == bytes(size)
        rewrite(path, OLD)


def test_old_version_is_overwritten_without_hard_links(path, monkeypatch):
    """On FAT. Mutant: the rewrite fails, or the old version stays in free blocks."""
    rewrite(path, OLD)
    overwritten = []
    real = key_file._overwrite

    def refused(*_args):
        raise PermissionError(1, "Operation not permitted")

    def overwrite(descriptor):
        overwritten.append(os.pread(descriptor, 9, 0))
        real(descriptor)

    monkeypatch.setattr(os, "link", refused)
    monkeypatch.setattr(key_file, "_overwrite", overwrite)
    rewrite(path, NEW)

    assert (key_file.read(path), overwritten) == (NEW, [OLD[:9].encode()])


def test_failed_link_leaves_the_old_file(path, monkeypatch):
    rewrite(path, OLD)

    def failed(*_args):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "link", failed)
        with pytest.raises(OSError, match="No space"):
            rewrite(path, NEW)

    assert key_file.read(path) == OLD
    rewrite(path, NEW)
    assert key_file.read(path) == NEW


@given(place=st.integers(0, 10_000), bit=st.integers(0, 7))
@example(place=0, bit=0)
def test_flipped_bit_is_damage(tmp_path_factory, place, bit):
    """Mutant: only the length is compared."""
    path = tmp_path_factory.mktemp("keys") / "smshook.keys"
    rewrite(path, OLD)
    data = bytearray(path.read_bytes())
    data[place % len(data)] ^= 1 << bit
    path.write_bytes(data)

    with pytest.raises(Damaged):
        key_file.read(path)

    assert path.read_bytes() == data


@pytest.mark.parametrize("data", [b"", b"\0" * 500, b"sha256 ", OLD.encode()])
def test_other_content_is_damage(path, data):
    path.write_bytes(data)

    with pytest.raises(Damaged, match="its checksum is wrong"):
        key_file.read(path)


def test_missing_file_with_an_old_version_is_damage(path):
    """Somebody removed it. Mutant: a new file, and the old keys are overwritten."""
    rewrite(path, OLD)
    path.rename(f"{path}.dead")

    with pytest.raises(Damaged, match=r"it is missing, but smshook\.keys\.dead exists"):
        key_file.read(path)
