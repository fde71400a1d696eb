"""`seal init`, `seal show` and `seal rotate`, and what `check` says of a thief."""

import json
import os
import subprocess
from pathlib import Path

import live
import pytest
from pages import blocks
from prompt import be_in, printed, read, run

from core.secret import Secret
from journal.keyring import KeyFile, Keyring, Root
from server.cli.promises import IN_CLEAR
from server.config.load import load

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


def configured(folder, *roots):
    """Write a configuration with these root keys."""
    path = folder / "smshook.yaml"
    path.write_text(f"{CONFIG}seal: {{root: {json.dumps(roots)}}}\n")
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


def test_new_configuration_is_not_sealed_yet(folder):
    """Mutant: `init` writes a root key that its user does not know of, and may lose."""
    printed("init")

    assert load(folder / "smshook.yaml", environ={}).config.seal.is_on is False
    assert [path.name for path in folder.iterdir()] == ["smshook.yaml"]


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
    make, rotate, remove = blocks("how-to/rotate-the-root.md", "sh")
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
    typed(remove)
    write(one)

    [shown] = blocks("how-to/rotate-the-root.md", "")
    assert output == shown.replace("4f1c09aa", fingerprint(ROOT))
    [root] = load(folder / "smshook.yaml", environ={}).config.seal.root
    assert keyring(folder, root.reveal()).current("codes", NOW) == before.current("codes", NOW)
    assert sorted(path.name for path in folder.glob("smshook.root*")) == ["smshook.root"]


# check


@pytest.fixture
def elsewhere(folder):
    """A file with the root key on another disk."""
    path = SHARED / f"smshook-root-{folder.name}-{os.getpid()}"
    path.write_text(ROOT)
    path.chmod(0o600)
    yield path
    path.unlink()


@pytest.mark.skipif(not SHARED.is_dir(), reason="there is no /dev/shm")
@pytest.mark.parametrize(
    ("written", "says"),
    [
        (ROOT, "the root key lies on the journal's disk: a stolen disk opens it"),
        (
            "${file:smshook.root}",
            "the root key lies on the journal's disk: a stolen disk opens it",
        ),
        (
            "${file:ELSEWHERE}",
            "the root key lies on another disk: a stolen disk does not open the journal",
        ),
        ("${ROOT_KEY}", "the root key is in no file: only a disk that holds it opens the journal"),
    ],
)
def test_check_says_what_a_thief_of_the_disk_gets(folder, elsewhere, written, says):
    """Mutants: only the path is compared; the configuration does not count."""
    (folder / "smshook.root").write_text(ROOT)
    configured(folder, written.replace("ELSEWHERE", str(elsewhere)))

    output = run("check", ROOT_KEY=ROOT).stdout

    assert says in [line.strip() for line in output.partition("secrecy\n")[2].splitlines()]


def test_check_says_that_a_journal_is_in_clear(folder):
    configured(folder)

    output = run("check").stdout

    assert f"  smshook.db: {IN_CLEAR}\n" in output
