"""`audit verify` without a folder: the log of a service over its API."""

import pytest
from audit_logs import week
from prompt import be_in, run
from serving import Handler, serving

from journal.audit.export import Tiles

PRUNED = 512


class Served:
    """A log that a service shows over its API. `files` has the answers by their paths."""

    def __init__(self, log):
        tiles = Tiles(log.pruned, log.hashes_at)
        found = [tile for line in log.lines[log.pruned :] for tile in tiles.append(line)]
        self.files = {tile.path: tile.data for tile in (*found, *tiles.rest())}
        self.files["checkpoint"] = log.newest.encode()
        self.files["checkpoints"] = "".join(log.checkpoints).encode()
        self.files["pruned"] = log.beginning.json().encode()
        self.keys, self.limited = set(), 0


@pytest.fixture
def served(tmp_path, monkeypatch):
    be_in(tmp_path, monkeypatch)
    log = week()
    log.prune(PRUNED)
    served = Served(log)
    served.first = str(log.first)

    class Log(Handler):
        def respond(self, _body):
            served.keys.add(self.headers["Authorization"])
            data = served.files.get(self.path.removeprefix("/v1/audit/log/"))
            limited = served.limited > 0
            served.limited -= 1
            status = 429 if limited else 404 if data is None else 200
            self.answer(status, b"" if limited or data is None else data, retry_after="0")

    with serving(Log) as server:
        served.url = server.url
        yield served


def verify(served):
    given = ["--url", served.url, "--api-key", "the-key-of-an-auditor"]
    return run("audit", "verify", *given, "--key", served.first)


def test_pruned_log_of_several_epochs_is_unchanged(served):
    """It waits if its key may not ask more. Mutants: a bundle is left out; the last bundle is read
    whole; checkpoints of the ends of epochs are left out."""
    served.limited = 2

    result = verify(served)

    assert (result.exit_code, result.stderr) == (0, "")
    assert f"lines {PRUNED} to " in result.stdout
    assert served.keys == {"Bearer the-key-of-an-auditor"}


def test_log_that_grows_meanwhile_is_unchanged(served):
    """Mutant: a checkpoint is kept that has more lines than were read."""
    log = week()
    log.grow(30)
    served.files["checkpoints"] = "".join(log.checkpoints).encode()

    assert verify(served).exit_code == 0


def test_changed_line_is_named(served):
    """Mutant: a change counts as a log that cannot be read."""
    [bundle] = [name for name in served.files if name.startswith("tile/entries/002")]
    served.files[bundle] = served.files[bundle].replace(b'"key/ana"', b'"key/eve"', 1)

    result = verify(served)

    assert (result.exit_code, result.stdout.startswith("CHANGED: lines ")) == (1, True)


def test_damaged_bundle_is_a_change(served):
    """Mutant: what is no bundle raises an error."""
    [bundle] = [name for name in served.files if name.startswith("tile/entries/002")]
    served.files[bundle] = b"\xff\xff{"

    assert verify(served).exit_code == 1


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda served: served.files.pop("checkpoint"), "404 for checkpoint"),
        (lambda served: served.files.pop("pruned"), "404 for pruned"),
        (lambda served: served.files.update(pruned=b"[]"), "is not an audit log"),
        (lambda served: served.files.update(checkpoint=b"junk"), "is not an audit log"),
        (lambda served: served.files.pop("tile/entries/002.p/214"), "404 for tile/entries/002"),
    ],
)
def test_log_that_cannot_be_read_is_not_checked(served, change, said):
    """Mutant: exit code 1, which would mean a change."""
    change(served)

    result = verify(served)

    assert (result.exit_code, result.stderr.startswith("NOT CHECKED: ")) == (2, True)
    assert said in result.stderr


def test_without_a_service_nothing_is_checked(tmp_path, monkeypatch):
    """Mutant: exit code 1, as for other commands."""
    be_in(tmp_path, monkeypatch)
    (tmp_path / "smshook.yaml").write_text(
        "api: {keys: {admin: {key: an-admin-key-of-a-test, scopes: [admin]}}}\n"
        "journal: {url: sqlite:///smshook.db}\n"
    )

    nothing_listens = ["--url", "http://127.0.0.1:9", "--api-key", "the-key-of-an-auditor"]

    results = [run("audit", *given) for given in (["verify"], ["compare"])]
    remote = run("audit", "verify", *nothing_listens)

    assert [one.exit_code for one in (*results, remote)] == [2, 2, 2]
    assert "NOT CHECKED: smshook is not running here" in results[0].stderr
    assert "NOT CHECKED: http://127.0.0.1:9: ConnectError" in remote.stderr
