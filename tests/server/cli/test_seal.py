"""`seal init`, `seal show` and `seal rotate`, and what `check` says of a thief."""

import asyncio
import json
import os
import subprocess
import tempfile
from pathlib import Path

import live
import pytest
from contracts.journal import arrival, planned, record
from journals import shell
from pages import blocks
from prompt import be_in, printed, read, run
from sealing import SealedStore

from core.secret import Secret
from journal.keyring import KeyFile, Keyring, Root
from journal.lock import Holder, Lock
from server import stopped
from server.cli import seal as seal_commands
from server.cli.promises import IN_CLEAR
from server.config.load import load
from server.runtime.sealing import SealRun

ROOT, OTHER = "the root key of these tests, 0123456789", "another root key of these tests, 0123"
CONFIG = """\
sinks: {log: {type: file, path: events.jsonl}}
routes: {everything: {to: [log]}}
server: {secret: "nT2v8Qx4Lk9Zr1Wp6Yb3Hd7Mc5Jf0Gs8"}
"""
NOW = 1_790_000_000.0
SHARED = Path("/dev/shm")  # noqa: S108 - another disk than that of the tests


@pytest.fixture
def folder(tmp_path, monkeypatch):
    be_in(tmp_path, monkeypatch)
    return tmp_path


def configured(folder, *roots, **options):
    """Write a configuration with these root keys and options of `seal`."""
    path = folder / "smshook.yaml"
    seal = options | ({"root": roots} if roots else {})
    path.write_text(f"{CONFIG}seal: {json.dumps(seal)}\n")
    path.chmod(0o600)


def keyring(folder, *roots):
    secrets = [Secret(root) for root in roots]
    return Keyring(folder / "smshook.keys", secrets, period=3600.0, now=NOW)


def fingerprint(root):
    return Root(Secret(root)).fingerprint


def failed(*arguments):
    result = run(*arguments)
    return result.exit_code, result.stderr.strip()


# seal init


def test_seal_init_prints_lines_that_load(folder):
    path = folder / "smshook.yaml"
    path.write_text(CONFIG)
    path.chmod(0o600)

    lines = printed("seal", "init").partition("\n\n")[2]
    path.write_text(CONFIG + lines)

    assert load(path, environ={}).config.seal.is_on
    assert failed("seal", "init") == (
        1,
        f"{folder}/smshook.root exists already; nothing was written",
    )


# seal show


def test_shown_keys_are_counted_by_kind_and_root(folder):
    configured(folder, OTHER, ROOT)
    keyring(folder, ROOT)

    shown = read("seal", "show")

    assert shown["roots"] == [
        {"root": fingerprint(OTHER), "configured": True, "wraps": True, "keys": 0},
        {"root": fingerprint(ROOT), "configured": True, "wraps": False, "keys": 7},
    ]
    assert [kind["kind"] for kind in shown["kinds"]] == [
        *("codes", "people", "raw", "quarantine", "dedupe")
    ]
    assert shown["kinds"][0]["newest"] == "2026-09-21T14:00:00.000000Z"


def test_next_destruction_follows_retention(folder):
    """Mutants: the beginning of the period counts; a kind without a limit has a date, or none."""
    configured(folder, ROOT)
    path = folder / "smshook.yaml"
    written = path.read_text()
    keyring(folder, ROOT)

    def shown(retention):
        path.write_text(f"{written}retention: {retention}\n")
        return {kind["kind"]: kind["destroyed_next"] for kind in read("seal", "show")["kinds"]}

    assert shown("{codes: 24h, events: 90d}") == {
        "codes": "2026-09-22T15:00:00.000000Z",
        "people": "2026-12-22T00:00:00.000000Z",  # a day later than the events
        "raw": "2026-09-22T15:00:00.000000Z",
        "quarantine": "2026-10-22T00:00:00.000000Z",
        "dedupe": "2027-01-30T00:00:00.000000Z",
    }
    assert shown("{codes: 24h, events: null, quarantine: null}") == {
        "codes": "2026-09-22T15:00:00.000000Z",
        "people": None,
        "raw": "2026-09-22T15:00:00.000000Z",
        "quarantine": None,
        "dedupe": None,
    }


def test_rows_under_another_key_are_a_failure(folder):
    """The key file was lost, and made again within the period. Mutant: the keys are not tried."""
    configured(folder, ROOT)

    async def store():
        journal = await SealedStore(folder / "smshook.db", keyring(folder, ROOT)).start(now=NOW)
        await record(journal, planned(at=NOW, text="the text"), came=arrival(at=NOW))
        await journal.close()

    asyncio.run(store())
    before = read("seal", "show")["without_key"]
    (folder / "smshook.keys").unlink()
    keyring(folder, ROOT)

    code, error = failed("seal", "show")

    assert not any(before.values())
    assert (code, "smshook.keys does not have all keys of the stored rows" in error) == (1, True)


def test_journal_of_an_older_version_is_not_counted(folder):
    """Mutant: it counts as sealed, because it has no marks."""
    configured(folder, ROOT)
    keyring(folder, ROOT)
    nothing = read("seal", "show")
    with shell(folder / "smshook.db") as conn:
        conn.execute("create table meta (name, value)")

    code, error = failed("seal", "show")

    assert (nothing["in_clear"], nothing["without_key"]) == ({}, {})
    assert (code, "an older version made" in error) == (1, True)


def test_progress_is_shown_on_a_terminal_only(monkeypatch, capsys):
    run_ = {"found": {"events": 9}, "sealed": {"events": 3}, "erased": {"events": 1}}
    seal_commands._show(run_)
    assert capsys.readouterr().err == ""

    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    for run_under_way in (run_, {"found": {}, "sealed": {}, "erased": {}}):
        seal_commands._show(run_under_way)

    assert capsys.readouterr().err == "\r\x1b[K4 of 9 rows"


def test_rows_that_stay_in_clear_are_a_failure(folder, monkeypatch):
    """Mutant: exit 0 after a run that did not seal all."""
    configured(folder, ROOT)
    rewritten = []
    error = "smshook.keys cannot be written: No space left on device"
    failing = SealRun(started_at=NOW, ended_at=NOW, error=error)
    monkeypatch.setattr(stopped, "seal", lambda _config, progress: progress(failing) or failing)
    monkeypatch.setattr(seal_commands, "vacuumed", lambda: rewritten.append(1))

    code, shown = failed("seal", "migrate", "--vacuum")

    assert (code, shown) == (1, f"not all rows are sealed: {error}; call it again")
    assert rewritten == []


def test_nothing_is_migrated_without_seal(folder):
    configured(folder)

    code, error = failed("seal", "migrate")

    assert (code, error.startswith("nothing is sealed: seal.root is not set")) == (2, True)
    assert not (folder / "smshook.db").exists()


def test_no_command_shows_a_key(folder):
    """Mutant: the wrapped key, or the root key, in an error."""
    configured(folder, ROOT)
    ring = keyring(folder, ROOT)
    (_, key) = ring.current("codes", NOW)

    results = [run("seal", "show"), run("seal", "rotate"), run("check"), run("config", "show")]

    output = "".join(result.stdout + result.stderr for result in results)
    assert ROOT not in output
    assert key.hex() not in output
    assert fingerprint(ROOT) in output


def test_missing_root_key_is_named(folder):
    configured(folder, OTHER)
    keyring(folder, ROOT)

    code, error = failed("seal", "show")

    assert code == 1
    assert error.endswith(
        f"smshook.keys needs the root key {fingerprint(ROOT)}: add it to seal.root"
    )


def test_damaged_file_is_reported(folder):
    configured(folder, ROOT)
    (folder / "smshook.keys").write_text("damaged")

    for command in ("show", "rotate"):
        code, error = failed("seal", command)
        assert (code, "smshook.keys is damaged" in error) == (1, True)
    assert (folder / "smshook.keys").read_text() == "damaged"


def test_nothing_sealed_is_a_wrong_configuration(folder):
    configured(folder)

    assert failed("seal", "show") == (
        2,
        "nothing is sealed: seal.root is not set; `smshook seal init` makes a root key",
    )


def test_missing_key_file_is_reported(folder):
    configured(folder, ROOT)

    code, error = failed("seal", "show")
    assert (code, "there is no" in error) == (1, True)
    assert not (folder / "smshook.keys").exists()


@pytest.mark.parametrize(
    ("change", "exit_code", "error"),
    [
        (lambda data: data, 2, "needs the root key"),
        (lambda data: data.replace(b"codes", b"coded"), 1, "is damaged"),
    ],
)
def test_check_fails_where_the_start_would(folder, change, exit_code, error):
    """Mutant: `check` says that all is well, and the service does not start."""
    configured(folder, OTHER)
    keyring(folder, ROOT)
    path = folder / "smshook.keys"
    path.write_bytes(change(path.read_bytes()))

    code, said = failed("check")

    assert (code, error in said) == (exit_code, True)


# seal rotate


def test_rotation_wraps_all_keys_and_names_the_old_root(folder):
    before = keyring(folder, ROOT)
    configured(folder, OTHER, ROOT)

    output = printed("seal", "rotate")

    assert output == (
        f"the root key {fingerprint(ROOT)} is no longer needed: remove it from seal.root\n"
    )
    assert {key.root for key in KeyFile.read(folder / "smshook.keys").keys.values()} == {
        fingerprint(OTHER)
    }
    after = keyring(folder, OTHER)
    assert after.current("codes", NOW) == before.current("codes", NOW)


def test_rotation_under_a_service_with_the_old_root_is_refused(folder):
    """Mutant: it rotates, and the service wraps its next keys with a root key that is removed."""
    keyring(folder, ROOT)
    configured(folder, OTHER, ROOT)

    with Lock(folder / "smshook.db") as lock:
        lock.publish(Holder(pid=7, root=fingerprint(ROOT)))
        refused = failed("seal", "rotate")
        lock.publish(Holder(pid=7, root=fingerprint(OTHER)))
        printed("seal", "rotate")

    assert refused == (1, "process 7 does not use the first root key yet: restart it first")


def test_rotation_without_a_new_root_is_refused(folder):
    configured(folder, ROOT)
    keyring(folder, ROOT)
    data = (folder / "smshook.keys").read_bytes()

    assert failed("seal", "rotate") == (
        2,
        "the first root key wraps all keys already: add the new one before it",
    )
    assert (folder / "smshook.keys").read_bytes() == data


def test_steps_of_the_page_rotate_the_root_key(folder):
    """Mutants: a command of the page that is misspelt; the old root key still opens the file."""
    make, rotate, rename, destroy = blocks("how-to/rotate-the-root.md", "sh")
    both, one = blocks("how-to/rotate-the-root.md", "yaml")
    (folder / "smshook.root").write_text(ROOT)
    before = keyring(folder, ROOT)

    def typed(script):
        path = f"{Path(live.command()).parent}:{os.environ['PATH']}"
        return subprocess.run(
            ["sh", "-ec", script],
            cwd=folder,
            env=os.environ | {"PATH": path},
            capture_output=True,
            text=True,
            check=True,
            timeout=30,
        ).stdout

    def write(seal):
        (folder / "smshook.yaml").write_text(CONFIG + seal)
        (folder / "smshook.yaml").chmod(0o600)

    typed(make)
    write(both)
    output = typed(rotate)
    typed(rename)
    write(one)
    shown = read("seal", "show")["roots"]
    typed(destroy)

    [said] = blocks("how-to/rotate-the-root.md", "")
    assert output == said.replace("4f1c09aa", fingerprint(ROOT))
    assert [one["wraps"] for one in shown] == [True]
    [root] = load(folder / "smshook.yaml", environ={}).config.seal.root
    assert keyring(folder, root.reveal()).current("codes", NOW) == before.current("codes", NOW)
    assert sorted(path.name for path in folder.glob("smshook.root*")) == ["smshook.root"]


# check


@pytest.fixture
def elsewhere():
    """A folder on another file system, with a file that holds the root key."""
    if not SHARED.is_dir():
        pytest.skip("there is no /dev/shm")
    with tempfile.TemporaryDirectory(dir=SHARED) as name:
        path = Path(name) / "root"
        path.write_text(ROOT)
        path.chmod(0o600)
        yield path.parent


HOLDS = "a stolen disk opens the journal only if it holds"


@pytest.mark.parametrize(
    ("seal", "says"),
    [
        ({"root": [ROOT]}, "the root key lies on the journal's disk: a stolen disk opens it"),
        (
            {"root": ["${file:smshook.root}"]},
            "the root key lies on the journal's disk: a stolen disk opens it",
        ),
        (
            {"root": ["${file:ELSEWHERE/root}", "${file:smshook.root}"]},
            "the root key lies on the journal's disk: a stolen disk opens it",
        ),
        (
            {"root": ["${file:ELSEWHERE/root}"]},
            f"the root key lies on another file system: {HOLDS} that key, too",
        ),
        (
            {"root": ["${file:smshook.root}"], "file": "ELSEWHERE/keys"},
            f"the keys lie on another file system: {HOLDS} them, too",
        ),
        (
            {"root": ["${ROOT_KEY}"]},
            f"the root key comes from the environment: {HOLDS} that key, too",
        ),
        (
            {"root": ["${file:ELSEWHERE/root}", "${ROOT_KEY}"]},
            f"the root key comes from the environment: {HOLDS} that key, too",
        ),
        ({"command": ["vault", "read"]}, f"vault prints the root key: {HOLDS} what that needs"),
    ],
)
def test_check_says_what_a_thief_of_the_disk_gets(folder, elsewhere, seal, says):
    """Mutants: paths are compared; the configuration counts for nothing; only the first root key
    counts; a root key without a file counts for nothing; the key file counts for nothing.
    """
    (folder / "smshook.root").write_text(ROOT)
    (folder / "smshook.root").chmod(0o600)
    written = json.loads(json.dumps(seal).replace("ELSEWHERE", str(elsewhere)))
    configured(folder, **written)

    output = run("check", ROOT_KEY=ROOT).stdout

    assert [line.strip() for line in output.partition("secrecy\n")[2].splitlines()] == [
        (
            "smshook.db: texts, codes, numbers and callbacks encrypted, also in its backups;"
            " services, states and times in clear"
        ),
        f"{Path(seal.get('file', 'smshook.keys')).name}: their keys, wrapped with the root key",
        (
            "keys are destroyed: codes with their events within 92d, people with their events"
            " within 92d, raw within 169h, quarantine within 31d"
        ),
        says,
        "events.jsonl of log: texts, codes and numbers in clear; smshook erases none of them",
    ]


@pytest.mark.parametrize(
    ("retention", "says"),
    [
        (
            "codes: 24h, events: null",
            "codes within 25h, people never, raw within 25h, quarantine within 31d",
        ),
        (
            "codes: null, people: 2d, raw: 30d, quarantine: 12h, events: null",
            "codes never, people within 3d, raw within 49h, quarantine within 36h",
        ),
        (
            "codes: 5m, raw: null, quarantine: null",
            (
                "codes within 65m, people with their events within 92d, raw within 65m,"
                " quarantine never"
            ),
        ),
        (
            "codes: 10d, people: 400d, events: 11d",
            (
                "codes within 241h, people with their events within 13d, raw within 169h,"
                " quarantine within 31d"
            ),
        ),
    ],
)
def test_check_says_when_keys_are_destroyed(folder, retention, says):
    """A callback goes with its codes and numbers. Mutants: the period is not added; that of codes
    for every kind; `raw` alone for callbacks; a kind outlives the events that hold it.
    """
    configured(folder, ROOT)
    path = folder / "smshook.yaml"
    path.write_text(f"{path.read_text()}retention: {{{retention}}}\n")

    output = run("check").stdout

    assert f"  keys are destroyed: {says}\n" in output


@pytest.mark.parametrize(
    ("redact", "says"),
    [
        (None, "texts, codes and numbers in clear"),
        ("codes", "numbers in clear"),
        ("[data.to, data.from, data.previous_to, subject]", "texts and codes in clear"),
        ("people", ""),
    ],
)
def test_check_names_files_of_sinks_with_content_in_clear(folder, redact, says):
    """Sealing does not reach them. Mutants: only codes count; `redact` counts for nothing."""
    configured(folder, ROOT)
    path = folder / "smshook.yaml"
    written = path.read_text().replace("events.jsonl", f"events.jsonl, redact: {redact or 'null'}")
    path.write_text(written)

    [*_, last] = run("check").stdout.splitlines()

    line = f"  events.jsonl of log: {says}; smshook erases none of them"
    assert (last == line) is bool(says)


def test_check_says_that_a_journal_is_in_clear(folder):
    configured(folder)

    output = run("check").stdout

    assert f"  smshook.db: {IN_CLEAR}\n" in output


def test_backup_needs_no_root_key(folder):
    """The unit of an hourly backup has no credential of the service.

    Mutant: the command reads all of `seal`.
    """
    configured(folder, ROOT)
    run("migrate")
    keyring(folder, ROOT)
    configured(folder, "${SMSHOOK_NO_SUCH_ROOT}")

    made = run("backup", "copy.db", "--keys", "copy.keys")

    assert made.exit_code == 0
    assert (folder / "copy.db").exists()
    assert (folder / "copy.keys").read_bytes() == (folder / "smshook.keys").read_bytes()


@pytest.mark.parametrize("command", [["prune"], ["prune", "--dry-run"], ["seal", "migrate"]])
def test_missing_journal_is_not_made(folder, command):
    """Mutant: a new journal is made, and a restore refuses to replace it."""
    configured(folder, ROOT)

    done = run(*command)

    assert (done.exit_code, done.stderr) == (1, f"there is no journal at {folder}/smshook.db\n")
    assert list(folder.glob("smshook.db*")) == []
