"""Go's own transparency logs accept an export, and reject one changed letter.

golang.org/x/mod/sumdb comes from Debian: golang-go and golang-golang-x-mod-dev.
"""

import base64
import shutil
import subprocess
from pathlib import Path

import pytest
from audit_logs import week

from journal.audit.tree import prove_inclusion
from server.cli.audit_export import add_tiles

GOPATH = Path("/usr/share/gocode")
SUMDB = GOPATH / "src/golang.org/x/mod/sumdb"
PROGRAM = Path(__file__).parent / "sumdb" / "verify.go"
RECORD = 1234

pytestmark = [
    pytest.mark.nightly,
    pytest.mark.skipif(shutil.which("go") is None, reason="golang-go is not installed"),
    pytest.mark.skipif(not SUMDB.is_dir(), reason="golang-golang-x-mod-dev is not installed"),
    pytest.mark.timeout(600),  # the compiler begins with an empty cache
]


@pytest.fixture(scope="module")
def verify(tmp_path_factory):
    folder = tmp_path_factory.mktemp("go")
    program = folder / "verify"
    environment = {
        "PATH": "/usr/bin:/bin",
        "GOPATH": str(GOPATH),
        "GO111MODULE": "off",
        "GOCACHE": str(folder / "cache"),
        "HOME": str(folder),
    }
    command = ["go", "build", "-o", str(program), str(PROGRAM)]
    subprocess.run(command, env=environment, check=True)

    def run(export, key):
        done = subprocess.run(
            [str(program), str(export), str(key), str(RECORD)],
            capture_output=True,
            text=True,
            check=False,
        )
        return done.returncode, done.stdout.splitlines(), done.stderr

    return run


@pytest.fixture(scope="module")
def log():
    log = week()
    log.grow(3000 - len(log.lines))
    return log


@pytest.fixture
def export(log, tmp_path):
    folder = log.export(tmp_path / "export")
    add_tiles(folder)
    return folder


def test_go_accepts_an_export(verify, log, export):
    """It finds all lines, and makes the same proof. The epoch's signature is unknown to it.

    Mutant: a node is hashed without its first byte.
    """
    proof = [
        base64.b64encode(hash_).decode() for hash_ in prove_inclusion(RECORD, 3000, log.hash_at)
    ]

    assert (0, [*proof, "1 1 3000 3000"], "") == verify(export, log.log_key.verifier)


def test_go_rejects_one_changed_letter(verify, log, export):
    """In a line, a hash, the checkpoint or the key."""
    for name in ("tile/entries/004", "tile/0/004", "tile/1/000.p/11", "checkpoint"):
        path = export / name
        data = path.read_bytes()
        path.write_bytes(data[:60] + bytes([data[60] ^ 1]) + data[61:])

        code, _, error = verify(export, log.log_key.verifier)

        assert code, name
        assert error
        path.write_bytes(data)
    assert 1 == verify(export, week(owner="stranger").log_key.verifier)[0]
