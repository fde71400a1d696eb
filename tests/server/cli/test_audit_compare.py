"""`audit compare`: one changed row among many is found."""

import contextlib
import re
import sqlite3

import live
import pytest
from prompt import be_in, run

CONFIG = live.CONFIG + "audit: {checkpoint: 1s}\n"


@pytest.fixture(scope="module")
def filled(tmp_path_factory):
    """A journal whose service was killed amid its work, twice."""
    folder = tmp_path_factory.mktemp("compared")
    service = live.Live(folder, CONFIG)
    for round_ in range(3):
        service.start()
        for n in range(30):
            assert service.post(live.sms(round_ * 100 + n)).status_code == 200
        if round_ < 2:
            service.kill()
        else:
            service.stop()
    return folder


@pytest.fixture
def journal(filled, tmp_path, monkeypatch):
    """A copy of it: each test changes another row."""
    for name in ("smshook.db", "smshook.keys", "smshook.yaml"):
        (tmp_path / name).write_bytes((filled / name).read_bytes())
    (tmp_path / "smshook.yaml").chmod(0o600)
    be_in(tmp_path, monkeypatch)
    return tmp_path / "smshook.db"


def edit(journal, sql):
    with contextlib.closing(sqlite3.connect(journal)) as conn, conn:
        assert conn.execute(sql).rowcount == 1


@pytest.mark.usefixtures("journal")
def test_journal_fits_its_log():
    """Mutant: a line that is not written, or that commits to another event."""
    result = run("audit", "compare")

    assert (result.exit_code, result.stderr) == (0, "")
    counts = re.findall(r"\d+", result.stdout)
    assert (counts[0], counts[1], int(counts[2]) >= 80) == ("90", "0", True)


@pytest.mark.parametrize(
    ("sql", "said"),
    [
        (
            "update events set body = replace(body, 'code', 'kode') where seq = 45",
            "the journal and the log say different things",
        ),
        ("delete from events where seq = 45", "it was accepted, but the journal does not have it"),
        (
            "update events set id = '01931c5e-0000-7000-8000-000000000000' where seq = 45",
            "no line says that it was accepted",
        ),
        (
            "update attempts set outcome = 'failed' where delivery = 45",
            "no line says that attempt 1 at log was failed",
        ),
        (
            (
                "insert into api_keys (id, name, digest, scopes, created_at)"
                " values ('k', 'stranger', x'00', '[]', 0)"
            ),
            "key stranger: no line says that it was made",
        ),
    ],
)
def test_one_changed_row_is_named(journal, sql, said):
    """Mutant: the commitment is not compared."""
    edit(journal, sql)

    result = run("audit", "compare")

    assert (result.exit_code, result.stdout.count("CHANGED: ") >= 1) == (1, True)
    assert said in result.stdout


def prune(journal):
    """Remove all lines that say what is recorded, and those before them."""
    with contextlib.closing(sqlite3.connect(journal)) as conn, conn:
        rows = conn.execute("select n, lines from audit order by n").fetchall()
        last = max(n for n, lines in rows if b"config.loaded" in lines)
        assert conn.execute("delete from audit where n <= ?", (last,)).rowcount > 60
        conn.execute(
            "insert into api_keys (id, name, digest, scopes, created_at)"
            " select 'k', 'old', x'00', '[]', min(recorded_at) from events"
        )


def test_pruned_log_is_compared_from_its_first_line(journal):
    """Mutants: an old key or event needs its line; without `config.loaded`, nothing is compared."""
    prune(journal)

    result = run("audit", "compare")

    assert (result.exit_code, result.stderr) == (0, ""), result.stdout
    assert result.stdout.startswith("compared 90 events")


@pytest.mark.parametrize(
    "sql",
    [
        "update events set id = '01931c5e-0000-7000-8000-000000000000' where seq = 85",
        "update api_keys set created_at = (select max(recorded_at) from events)",
    ],
)
def test_later_change_beside_a_pruned_log_is_named(journal, sql):
    """Mutant: a pruned log is compared with nothing."""
    prune(journal)
    edit(journal, sql)

    result = run("audit", "compare")

    assert (result.exit_code, "no line says that it was" in result.stdout) == (1, True)


def test_log_without_callbacks_is_not_compared(journal):
    with contextlib.closing(sqlite3.connect(journal)) as conn, conn:
        conn.execute("delete from audit")
        conn.execute("delete from events")
        conn.execute("delete from attempts")

    result = run("audit", "compare")

    assert (result.exit_code, "audit.record" in result.stderr) == (2, True)
