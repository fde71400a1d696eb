"""The folder of an export."""

import json

import pytest
from audit_logs import week
from msgspec.structs import replace

from journal.audit.lines import Fact, leaf_of
from journal.audit.note import Note, split_notes
from journal.audit.tree import leaf_hash
from server.cli import audit_verify
from server.cli.audit_export import ExportedLog, WrongExport, add_form, add_tiles, write_export


@pytest.fixture
def log():
    return week()


def audit_log(log):
    return ExportedLog(
        log.log_key.verifier,
        log.beginning,
        log.lines[log.pruned :],
        tuple(log.checkpoints),
        log.newest,
    )


def test_export_has_five_files(log, tmp_path):
    end = write_export(tmp_path / "new" / "export", audit_log(log))

    folder = tmp_path / "new" / "export"
    names = ["checkpoint", "checkpoints", "entries.jsonl", "log.vkey", "pruned.json"]
    assert names == sorted(path.name for path in folder.iterdir())
    assert b"".join(line + b"\n" for line in log.lines) == (folder / "entries.jsonl").read_bytes()
    assert log.checkpoints == list(split_notes((folder / "checkpoints").read_text()))
    assert log.newest == (folder / "checkpoint").read_text()
    assert f"{log.log_key.verifier}\n" == (folder / "log.vkey").read_text()
    assert log.state() == end
    assert Note.parse(log.newest).verify(log.log_key.verifier)


def test_export_ends_with_its_checkpoint(log, tmp_path):
    """Mutant: lines after the checkpoint are exported."""
    size = len(log.lines)
    log.add(Fact("code.read"))

    write_export(tmp_path, audit_log(log))

    assert size == len((tmp_path / "entries.jsonl").read_bytes().splitlines())


def test_export_can_end_with_an_earlier_checkpoint(log, tmp_path):
    """An export until some time. Mutant: later checkpoints are exported, too."""
    early = log.checkpoints[5]

    write_export(tmp_path, replace(audit_log(log), checkpoint=early))

    assert log.checkpoints[:6] == list(split_notes((tmp_path / "checkpoints").read_text()))
    assert 0 == audit_verify.main([str(tmp_path), "--key", str(log.first)])


@pytest.mark.parametrize("change", [lambda lines: lines[:-1], lambda lines: lines[::-1]])
def test_export_of_other_lines_is_an_error(log, tmp_path, change):
    """A damaged journal is not exported as though it were whole. Mutant: no root is compared."""
    wrong = replace(audit_log(log), lines=change(log.lines))

    with pytest.raises(WrongExport, match=r"not those of the checkpoint of 726 lines"):
        write_export(tmp_path, wrong)
    assert not (tmp_path / "checkpoint").exists()


def test_export_changes_no_used_folder(log, tmp_path):
    (tmp_path / "mine").touch()

    with pytest.raises(WrongExport, match="is not empty; name a new folder"):
        write_export(tmp_path, audit_log(log))


def test_forms_are_added_without_erased_lines(log, tmp_path):
    log.erase(17)
    write_export(tmp_path, audit_log(log))

    added = {form: add_form(tmp_path, form) for form in ("ecs", "ocsf", "cef")}

    assert ["entries.ecs.jsonl", "entries.ocsf.jsonl", "entries.cef"] == [
        path.name for path in added.values()
    ]
    count = len(log.lines) - 1
    assert [count] * 3 == [len(path.read_text().splitlines()) for path in added.values()]
    first = json.loads(added["ecs"].read_text().splitlines()[0])
    assert (log.origin, 0) == (first["smshook"]["origin"], first["event"]["sequence"])
    assert added["cef"].read_text().startswith("CEF:0|smshook|")


@pytest.mark.parametrize("pruned", [0, 512])
def test_tiles_are_added_beside_the_checkpoint(log, tmp_path, pruned):
    log.prune(pruned)
    write_export(tmp_path, audit_log(log))

    add_tiles(tmp_path, log.hashes_at if pruned else None)

    found = sorted(
        str(p.relative_to(tmp_path)) for p in (tmp_path / "tile").rglob("*") if p.is_file()
    )
    bundles = [f"tile/entries/{n:03d}" for n in range(pruned // 256, 2)]
    leaves = [f"tile/0/{n:03d}" for n in range(pruned // 256, 2)]
    rest = ["tile/0/002.p/214", "tile/1/000.p/2", "tile/entries/002.p/214"]
    assert sorted([*bundles, *leaves, *rest]) == found
    last = (tmp_path / "tile/0/002.p/214").read_bytes()
    assert leaf_hash(log.lines[-1]) == leaf_of(log.lines[-1]) == last[-32:]
