"""`audit verify` and `audit verifier`, without a service."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from audit_logs import continued, week
from prompt import be_in, printed, run

from server.cli import audit_verify


@pytest.fixture
def folder(tmp_path, monkeypatch):
    be_in(tmp_path, monkeypatch)
    return tmp_path


@pytest.fixture
def log(folder):
    log = week()
    log.export(folder / "export")
    return log


@pytest.mark.usefixtures("folder")
def test_verifier_is_the_file_that_verify_runs():
    """Mutant: another file is printed."""
    assert Path(audit_verify.__file__).read_text() == printed("audit", "verifier")


def test_printed_verifier_accepts_an_export(folder, log):
    (folder / "audit_verify.py").write_text(printed("audit", "verifier"))

    done = subprocess.run(
        [sys.executable, "-I", "audit_verify.py", "export", "--key", str(log.first)],
        cwd=folder,
        check=False,
        capture_output=True,
        text=True,
    )

    assert (0, "") == (done.returncode, done.stderr)
    assert done.stdout == printed("audit", "verify", "export", "--key", str(log.first))


def test_verify_exits_with_1_after_a_change(folder, log):
    """Mutant: the exit code is always 0."""
    entries = folder / "export" / "entries.jsonl"
    entries.write_bytes(entries.read_bytes().replace(b'"r9"', b'"r8"'))

    result = run("audit", "verify", "export", "--key", str(log.first))

    assert (1, True) == (result.exit_code, result.stdout.startswith("CHANGED: lines 0 to 99"))


def test_verify_uses_anchors_and_age(folder, log):
    """Mutant: `--anchor` or `--fresh` is not passed on."""
    shutil.copytree("export", "older")
    log.grow(3)
    log.export(folder / "new")
    key = ["--key", str(log.first)]

    assert 0 == run("audit", "verify", "new", *key, "--anchor", "older/checkpoint").exit_code
    assert 1 == run("audit", "verify", "older", *key, "--anchor", "new/checkpoint").exit_code
    assert 1 == run("audit", "verify", "new", *key, "--fresh", "10m").exit_code


def test_verify_takes_the_logs_before_and_after_a_restore(folder, log):
    new = continued(log)
    new.export(folder / "new")
    keys = ["--key", str(log.first), "--key", str(new.first)]

    assert 0 == run("audit", "verify", "export", "new", *keys).exit_code


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ([], "NOT CHECKED: each log needs the key"),
        (["--key", "nonsense"], "Invalid value for '--key'"),
        (["--anchor", "none"], "No such file or directory: 'none'"),
        (["--fresh", "soon"], "Invalid value for '--fresh'"),
        (["--fresh", "0m"], "'0m' is not an age such as 10m"),
        (["--fresh=-1m"], "'-1m' is not an age such as 10m"),
    ],
)
@pytest.mark.usefixtures("log")
def test_verify_exits_with_2_if_it_cannot_check(options, text):
    """Mutant: a wrong option counts as a change of the log."""
    result = run("audit", "verify", "export", *options)

    assert (2, True) == (result.exit_code, text in result.output), result.output
