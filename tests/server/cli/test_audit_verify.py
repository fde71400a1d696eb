"""The auditor's file: what it sees, and what it cannot see (secrecy.md, section 6).

Each trial is a folder that somebody changed. The honest folder is that of tests/audit_logs.py.
"""

import ast
import base64
import json
import random
import re
import shutil
import subprocess
import sys
import time
import tracemalloc
from pathlib import Path

import audit_logs
import msgspec
import pytest
from audit_logs import HonestLog, continued, week
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from hypothesis import given
from hypothesis import strategies as st

from journal.audit.export import end_epoch
from journal.audit.lines import Fact, encode
from journal.audit.note import Note, SigningKey, split_notes
from journal.audit.tree import leaf_hash, prove_inclusion
from server.cli import audit_verify

FILE = Path(audit_verify.__file__)
OLDEST = (3, 9)


@pytest.fixture
def honest():
    return week()


@pytest.fixture
def folder(honest, tmp_path):
    return honest.export(tmp_path / "export")


@pytest.fixture
def verdict(honest, capsys):
    """Run the auditor's file; return the exit code and what it printed."""

    def run(*arguments, key=honest.first):
        try:
            code = audit_verify.main([*map(str, arguments), "--key", str(key)])
        except SystemExit as exc:
            code = exc.code
        return code, "".join(capsys.readouterr())

    return run


def lines_of(folder):
    return (folder / "entries.jsonl").read_bytes().splitlines()


def put_lines(folder, lines):
    (folder / "entries.jsonl").write_bytes(b"".join(line + b"\n" for line in lines))


def renumber(lines):
    return [re.sub(rb'^\{"n":\d+', b'{"n":%d' % n, line) for n, line in enumerate(lines)]


def notes_of(folder):
    return list(split_notes((folder / "checkpoints").read_text()))


def put_notes(folder, notes, newest=None):
    (folder / "checkpoints").write_text("".join(notes))
    if newest is not None:
        (folder / "checkpoint").write_text(newest)


def anchor(tmp_path, *notes):
    path = tmp_path / "anchors"
    path.write_text("".join(notes))
    return path


# Honest logs


def test_unchanged_log_is_accepted(verdict, folder, honest):
    code, text = verdict(folder)

    assert 0 == code, text
    assert f"unchanged: {honest.origin}, lines 0 to {len(honest.lines) - 1}" in text
    assert f"only an anchor proves line {3 * 212} and later" in text


def test_other_line_than_last_of_bundle_may_be_first(verdict, honest, tmp_path):
    """An export since some time begins anywhere."""
    for size in (1, 211, 212, 213, 300, 425, 700):
        honest.prune(size)

        code, text = verdict(honest.export(tmp_path / str(size)))

        assert 0 == code, text
        assert f"lines {size} to" in text


def test_idle_log_signed_again_is_accepted(verdict, honest, tmp_path):
    """The newest checkpoint has the size of the one before, and a later time."""
    honest.end_epoch()
    honest.checkpoint(keep=False)

    assert 0 == verdict(honest.export(tmp_path / "next key"))[0]
    honest.checkpoint(keep=True)
    assert 0 == verdict(honest.export(tmp_path / "next key twice"))[0]


def test_end_of_epoch_as_newest_checkpoint_is_accepted(verdict, honest, tmp_path):
    """The note that closed the epoch is then in both files."""
    honest.end_epoch()

    assert 0 == verdict(honest.export(tmp_path / "closed"))[0]


def test_signature_of_a_witness_is_ignored(verdict, folder):
    """Notes may have signatures of others. Mutant: each signature must be known."""
    for name in ("checkpoints", "checkpoint"):
        (folder / name).write_text(f"{(folder / name).read_text()}— witness.example/w1 QUJDREVG\n")

    assert 0 == verdict(folder)[0]


# Trials 1 to 8: lines


def test_edited_line_is_found(verdict, folder):
    """Trial 1. Mutant: the hash of a line leaves out its end."""
    lines = lines_of(folder)
    lines[123] = lines[123].replace(b'"r123"', b'"r124"')
    put_lines(folder, lines)

    assert (1, "CHANGED: lines 100 to 169 are not those in a checkpoint of 170 lines\n") == (
        verdict(folder)
    )


def test_deleted_line_is_found(verdict, folder):
    """Trial 2. Mutant: the number of a line is not compared with its place."""
    lines = lines_of(folder)
    del lines[123]
    put_lines(folder, lines)

    code, text = verdict(folder)

    assert (1, True) == (code, text.startswith("CHANGED: line 123: in its place is "))


def test_deleted_line_is_found_if_renumbered(verdict, folder):
    """Trial 3."""
    lines = lines_of(folder)
    del lines[123]
    put_lines(folder, renumber(lines))

    code, text = verdict(folder)

    assert (1, True) == (code, "lines 100 to 169" in text)


def test_inserted_line_is_found(verdict, folder):
    """Trial 4."""
    lines = lines_of(folder)
    put_lines(folder, renumber([*lines[:300], lines[299], *lines[300:]]))

    code, text = verdict(folder)

    assert (1, True) == (code, "lines 212 to 311" in text)


def test_line_after_the_last_checkpoint_is_found(verdict, folder):
    """Trial 4, at the end. Mutant: lines after the last checkpoint are ignored."""
    lines = lines_of(folder)
    put_lines(folder, renumber([*lines, lines[-1]]))

    assert (1, "CHANGED: line 726 is in no checkpoint\n") == verdict(folder)


def test_swapped_lines_are_found(verdict, folder):
    """Trial 5."""
    lines = lines_of(folder)
    lines[10], lines[11] = lines[11], lines[10]
    put_lines(folder, lines)

    code, text = verdict(folder)

    assert (1, True) == (code, text.startswith("CHANGED: line 10: in its place is "))


def test_swapped_lines_are_found_if_renumbered(verdict, folder):
    """Trial 6."""
    lines = lines_of(folder)
    lines[10], lines[11] = lines[11], lines[10]
    put_lines(folder, renumber(lines))

    assert (1, "CHANGED: lines 0 to 99 are not those in a checkpoint of 100 lines\n") == (
        verdict(folder)
    )


def test_cut_end_is_found(verdict, folder):
    """Trial 7. Mutant: checkpoints after the last line are ignored."""
    put_lines(folder, lines_of(folder)[:-5])

    assert (1, "CHANGED: line 721 is missing: there are 726 in a checkpoint\n") == (verdict(folder))


def cut(folder):
    """Cut the end with its checkpoints: an honest log of an earlier time is left."""
    notes = notes_of(folder)[:8]
    (size,) = audit_logs.sizes(notes[-1:])
    put_lines(folder, lines_of(folder)[:size])
    put_notes(folder, notes, notes[-1])
    return size


def test_cut_end_with_checkpoints_is_not_visible_alone(verdict, folder):
    """Trial 8: nothing in the folder is wrong."""
    cut(folder)

    assert 0 == verdict(folder)[0]


def test_cut_end_with_checkpoints_is_found_by_an_anchor(verdict, folder, honest, tmp_path):
    """Trial 9. Mutant: anchors that are larger than the log are ignored."""
    size = cut(folder)

    assert (1, f"CHANGED: line {size} is missing: there are 726 in an anchor\n") == (
        verdict(folder, "--anchor", anchor(tmp_path, honest.newest))
    )


def test_cut_end_with_checkpoints_is_found_by_its_age(verdict, folder, honest, monkeypatch):
    """Trial 10. Mutant: `--fresh` compares with the first checkpoint, or not at all."""
    monkeypatch.setattr(time, "time", lambda: honest.now + 500)
    assert 0 == verdict(folder, "--fresh", "10m")[0]
    monkeypatch.setattr(time, "time", lambda: honest.now + 700)
    assert 1 == verdict(folder, "--fresh", "10m")[0]
    monkeypatch.setattr(time, "time", lambda: honest.now + 500)
    cut(folder)

    code, text = verdict(folder, "--fresh", "10m")

    assert (1, "the end may be missing\n") == (code, text[-len("the end may be missing\n") :])
    assert text.startswith("CHANGED: the last checkpoint is of ")


# Trials 11 to 19: signatures and keys


def forged(lines, keys, origin, ends):
    """Return a log of these lines, signed with other keys at the same places."""
    log = HonestLog(origin)
    log.epoch_key = keys
    for n, line in enumerate(lines):
        leaf = json.loads(line)
        log.add(Fact(leaf.pop("do"), {k: v for k, v in leaf.items() if k not in {"n", "at"}}))
        if n + 1 in ends:
            log.checkpoint()
            log.epoch += leaf.get("key") is not None
    return log


def test_log_signed_by_a_stranger_is_found(verdict, tmp_path):
    """Trial 11. Mutant: a signature with a wrong value counts."""
    stranger = week(owner="stranger")

    assert (
        1,
        "CHANGED: lines 0 to 99: the key of their epoch did not sign their checkpoint\n",
    ) == (verdict(stranger.export(tmp_path / "stranger")))


def test_checkpoints_signed_by_a_stranger_are_found(verdict, folder, honest):
    """Trial 12: the lines stay, the signatures are new."""
    key = SigningKey(f"{honest.origin}/epoch", audit_logs.Algorithm.COSIGNATURE, b"s" * 32)
    notes = [Note.parse(note) for note in notes_of(folder)]
    signed = [str(Note(note.text, (key.sign(note.text, honest.now),))) for note in notes]
    put_notes(folder, signed, signed[-1])

    assert 1 == verdict(folder)[0]


def test_signature_of_another_checkpoint_is_found(verdict, honest, tmp_path):
    """Names and key ids fit, the signatures do not. Mutant: only name and key id are compared."""
    changed = rewrite(honest, 500, 0)
    theirs = [Note.parse(note) for note in changed.checkpoints]
    ours = [Note.parse(note) for note in honest.checkpoints]
    folder = changed.export(tmp_path / "changed")
    notes = [str(Note(their.text, our.signatures)) for their, our in zip(theirs, ours, strict=True)]
    put_notes(folder, notes, notes[-1])

    code, text = verdict(folder)

    assert (1, True) == (code, text.startswith("CHANGED: lines 424 to 523: the key"))


def test_key_of_an_ended_epoch_signs_nothing_later(verdict, honest, tmp_path):
    """Mutant: a checkpoint may have the key of any epoch so far."""
    ends = set(audit_logs.sizes(honest.checkpoints))
    changed = forged(honest.lines, lambda number: honest.epoch_key(number % 3), honest.origin, ends)

    code, text = verdict(changed.export(tmp_path / "changed"))

    assert (1, True) == (code, text.startswith("CHANGED: lines 636 to 725: the key"))


def rewrite(honest, since, known):
    """Return the log with another line `since`, by a thief who has the keys of epochs `known` on.

    The thief signs with the keys that the machine still has, and with the newest of them where it
    has destroyed the key.
    """
    ends = set(audit_logs.sizes(honest.checkpoints))
    lines = [*honest.lines]
    lines[since] = lines[since].replace(b"ana", b"bob")
    return forged(lines, lambda number: honest.epoch_key(max(number, known)), honest.origin, ends)


def test_yesterday_rewritten_with_keys_of_today_is_found(verdict, honest, tmp_path):
    """Trial 13. Mutant: any signature with the name of an epoch's key counts."""
    changed = rewrite(honest, 500, 3)
    # What was signed before the change is left as it is.
    kept = [n for n in honest.checkpoints if audit_logs.sizes([n])[0] <= 424]
    changed.checkpoints[: len(kept)] = kept

    code, text = verdict(changed.export(tmp_path / "changed"))

    assert (1, True) == (code, text.startswith("CHANGED: lines 424 to 523: the key"))


def test_yesterday_rewritten_under_old_checkpoints_is_found(verdict, honest, tmp_path):
    """Trial 14. Mutant: the root of the lines is not compared."""
    changed = rewrite(honest, 500, 3)
    folder = changed.export(tmp_path / "changed")
    put_notes(folder, honest.checkpoints, honest.newest)

    assert (1, "CHANGED: lines 424 to 523 are not those in a checkpoint of 524 lines\n") == (
        verdict(folder)
    )


def today_rewritten(honest, tmp_path):
    changed = rewrite(honest, 700, 0)
    return changed.export(tmp_path / "changed")


def test_today_rewritten_is_not_visible_alone(verdict, honest, tmp_path):
    """Trial 15: who has the machine has the key of today. The verdict says from where on."""
    code, text = verdict(today_rewritten(honest, tmp_path))

    assert (0, True) == (code, "only an anchor proves line 636 and later" in text)


def test_today_rewritten_is_found_by_an_anchor(verdict, honest, tmp_path):
    """Trial 16. Mutant: anchors are not compared."""
    folder = today_rewritten(honest, tmp_path)

    assert (1, "CHANGED: lines 636 to 725 are not those in an anchor of 726 lines\n") == verdict(
        folder, "--anchor", anchor(tmp_path, honest.newest)
    )


def test_another_whole_log_is_found(verdict, tmp_path):
    """Trial 17: it has another origin and other keys, and is whole."""
    other = week(origin="smshook/0000000000000000", owner="other")

    assert 1 == verdict(other.export(tmp_path / "other"))[0]


def test_missing_end_of_an_epoch_is_found(verdict, folder):
    """Trial 18. Mutant: the next key is used as soon as a line has named it."""
    notes = [note for note in notes_of(folder) if audit_logs.sizes([note]) != [424]]
    put_notes(folder, notes)

    code, text = verdict(folder)

    assert (1, True) == (code, text.startswith("CHANGED: lines 423 to 523: the key"))


def test_changed_name_of_a_signer_is_found(verdict, folder):
    """Trial 19. Mutant: signatures are found by their key id alone."""
    text = (folder / "checkpoints").read_text()
    (folder / "checkpoints").write_text(text.replace("/epoch ", "/other ", 1))

    assert 1 == verdict(folder)[0]


@pytest.mark.parametrize("name", ["entries.jsonl", "checkpoints", "checkpoint", "pruned.json"])
@pytest.mark.parametrize("junk", ["junk\n", "\x00", "{}\n", "\n\ud83d"])
def test_junk_is_found(verdict, folder, name, junk):
    """Trial 20. Mutant: what is no checkpoint is skipped."""
    path = folder / name
    path.write_bytes(path.read_bytes() + junk.encode("utf-8", "surrogatepass"))

    assert 1 == verdict(folder)[0]


@pytest.mark.parametrize(
    ("name", "data", "text"),
    [
        ("checkpoints", b"", "checkpoints: something in it is not a checkpoint"),
        ("checkpoint", b"", "checkpoint: something in it is not a checkpoint"),
        ("checkpoint", b"\x97", "checkpoint: something in it is not a checkpoint"),
        ("entries.jsonl", b"", "line 0 is missing: there are 100 in a checkpoint"),
        ("pruned.json", b"", "a line or pruned.json is damaged: Expecting value"),
        ("pruned.json", b"{}", "a line or pruned.json is damaged: 'epochs'"),
    ],
)
def test_damaged_file_is_named(verdict, folder, name, data, text):
    """Mutants: an empty file has no fault; another encoding is an error of Python."""
    (folder / name).write_bytes(data)

    code, said = verdict(folder)

    assert (1, True) == (code, text in said), said


def test_endless_line_is_found_in_little_memory(verdict, folder):
    """Mutant: the whole line is read."""
    with (folder / "entries.jsonl").open("ab") as file:
        file.truncate(file.tell() + 50_000_000)
    tracemalloc.start()
    try:
        code, text = verdict(folder)
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert (1, True) == (code, text.startswith("CHANGED: line 726: in its place is "))
    assert most < 5_000_000


def test_converted_line_ends_are_named(verdict, folder):
    """A copy in text mode is no attack. Mutant: only the checkpoint is named."""
    path = folder / "entries.jsonl"
    path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))

    assert (1, "CHANGED: line 0 ends as in Windows: copy the export again, unconverted\n") == (
        verdict(folder)
    )


@pytest.mark.parametrize(
    ("option", "value", "text"),
    [
        ("--key", "log", "--key: 'log' is not the key of an epoch: see `smshook audit key`"),
        ("--anchor", "entries.jsonl", "entries.jsonl: something in it is not a checkpoint"),
    ],
)
def test_wrong_option_says_why(verdict, folder, monkeypatch, option, value, text):
    """Mutant: the errors are ValueError, whose text argparse does not show."""
    monkeypatch.chdir(folder)

    code, said = verdict(folder, option, value)

    assert (2, True) == (code, text in said), said


def in_origin(folder):
    for name in ("checkpoints", "checkpoint"):
        text = (folder / name).read_text()
        (folder / name).write_text(text.replace("smshook/7f", "smshook/\x1b[2J7f"))


def in_key(folder):
    path = folder / "entries.jsonl"
    path.write_bytes(path.read_bytes().replace(b'"key":"sms', b'"key":"\\u001b[2Jsms'))


def in_pruned(folder):
    line = json.dumps({"n": "\x1b[2J", "do": "audit.epoch"})
    epoch = {"line": line, "checkpoint": notes_of(folder)[0], "proof": []}
    bent(folder, lambda data: data.update(epochs=[epoch]))


def in_depth(folder):
    (folder / "pruned.json").write_text("[" * 100_000)


@pytest.mark.parametrize("change", [in_origin, in_key, in_pruned, in_depth])
def test_export_cannot_write_to_the_terminal(verdict, folder, change):
    """Escape sequences could show another verdict. Mutant: the text of a wrong key as it is."""
    change(folder)

    code, text = verdict(folder)

    assert 1 == code, text
    assert "\x1b" not in text


def test_other_export_cannot_write_to_the_terminal(verdict, folder, tmp_path, honest):
    """Mutant: an origin may have control characters."""
    other = shutil.copytree(folder, tmp_path / "other")
    in_origin(other)

    code, text = verdict(folder, other, "--key", honest.first)

    assert (1, False) == (code, "\x1b" in text)


# Trials 21 to 23: erased and pruned lines


def test_erased_line_is_accepted_and_counted(verdict, honest, tmp_path):
    """Trial 21. Mutant: the hash of an erased line is that of its text."""
    honest.erase(17)

    code, text = verdict(honest.export(tmp_path / "erased"))

    assert (0, True) == (code, "1 erased;" in text)


def test_erased_line_that_is_not_named_is_found(verdict, honest, tmp_path):
    """Mutant: erased lines need no line `audit.erased`."""
    honest.erase(17, name=False)

    assert (1, "CHANGED: line 17 is erased, but no line audit.erased names it\n") == verdict(
        honest.export(tmp_path / "erased")
    )


def test_erased_line_that_another_line_names_is_found(verdict, honest, tmp_path):
    honest.erase(17)
    honest.erase(18, name=False)

    code, text = verdict(honest.export(tmp_path / "erased"))

    assert (1, True) == (code, "line 18 is erased" in text)


def test_pruned_log_is_accepted(verdict, honest, tmp_path):
    """Trial 22."""
    honest.prune(512)

    code, text = verdict(honest.export(tmp_path / "pruned"))

    assert (0, True) == (code, "lines 512 to 725" in text)


def bent(folder, change):
    path = folder / "pruned.json"
    data = json.loads(path.read_text())
    change(data)
    path.write_text(json.dumps(data))


def another_beginning(data):
    data["frontier"][0] = base64.b64encode(bytes(32)).decode()


def another_key(data):
    epoch = data["epochs"][-1]
    key = SigningKey("smshook/7f3a9c52e1d04b6c/epoch", audit_logs.Algorithm.COSIGNATURE, b"s" * 32)
    epoch["line"] = re.sub(r'"key":"[^"]+"', f'"key":"{key.verifier}"', epoch["line"])


def another_action(data):
    epoch = data["epochs"][-1]
    epoch["line"] = epoch["line"].replace("audit.epoch", "audit.erased")


def another_size(data):
    data["size"] += 1


def no_epochs(data):
    data["epochs"] = []


def no_proof(data):
    data["epochs"][0]["proof"] = []


@pytest.mark.parametrize(
    "change",
    [another_beginning, another_key, another_action, another_size, no_epochs, no_proof],
)
def test_changed_beginning_of_a_pruned_log_is_found(verdict, honest, tmp_path, change):
    """Trial 23, pruned with another beginning or another key. Mutant: proofs are not checked."""
    honest.prune(512)
    folder = honest.export(tmp_path / "pruned")
    bent(folder, change)

    assert 1 == verdict(folder)[0]


def test_pruned_epoch_of_a_stranger_is_found(verdict, honest, tmp_path):
    """The line and its proof are right, but another key signed. Mutant: it is not asked who did."""
    stranger = week(owner="stranger")
    honest.prune(512)
    folder = honest.export(tmp_path / "pruned")
    theirs = json.loads(audit_logs.begin_at(512, stranger.ended, stranger.hash_at).json())["epochs"]
    bent(folder, lambda data: data.update(epochs=theirs))

    assert (1, "CHANGED: line 211, in pruned.json, did not end its epoch\n") == verdict(folder)


def taken_over(honest, ended):
    """Return a pruned log that a thief signs, after an epoch that ended with these lines."""
    thief = SigningKey(f"{honest.origin}/epoch", audit_logs.Algorithm.COSIGNATURE, b"t" * 32)
    changed = forged(honest.lines, lambda _: thief, honest.origin, {len(honest.lines)})
    changed.ended = ended
    changed.prune(512)
    return changed


THIEF = SigningKey(
    f"smshook/{audit_logs.IDENTITY}/epoch", audit_logs.Algorithm.COSIGNATURE, b"t" * 32
).verifier


def test_pruned_line_with_the_key_of_a_thief_is_found(verdict, honest, tmp_path):
    """Trial 23: proof and checkpoint are honest, the key in the line is not.

    Mutant: the line need not be in the checkpoint.
    """
    first, second = honest.ended[:2]
    line = re.sub(rb'"key":"[^"]+"', b'"key":"%s"' % str(THIEF).encode(), second.line)
    changed = taken_over(honest, [first, msgspec.structs.replace(second, line=line)])

    assert (1, "CHANGED: line 423, in pruned.json, did not end its epoch\n") == verdict(
        changed.export(tmp_path / "changed")
    )


def test_pruned_line_of_another_action_names_no_key(verdict, tmp_path):
    """A thief once made an API key whose name is the key of an epoch: that line is honest.

    Mutant: it is not asked what the line did.
    """
    log = HonestLog()
    log.grow(100)
    line = log.add(Fact("key.made", {"by": "key/thief", "key": str(THIEF)}))
    log.checkpoint()
    ended = end_epoch(100, line, log.newest, log.hash_at)
    log.grow(700)
    changed = taken_over(log, [ended])

    assert (1, "CHANGED: line 100, in pruned.json, did not end its epoch\n") == verdict(
        changed.export(tmp_path / "changed"), key=log.first
    )


def test_line_0_names_no_key(verdict, tmp_path):
    """The first key comes from `--key` only. Mutant: line 0 may name the next key."""
    log = HonestLog()
    log.end_epoch()
    log.grow(10)

    assert 1 == verdict(log.export(tmp_path / "export"))[0]


# Anchors


def test_anchors_of_the_same_log_are_accepted(verdict, folder, honest, tmp_path):
    """The checkpoints of an older export are anchors for a newer one."""
    older = folder / "checkpoints"
    honest.grow(30)

    code, text = verdict(honest.export(tmp_path / "new"), "--anchor", older)

    assert 0 == code, text


def test_verdict_names_the_lines_that_no_anchor_proves(verdict, folder, honest, tmp_path):
    """Mutant: only ended epochs count."""
    assert "only an anchor proves line 636 and later" in verdict(folder)[1]

    code, text = verdict(folder, "--anchor", anchor(tmp_path, honest.newest))

    assert (0, True) == (code, "only an anchor proves line 726 and later" in text)


def test_older_export_of_another_history_is_found(verdict, honest, tmp_path):
    """Of one log the older export is a beginning, or it says where not."""
    older = honest.export(tmp_path / "old") / "checkpoints"
    changed = rewrite(honest, 650, 0)
    changed.grow(30)

    code, text = verdict(changed.export(tmp_path / "new"), "--anchor", older)

    assert (1, True) == (code, "in an anchor of 726 lines" in text)


@pytest.mark.parametrize("text", ["", "junk", None])
def test_useless_anchor_gives_no_verdict(verdict, folder, tmp_path, text):
    """Exit code 2. Mutant: anchors that cannot be compared are left out silently."""
    path = tmp_path / "anchors"
    if text is not None:
        path.write_text(text or week(origin="smshook/other").newest)

    assert 2 == verdict(folder, "--anchor", path)[0]


def test_anchor_of_a_pruned_part_gives_no_verdict(verdict, honest, tmp_path):
    honest.prune(512)
    folder = honest.export(tmp_path / "pruned")

    assert 2 == verdict(folder, "--anchor", anchor(tmp_path, honest.checkpoints[0]))[0]


# Two logs


def test_log_before_and_after_a_restore_is_accepted(verdict, folder, honest, tmp_path):
    new = continued(honest)

    code, text = verdict(folder, new.export(tmp_path / "new"), "--key", new.first)

    assert 0 == code, text
    assert f"unchanged: {honest.origin}," in text
    assert f"unchanged: {new.origin}," in text


def test_old_log_that_the_new_one_does_not_name_is_found(verdict, folder, honest, tmp_path):
    """Mutant: line 0 of the new log is not compared."""
    changed = rewrite(honest, 700, 0)
    new = continued(changed)

    code, text = verdict(folder, new.export(tmp_path / "new"), "--key", new.first)

    assert (1, True) == (code, "in an anchor of 726 lines" in text)


def test_logs_that_do_not_belong_together_give_no_verdict(verdict, folder, honest, tmp_path):
    new = continued(honest)
    there = new.export(tmp_path / "new")

    assert 2 == verdict(there, folder, "--key", new.first)[0]
    assert 2 == verdict(folder, there)[0]


# No verdict


def test_missing_file_gives_no_verdict(verdict, folder):
    for name in ("entries.jsonl", "checkpoints", "checkpoint", "pruned.json"):
        copy = folder.with_name(f"without {name}")
        shutil.copytree(folder, copy)
        (copy / name).unlink()

        assert 2 == verdict(copy)[0]


@pytest.mark.parametrize("change", ["{}".format, " {}x".format, "{:.20}".format])
def test_damaged_or_wrong_key_gives_no_verdict(verdict, honest, folder, change):
    """Also the log's own key: it is no key of an epoch."""
    assert 2 == verdict(folder, key=change(str(honest.log_key.verifier)))[0]


def test_missing_key_gives_no_verdict(folder):
    assert 2 == audit_verify.main([str(folder)])


@pytest.mark.parametrize(
    ("age", "seconds"), [("90s", 90), ("10m", 600), ("2h", 7200), ("1d", 86400)]
)
def test_age_has_a_unit(age, seconds):
    assert seconds == audit_verify.read_seconds(age)


@pytest.mark.parametrize(
    "age", ["", "10", "m", "10 weeks", "x0m", "0m", "00s", "-1m", "1_0m", " 1m", "9" * 5000 + "d"]
)
def test_wrong_age_gives_no_verdict(verdict, folder, age):
    """Mutant: `[0-9]+[smhd]`. An age of 0 checks nothing, and nothing is younger than `-1m`."""
    assert 2 == verdict(folder, "--fresh", age)[0]


# Ed25519


def verdicts(public, message, signature):
    """Return what `cryptography` and the auditor's file say."""
    try:
        Ed25519PublicKey.from_public_bytes(public).verify(signature, message)
        theirs = True
    except InvalidSignature:
        theirs = False
    try:
        ours = audit_verify.is_signed(public, message, signature)
    except ValueError:
        ours = False
    return theirs, ours


def test_600_signatures_get_the_same_verdict_as_from_cryptography():
    """Mutant: the sign of x is not compared."""
    chance = random.Random(16)
    for number in range(600):
        private = Ed25519PrivateKey.from_private_bytes(chance.randbytes(32))
        public, message = private.public_key().public_bytes_raw(), chance.randbytes(number % 90)
        signature = bytearray(private.sign(message))
        if number % 3 == 1:
            signature[chance.randrange(64)] ^= 1 << chance.randrange(8)
        if number % 3 == 2:
            high = int.from_bytes(signature[32:], "little") + audit_verify.ORDER
            signature[32:] = high.to_bytes(32, "little")

        theirs, ours = verdicts(public, message, bytes(signature))

        assert theirs is ours is (number % 3 == 0)


@pytest.mark.parametrize(
    ("public", "message", "signature"),
    [  # RFC 8032, section 7.1, tests 1 and 2
        (
            "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
            "",
            (
                "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701c"
                "f9b46bd25bf5f0595bbe24655141438e7a100b"
            ),
        ),
        (
            "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
            "72",
            (
                "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0"
                "f11d8c387b2eaeb4302aeeb00d291612bb0c00"
            ),
        ),
    ],
)
def test_signature_of_the_specification_is_accepted(public, message, signature):
    assert audit_verify.is_signed(*map(bytes.fromhex, (public, message, signature)))


@given(st.binary(min_size=32, max_size=32), st.binary(min_size=64, max_size=64))
def test_random_key_or_signature_is_wrong(public, signature):
    assert (False, False) == verdicts(public, b"message", signature)


@given(st.integers(1, 400), st.data())
def test_proof_leads_to_the_root(size, data):
    log = HonestLog()
    for n in range(size):
        log.add(Fact("code.read", {"event": str(n)}))
    n = data.draw(st.integers(0, size - 1))
    proof = list(prove_inclusion(n, size, lambda level, n: whole(log, level, n)))

    assert log.frontier.root() == audit_verify.root_of_proof(log.hashes[0, n], n, size, proof)


def whole(log, level, n):
    return log.hash_at(level, n)


# The file


def test_file_is_short_and_needs_nothing():
    """Mutant: an import of a package, or more than 250 lines."""
    source = FILE.read_text()
    tree = ast.parse(source, feature_version=OLDEST)
    imports = {
        (node.module if isinstance(node, ast.ImportFrom) else node.names[0].name).partition(".")[0]
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
    }

    assert len(source.splitlines()) <= 250
    assert imports <= {*sys.stdlib_module_names}
    assert max(map(len, source.splitlines())) <= 100


def version_of(python):
    asked = subprocess.run(
        [python, "-c", "import sys; print(*sys.version_info[:2])"],
        check=True,
        capture_output=True,
        text=True,
    )
    return tuple(map(int, asked.stdout.split()))


@pytest.mark.slow
def test_file_runs_alone_on_old_and_new_pythons(folder, honest, tmp_path):
    """It is copied away from the package. The oldest and the newest Python of this machine run it.

    Mutant: `zip(…, strict=True)`, which Python 3.9 has not.
    """
    alone = tmp_path / "audit_verify.py"
    shutil.copy(FILE, alone)
    tampered = tmp_path / "tampered"
    shutil.copytree(folder, tampered)
    put_lines(tampered, lines_of(tampered)[:-1])
    found = [sys.executable, *map(str, Path.home().glob(".pyenv/versions/3.*/bin/python3"))]
    pythons = sorted(
        (version, python) for python in found if (version := version_of(python)) >= OLDEST
    )

    for _, python in {pythons[0], pythons[-1]}:
        command = [python, "-I", str(alone), "--key", str(honest.first)]
        done = [
            subprocess.run([*command, str(one)], check=False, capture_output=True)
            for one in (folder, tampered, tmp_path / "none")
        ]
        assert [0, 1, 2] == [one.returncode for one in done], python


@pytest.mark.nightly
@pytest.mark.timeout(600)
def test_million_lines_take_seconds(tmp_path, verdict):
    """With a hundred checkpoints. The limit is three times what a slow machine needs."""
    log = HonestLog()
    fact = Fact("delivery.attempted", {"event": "0" * 36, "sink": "crm", "reason": "x" * 90})
    for _ in range(100):
        for _ in range(10_000):
            line = encode(len(log.lines), log.now, fact)
            log.lines.append(line)
            log.frontier.append(leaf_hash(line))
        log.checkpoint()
    folder = log.export(tmp_path / "export")

    begun = time.process_time()
    code, text = verdict(folder, key=log.first)

    assert 0 == code, text
    assert time.process_time() - begun < 30
