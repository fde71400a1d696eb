"""`audit prove`: an auditor sees that one event was not changed."""

import base64
import json
import os
import shutil
import subprocess
import sys
from hashlib import sha256

import live
import pytest
from journals import shell
from pages import blocks
from prompt import be_in, printed, read, run

from journal.lock import Lock
from server.cli import audit_verify

CONFIG = live.CONFIG + "audit: {checkpoint: 1s}\n"
ME = f"cli/{os.getuid()}"


def accepted(here, number):
    """Have an event accepted, and its line signed; return its id."""
    event = here.accept(number)
    live.eventually(lambda: run("audit", "prove", event).exit_code == 0)
    return event


def is_in_log(proof):
    """Whether a proof (c2sp.org/tlog-proof) leads from the line to the root of its checkpoint."""
    head, _, checkpoint = proof["proof"].partition("\n\n")
    _, index, *hashes = head.splitlines()
    [state] = audit_verify.read_checkpoints(checkpoint, "the proof")
    leaf = sha256(b"\0" + proof["leaf"].encode()).digest()
    path = [base64.b64decode(one) for one in hashes]
    n = int(index.removeprefix("index "))
    return state.root == audit_verify.root_of_proof(leaf, n, state.size, path)


def test_auditor_accepts_the_proof_of_an_event(here):
    """Mutants: the key of codes itself; the line before; the masked event."""
    event = accepted(here, 4712)

    text = printed("audit", "prove", event[-8:])
    (here.folder / "proof.json").write_text(text)
    printed("audit", "export", "proved", stderr="")
    [program] = blocks("auditing.md", "python")
    done = subprocess.run(
        [sys.executable, "-c", program, "proof.json", "proved/entries.jsonl"],
        cwd=here.folder,
        capture_output=True,
        text=True,
        check=True,
    )
    (here.folder / "proof.json").unlink()  # it has a code

    proof = json.loads(text)
    sent = [one for one in here.delivered() if one["id"] == event]
    assert done.stdout.strip() == "proved"
    assert is_in_log(proof)
    assert json.loads(proof["leaf"])["event"] == event
    assert json.loads(proof["event"])["data"]["code"] == live.code(4712)
    assert [json.loads(proof["event"])] == sent


def test_proof_is_a_reading_of_its_user(here):
    """Mutant: the line comes with the next commit, or not at all."""
    event = accepted(here, 4713)

    lines = [one["leaf"] for one in read("audit", "list", "--event", event, "--do", "code.read")]

    [line] = [{name: one[name] for name in one if name not in ("n", "at")} for one in lines]
    its = {"how": "prove", "event": event, "fields": ["text", "code"]}
    assert line == {"do": "code.read", "by": ME, **its}
    shown = read("audit", "who", event)["readers"]
    assert (ME, "prove", True) in [(one["by"], one["how"], one["clear"]) for one in shown]


def test_erased_event_cannot_be_proved(here):
    """Mutant: its masked body is handed out."""
    event = accepted(here, 4714)
    printed("events", "erase", event)

    result = run("audit", "prove", event)

    assert (result.exit_code, result.stdout) == (1, "")
    assert "its content is erased" in result.stderr


def test_export_and_backup_have_lines_of_their_user(here):
    """Mutants: a command without its line; the path of the configuration."""
    printed("audit", "export", "recorded")
    printed("backup", "copy.db")
    printed("backup", "copy.db", "--keys", "copy.keys")

    lines = read("audit", "list", "--by", ME, "--do", "audit.exported", "--do", "backup.made")

    exported, first, second = [one["leaf"] for one in lines][-3:]
    assert exported["file"] == str(here.folder / "recorded")
    assert exported["size"] > 0
    assert (first["file"], "keys" in first) == (str(here.folder / "copy.db"), False)
    assert second["keys"] == str(here.folder / "copy.keys")
    (here.folder / "copy.keys").unlink()


def test_backup_whose_keys_fail_has_its_line(here):
    """Mutants: the line comes after both copies; the paths are checked after the first copy."""
    (here.folder / ".stuck.keys.unfinished").mkdir()

    early = run("backup", "early.db", "--keys", "gone/copy.keys")
    late = run("backup", "late.db", "--keys", "stuck.keys")
    same = run("backup", "same.db", "--keys", "same.db")

    (here.folder / ".stuck.keys.unfinished").rmdir()
    assert [one.exit_code for one in (early, late, same)] == [1, 1, 2]
    made = [(here.folder / f"{name}.db").exists() for name in ("early", "late", "same")]
    assert made == [False, True, False]
    line = read("audit", "list", "--do", "backup.made")[-1]["leaf"]
    assert (line["file"], "keys" in line) == (str(here.folder / "late.db"), False)


# A stopped service


@pytest.fixture(scope="module")
def stopped(tmp_path_factory):
    """The folder of a stopped service with one event, and its id."""
    service = live.Live(tmp_path_factory.mktemp("stopped"), CONFIG)
    with service:
        event = service.accept(1)
        live.eventually(service.delivered)
        service.stop()
    return service.folder, event


@pytest.fixture
def copied(stopped, tmp_path, monkeypatch):
    """A copy of it; each test changes another row."""
    folder, event = stopped
    shutil.copytree(folder, tmp_path / "copy")
    be_in(tmp_path / "copy", monkeypatch)
    return tmp_path / "copy" / "smshook.db", event


def lines(journal):
    with shell(journal) as conn:
        rows = conn.execute("select lines from audit order by n").fetchall()
    return [json.loads(line) for (run,) in rows for line in run.split(b"\n")]


def test_stopped_service_has_the_line_too(copied):
    """Mutant: only a running service records."""
    journal, event = copied

    proof = json.loads(printed("audit", "prove", event))
    printed("backup", "copy.db")

    *_, stopping, proved, backed_up = lines(journal)
    assert is_in_log(proof)
    assert stopping["do"] == "service.stopping"
    assert (proved["by"], proved["how"], proved["event"]) == (ME, "prove", event)
    assert (backed_up["by"], backed_up["do"]) == (ME, "backup.made")


def test_journal_that_a_restored_one_replaced_is_not_changed(tmp_path, monkeypatch):
    """It is evidence: its log can be exported again and again.

    Mutant: the line about the first export begins another log in it.
    """
    be_in(tmp_path, monkeypatch)
    with live.Live(tmp_path, CONFIG) as service:
        service.post(live.sms(4713))
        service.stop()
        printed("backup", "copy.backup")
        first = printed("audit", "key")
        (tmp_path / "before").mkdir()
        for path in tmp_path.glob("smshook.db*"):
            path.rename(tmp_path / "before" / path.name)
        printed("restore", "copy.backup")
        service.start()
        service.stop()
    monkeypatch.setenv("SMSHOOK_JOURNAL__URL", "sqlite:///before/smshook.db")
    before = (tmp_path / "before" / "smshook.db").read_bytes()

    for folder in ("old", "again"):
        done = run("audit", "export", folder)
        assert done.exit_code == 0
        assert "not in the audit log: other keys" in done.stderr
    assert printed("audit", "key") == first
    key = first.split()[1]
    assert printed("audit", "verify", "again", "--key", key).startswith("unchanged")
    assert (tmp_path / "before" / "smshook.db").read_bytes() == before


def test_nothing_is_shown_without_its_line(copied):
    """Mutant: the proof is printed first."""
    journal, event = copied
    with shell(journal) as conn:
        before = conn.execute("select count(*) from audit").fetchone()
    lock = Lock(journal)  # another process that starts
    try:
        result = run("audit", "prove", event)
    finally:
        lock.release()

    assert (result.exit_code, result.stdout) == (1, "")
    assert "does not listen yet" in result.stderr
    with shell(journal) as conn:
        assert conn.execute("select count(*) from audit").fetchone() == before


def test_rotation_beside_a_stopped_service_has_its_line(copied):
    """Mutant: only a running service sees it."""
    config = copied[0].with_name("smshook.yaml")
    old = '"the-root-key-of-the-tests-0123456789"'
    text = config.read_text()
    assert old in text
    config.write_text(text.replace(old, f'"another-root-key-of-the-tests-0123456789", {old}'))

    printed("seal", "rotate")

    with shell(copied[0]) as conn:
        rows = conn.execute("select lines from audit order by n desc limit 1").fetchone()
    line = json.loads(rows[0].splitlines()[-1])
    assert (line["do"], line["by"]) == ("seal.rotated", ME)


def test_backup_is_made_even_if_its_line_is_not(copied):
    """Also of a journal of another version, which is not migrated. Mutant: it is migrated."""
    journal, _ = copied
    with shell(journal) as conn:
        conn.execute("delete from _sqlite_migrations where name like 'm024%'")

    result = run("backup", "copy.db")

    assert result.exit_code == 0
    assert "note: this is not in the audit log: " in result.stderr
    assert "another version" in result.stderr
    assert journal.with_name("copy.db").exists()


@pytest.mark.parametrize(
    ("sql", "code", "said"),
    [
        ("delete from audit_checkpoints", 2, "not signed yet"),
        ("delete from audit", 2, "no line commits to it"),
        (
            "update events set body = replace(body, 'Google', 'Goggle')",
            2,
            "the journal and the log say different things",
        ),
        (
            "update audit set lines = cast(replace(lines, '127.0.0.1', '127.0.0.2') as blob)",
            2,
            "the log was changed",
        ),
        ("update events set erased_at = 1, codes = null, people = null", 1, "content is erased"),
        ("delete from events", 1, "no event has an id that ends in"),
    ],
)
def test_what_cannot_be_proved_is_said(copied, sql, code, said):
    """Mutant: the proof is not tested before it is handed out."""
    journal, event = copied
    with shell(journal) as conn:
        assert conn.execute(sql).rowcount > 0

    result = run("audit", "prove", event)

    assert (result.exit_code, result.stdout) == (code, ""), result.stderr
    assert said in result.stderr
