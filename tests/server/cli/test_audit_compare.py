"""`audit compare`: one changed row among many is found."""

import asyncio
import json
import re

import live
import load
import pytest
from journals import shell
from prompt import be_in, printed, run

from journal.audit.lines import line_erased
from journal.sqlite.audit_lines import unpack
from server import stopped
from server.config.load import load as load_config

CONFIG = live.CONFIG + "audit: {checkpoint: 1s}\nretention: {events: 1d}\n"
CLIENTS = 8


def accept_under_kills(folder, count, *, kills):
    """Accept about so many events. The service is killed amid the load, and ends at last."""
    service = live.Live(folder, CONFIG)
    part = count // (kills + 1)

    def messages(begin, *, is_killed):
        for n in range(begin, begin + part):
            if is_killed and n == begin + part - CLIENTS:
                service.process.kill()
            yield n, live.sms(n, at=1_700_000_000 + n)

    for round_ in range(kills + 1):
        service.start()
        path = service.callback_url().removeprefix(service.url)
        sent = messages(round_ * part, is_killed=round_ < kills)
        asyncio.run(load.send(service.address(), path, sent, clients=CLIENTS))
        if round_ < kills:
            service.process.wait(10)
    assert service.post(live.sms(0, at=1_700_000_000)).json()["status"] == "duplicate"
    live.eventually(lambda: service.stats()["deliveries"]["pending"] == 0, within=120)
    service.stop()
    return folder


@pytest.fixture(scope="module")
def filled(tmp_path_factory):
    return accept_under_kills(tmp_path_factory.mktemp("compared"), 300, kills=2)


def moved(folder, target, monkeypatch):
    """Copy a journal, and be where it is."""
    for name in ("smshook.db", "smshook.keys", "smshook.yaml"):
        (target / name).write_bytes((folder / name).read_bytes())
    (target / "smshook.yaml").chmod(0o600)
    be_in(target, monkeypatch)
    return target / "smshook.db"


@pytest.fixture
def journal(filled, tmp_path, monkeypatch):
    """A copy of it: each test changes another row."""
    return moved(filled, tmp_path, monkeypatch)


def edit(journal, sql):
    with shell(journal) as conn:
        assert conn.execute(sql).rowcount == 1


def stored(journal):
    with shell(journal) as conn:
        return conn.execute("select count(*) from events").fetchone()[0]


@pytest.mark.parametrize("row", ["x'7801ffff'", "x''", "x'7b22'"])
def test_damaged_row_is_named_without_a_traceback(journal, tmp_path, row):
    """Mutants: the error of the decoder ends the command; its lines are skipped in silence."""
    edit(journal, f"update audit set lines = {row} where n = (select min(n) from audit)")  # noqa: S608 - ours

    found, exported = run("audit", "compare"), run("audit", "export", str(tmp_path / "export"))

    assert (found.exit_code, exported.exit_code) == (1, 1)
    assert "line 0 of the log is damaged" in found.stdout
    assert exported.stderr.startswith("the lines are not those of the checkpoint of ")


def compared():
    """Compare a journal that fits its log; return the numbers of events and attempts."""
    said = printed("audit", "compare")
    events, erased, attempts, _ = map(int, re.findall(r"\d+", said))
    assert erased == 0
    return events, attempts


def test_journal_fits_its_log(journal):
    """Mutant: a line that is not written, or that commits to another event."""
    events, attempts = compared()

    assert events == stored(journal) > 200
    assert attempts >= events


def test_lines_of_the_log_name_their_lines_in_the_audit_log(filled, journal):
    """Each event and attempt logged before a kill names its line; no line is named twice.

    Mutants: the number of another write of the same commit; a duplicate without its number.
    """
    printed("audit", "export", "lines")
    found = [
        json.loads(line)
        for line in (journal.parent / "lines/entries.jsonl").read_text().splitlines()
    ]
    by_number = {line["n"]: line for line in found}
    logged = [
        line
        for line in map(json.loads, (filled / "stdout.log").read_text().splitlines())
        if line["event"] in ("callback.accepted", "callback.duplicate", "delivery.attempted")
    ]

    assert len(logged) > 400
    assert "callback.duplicate" in {line["event"] for line in logged}
    assert len({line["leaf"] for line in logged}) == len(logged)
    for line in logged:
        its = by_number[line["leaf"]]
        assert (line["event"], line["event_id"]) == (its["do"], its["event"])
        assert line.get("sink") == its.get("sink")
        assert line.get("attempt") == its.get("attempt")


def test_comparison_and_proof_make_no_key_file(journal):
    """Mutant: the keys are opened as the service opens them."""
    journal.with_name("smshook.keys").unlink()

    compared = run("audit", "compare")
    events = stored(journal)

    assert compared.exit_code == 0
    assert compared.stdout.startswith(f"compared {events} events, {events} of them without")
    with shell(journal) as conn:
        (id_,) = conn.execute("select max(id) from events").fetchone()
    assert run("audit", "prove", id_).exit_code == 1
    journal.unlink()
    assert run("audit", "compare").exit_code == 2
    assert not [path.name for path in journal.parent.glob("smshook.keys*")]


@pytest.mark.nightly
@pytest.mark.timeout(900)
def test_one_changed_row_of_10000_is_named(tmp_path, tmp_path_factory, monkeypatch):
    folder = accept_under_kills(tmp_path_factory.mktemp("large"), 10_200, kills=9)
    journal = moved(folder, tmp_path, monkeypatch)

    assert compared()[0] == stored(journal) >= 10_000
    edit(journal, "update events set body = replace(body, 'code', 'kode') where seq = 4711")
    result = run("audit", "compare")

    with shell(journal) as conn:
        [id_] = conn.execute("select id from events where seq = 4711").fetchone()
    changed = [line for line in result.stdout.splitlines() if line.startswith("CHANGED: ")]
    assert changed == [f"CHANGED: event {id_}: the journal and the log say different things"]
    assert result.exit_code == 1


def prune_half(journal):
    """Prune the first 150 events: they become a day older."""
    with shell(journal) as conn:
        conn.execute("update events set recorded_at = recorded_at - 100000 where seq <= 150")
    printed("prune")


def test_pruned_events_need_not_be_there(journal):
    before = stored(journal)
    prune_half(journal)

    assert compared()[0] == stored(journal) == before - 150


@pytest.mark.parametrize(
    ("seq", "is_hidden", "said"),
    [
        (160, False, "it was accepted, but the journal does not have it"),
        (160, True, "151 events are gone, but retention removed only 150"),
        (270, False, "it was accepted, but the journal does not have it"),
        (270, True, "it was accepted, but the journal does not have it"),
    ],
)
def test_event_that_retention_did_not_remove_is_missed(journal, seq, is_hidden, said):
    """Also if it was put among those that were removed.

    Mutants: after a first run of retention, no event is missed; the number is not compared; the
    place is not compared.
    """
    prune_half(journal)
    if is_hidden:
        edit(
            journal,
            "insert into pruned_events (seq, id, recorded_at)"  # noqa: S608 - ours
            f" select seq, id, recorded_at from events where seq = {seq}",
        )
    edit(journal, f"delete from events where seq = {seq}")  # noqa: S608 - ours

    result = run("audit", "compare")

    assert (result.exit_code, result.stdout.count("CHANGED: ")) == (1, 1)
    assert said in result.stdout


def test_erased_line_of_an_event_is_not_missed(journal):
    """The log says that it was erased. Mutant: its event counts as one without a line."""
    with shell(journal) as conn:
        [id_] = conn.execute("select id from events where seq = 45").fetchone()
    config = load_config(journal.with_name("smshook.yaml"), environ={}).config
    stopped.record(config, line_erased(4711, by="cli/0", reason="a test", event=id_))
    rest = run("audit", "compare").exit_code
    with shell(journal) as conn:
        for n, row in conn.execute("select n, lines from audit").fetchall():
            kept = [
                b'{"erased":"AA=="}'
                if id_.encode() in one and b'"audit.erased"' not in one
                else one
                for one in unpack(row)
            ]
            conn.execute("update audit set lines = ? where n = ?", (b"\n".join(kept), n))

    assert (rest, run("audit", "compare").exit_code) == (0, 0)


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
    with shell(journal) as conn:
        rows = conn.execute("select n, lines from audit order by n").fetchall()
        last = max(n for n, row in rows if any(b'"config.loaded"' in one for one in unpack(row)))
        assert sum(len(unpack(row)) for n, row in rows if n <= last) > 60
        assert rows[-1][0] > last  # later lines remain
        conn.execute("delete from audit where n <= ?", (last,))
        conn.execute(
            "insert into api_keys (id, name, digest, scopes, created_at)"
            " select 'k', 'old', x'00', '[]', min(recorded_at) from events"
        )


def test_pruned_log_is_compared_from_its_first_line(journal):
    """Mutants: an old key or event needs its line; without `config.loaded`, nothing is compared."""
    prune(journal)

    result = run("audit", "compare")

    assert (result.exit_code, result.stderr) == (0, ""), result.stdout
    assert result.stdout.startswith(f"compared {stored(journal)} events")


@pytest.mark.parametrize(
    "sql",
    [
        (
            "update events set id = '01931c5e-0000-7000-8000-000000000000'"
            " where seq = (select max(seq) from events)"
        ),
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
    with shell(journal) as conn:
        conn.execute("delete from audit")
        conn.execute("delete from events")
        conn.execute("delete from attempts")

    result = run("audit", "compare")

    assert (result.exit_code, "audit.record" in result.stderr) == (2, True)
