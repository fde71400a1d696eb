"""Root keys come from the configuration, or once from a command."""

import os
import sys
import time

import pytest

from core.secret import Secret
from server.config import roots
from server.config.options import Sealing
from server.config.roots import NoRootKey, root_keys

FIRST, SECOND = "the first root key of these tests", "the second root key of these tests"


def printed(folder, script):
    """Return the root keys that a Python script prints."""
    (folder / "keys.py").write_text(script)
    return root_keys(Sealing(command=(sys.executable, "keys.py")), folder)


def test_root_keys_of_the_configuration_are_taken(tmp_path):
    written = (Secret(FIRST), Secret(SECOND))

    assert root_keys(Sealing(root=written), tmp_path) == written
    assert root_keys(Sealing(), tmp_path) == ()


def test_command_prints_one_key_a_line(tmp_path):
    """It runs in the folder of the configuration. Mutant: in the current folder."""
    keys = printed(tmp_path, f"print('{FIRST}')\nprint()\nprint('{SECOND}')")

    assert keys == (Secret(FIRST), Secret(SECOND))


@pytest.mark.parametrize(
    ("script", "complaint"),
    [
        (f"print('{FIRST}'); exit(3)", "failed with exit code 3"),
        ("", "printed nothing"),
        (f"print('{FIRST[:31]}')", "printed a root key that is shorter than 32 characters"),
    ],
)
def test_failed_command_is_no_root_key(tmp_path, script, complaint):
    """Mutants: an empty output seals nothing; the error repeats the output."""
    with pytest.raises(NoRootKey) as failure:
        printed(tmp_path, script)

    assert complaint in str(failure.value)
    assert str(failure.value).startswith("seal.command: ")
    assert FIRST[:20] not in str(failure.value)


def test_command_reads_nothing_from_the_terminal(tmp_path):
    """It would wait for an answer that nobody gives. Mutant: it has the input of smshook."""
    given, typed = os.pipe()
    os.write(typed, SECOND.encode())
    os.close(typed)
    kept = os.dup(0)
    os.dup2(given, 0)
    try:
        keys = printed(tmp_path, f"import sys\nprint(sys.stdin.read() or '{FIRST}')")
    finally:
        os.dup2(kept, 0)
        os.close(kept)
        os.close(given)

    assert keys == (Secret(FIRST),)


def test_slow_command_is_ended(tmp_path, monkeypatch):
    monkeypatch.setattr(roots, "WITHIN", 0.2)
    began = time.monotonic()

    with pytest.raises(NoRootKey, match=r"no output within 0\.2 s"):
        printed(tmp_path, "import time; time.sleep(60)")

    assert time.monotonic() - began < 10


def test_missing_command_is_named(tmp_path):
    with pytest.raises(NoRootKey, match="missing-program cannot be run: No such file"):
        root_keys(Sealing(command=("missing-program",)), tmp_path)
