"""`seal migrate` and `seal show`: of a running service, of a stopped one, and after kill -9."""

import json
import shutil
import signal
import sys
import time
from pathlib import Path

import forked
import live
import pytest
from canary import secrets_in
from journals import shell

KILL = Path(__file__).parent / "failpoints" / "kill_seal.py"
SENT = int(time.time())
CODES = [f"ZQ7-91827{n}" for n in range(6)]
NUMBERS = [f"1850555010{n}" for n in range(6)]
#: No delivery succeeds, so that some are pending; and the sink file would hold all in clear.
CONFIG = live.CONFIG.replace("events.jsonl", "missing/events.jsonl")
CLEAR = CONFIG.replace(live.SEAL, "")
BEFORE = "it was made before"


@pytest.fixture(scope="module")
def in_clear(tmp_path_factory):
    """The folder of a stopped service with a journal in clear."""
    folder = tmp_path_factory.mktemp("clear")
    with live.Live(folder, CLEAR, in_clear=BEFORE) as service:
        for n, (code, number) in enumerate(zip(CODES, NUMBERS, strict=True)):
            form = live.sms(n, at=SENT, to=number, text=f"{code} is it", pin=code)
            assert service.post(form).status_code == 200
        assert service.post(b"event=" + CODES[0].encode()).status_code == 200  # quarantined
        assert service.stop() == 0
    with shell(folder / "smshook.db") as conn:
        # All that was yesterday: a key file of today has no key of it.
        conn.execute("update events set recorded_at = recorded_at - 86400")
        for table in ("callbacks", "quarantine"):
            conn.execute(f"update {table} set at = at - 86400")  # noqa: S608 - our words
    return folder


@pytest.fixture
def filled(in_clear, tmp_path):
    """A stopped service on a copy of it; its configuration seals from now on."""
    shutil.copy(in_clear / "smshook.db", tmp_path)
    return live.Live(tmp_path, CONFIG, in_clear=BEFORE)


def shown(service):
    events = [row["event"]["data"] for row in service.api("/events").json()["data"]]
    return sorted((data["to"][1:], data["code"]) for data in events)


def show(service, *, code=0):
    done = service.run("seal", "show", "--output", "json", check=False)
    assert done.returncode == code, done.stderr
    return json.loads(done.stdout)


def found(folder):
    return secrets_in(folder.glob("smshook.db*"), [*CODES, *NUMBERS])


def warnings(service):
    return [line for line in service.logged() if line["event"].startswith("seal.")]


def test_running_service_seals_older_rows(filled, tmp_path):
    """Mutants: the answer comes before the run; the log keeps a code; a later start warns."""
    with filled.start():
        live.eventually(lambda: [line["event"] for line in warnings(filled)])
        before = show(filled)
        refused = filled.run("seal", "migrate", "--vacuum", check=False)

        done = json.loads(filled.run("seal", "migrate", "--output", "json").stdout)

        left = found(tmp_path)
        after, table = show(filled), filled.run("seal", "show").stdout
        again = json.loads(filled.run("seal", "migrate", "--output", "json").stdout)
        events = shown(filled)
        assert filled.stop() == 0
        filled.in_clear = None
    filled.log.write_text("")
    with filled.start():
        again_warned = warnings(filled)

    rows = {"events": 6, "callbacks": 6, "quarantine": 1, "orders": 0, "deliveries": 0}
    assert before["in_clear"] == done["found"] == rows
    assert (before["seals_dedupe"], done["error"], done["erased"]) == (
        False,
        None,
        dict.fromkeys(done["sealed"], 0),
    )
    assert left == []
    assert not any((*after["in_clear"].values(), *after["without_key"].values()))
    assert "dedupe keys stay as they were" in table
    assert again["sealed"] == {}
    assert events == sorted(zip(NUMBERS, CODES, strict=True))
    assert refused.stderr == "--vacuum rewrites the whole file; stop the service first\n"
    assert again_warned == []


def test_stopped_journal_is_sealed_and_rewritten(filled, tmp_path):
    """Mutants: the command needs a service; the file keeps free pages of older versions; `check`
    promises that rows in clear are encrypted, or warns after the migration, too.
    """
    warning = "rows from before it was encrypted stay in clear"
    with shell(tmp_path / "smshook.db") as conn:
        # An older version left free pages with content: it did not overwrite them.
        conn.execute("pragma secure_delete = off")
        conn.execute("create table old (text)")
        conn.execute("insert into old values (?)", (f"{CODES[0]} " * 9_000,))
        conn.execute("drop table old")
    assert found(tmp_path) != []

    checked = filled.run("check").stdout

    done = json.loads(filled.run("seal", "migrate", "--vacuum", "--output", "json").stdout)

    assert found(tmp_path) == []
    assert warning in checked
    assert warning not in filled.run("check").stdout
    assert sum(done["sealed"].values()) == 13
    assert done["bytes_after"] < done["bytes_before"]
    assert not any(show(filled)["in_clear"].values())
    with filled.start():
        assert shown(filled) == sorted(zip(NUMBERS, CODES, strict=True))


def test_missing_key_of_a_stored_row_is_a_failure(filled, tmp_path):
    """Mutant: only the key file is looked at."""
    filled.run("seal", "migrate")
    keys = tmp_path / "smshook.keys"
    keys.rename(tmp_path / "old.keys")
    with filled.start():
        running = show(filled, code=1)
        assert filled.stop() == 0

    stopped = show(filled, code=1)

    for answer in (running, stopped):
        without = {"events": 0, "callbacks": 0, "quarantine": 0, "orders": 0} | {"events": 6}
        assert answer["without_key"] == without | {"callbacks": 6, "quarantine": 1}


def test_start_without_the_key_file_says_what_is_lost(filled, tmp_path):
    """Mutants: the numbers come after a new file was made; a dry run makes one."""
    filled.run("seal", "migrate")
    (tmp_path / "smshook.keys").unlink()

    dry = filled.run("prune", "--dry-run")
    assert not (tmp_path / "smshook.keys").exists()
    filled.log.write_text("")
    with filled.start():
        live.eventually(lambda: "service.started" in filled.log.read_text())
        lines = [line["event"] for line in filled.logged()]
        [line] = [one for one in warnings(filled) if one["event"] == "seal.keys_missing"]
        live.eventually(lambda: filled.stats()["deliveries"]["expired"] == line["expiring"])
        assert shown_erased(filled) == 6

    assert "seal.keys_missing" in dry.stderr
    numbers = [line[name] for name in ("events", "callbacks", "quarantine", "expiring")]
    assert numbers == [6, 6, 1, 6]
    assert lines.index("seal.keys_missing") < lines.index("service.started")


def shown_erased(service):
    events = [row["event"] for row in service.api("/events").json()["data"]]
    return sum(event["data"]["code"] is None and "erasedtime" in event for event in events)


def test_start_without_seal_says_what_is_lost(filled, tmp_path):
    """Mutant: only a missing key file is reported."""
    filled.run("seal", "migrate")
    (tmp_path / "smshook.yaml").write_text(CLEAR)
    filled.log.write_text("")

    with filled.start():
        [line] = warnings(filled)
    pruned = filled.run("prune", "--dry-run")

    assert (line["missing"], line["events"]) == ("seal", 6)
    assert '"missing": "seal"' in pruned.stderr or "missing=seal" in pruned.stderr


@pytest.mark.parametrize("step", ["covered", "sealing", "sealed", "emptying", "emptied"])
def test_killed_migration_loses_nothing_and_continues(filled, tmp_path, step):
    """Mutant: the mark of a step is stored in a transaction of its own."""
    program = [sys.executable, str(KILL), step, "seal", "migrate"]
    killed = forked.run(program, tmp_path, filled.environment())
    assert killed.returncode not in {0, 1}, killed.stderr

    with shell(tmp_path / "smshook.db") as conn:
        assert conn.execute("pragma integrity_check").fetchone() == ("ok",)
    again = json.loads(filled.run("seal", "migrate", "--output", "json").stdout)

    assert (again["error"], found(tmp_path)) == (None, [])
    with filled.start():
        assert shown(filled) == sorted(zip(NUMBERS, CODES, strict=True))


@pytest.mark.parametrize(
    "step",
    ["sealed", *(pytest.param(step, marks=pytest.mark.nightly) for step in ("covered", "emptied"))],
)
def test_killed_service_loses_nothing_and_continues(filled, tmp_path, step):
    """Mutants: the mark of a step is stored in a transaction of its own; a callback that comes
    meanwhile is lost, or stored in clear.
    """
    code, number = "ZQ7-918279", "18505550109"
    filled.program = [sys.executable, str(KILL), step]
    with filled.start():
        assert filled.post(live.sms(9, to=number, text=f"{code} is it", pin=code)).is_success
        stopped = filled.run("seal", "migrate", check=False)
        assert filled.process.wait(30) == -signal.SIGKILL
    filled.program = [live.command()]
    with filled.start():
        before = show(filled)
        filled.run("seal", "migrate")
        after, events = show(filled), shown(filled)
        assert filled.stop() == 0

    assert stopped.returncode != 0
    assert before["in_clear"]["events"] == {"covered": 6, "sealed": 4, "emptied": 0}[step]
    assert not any((*after["in_clear"].values(), *after["without_key"].values()))
    assert events == sorted([*zip(NUMBERS, CODES, strict=True), (number, code)])
    assert secrets_in(tmp_path.glob("smshook.db*"), [*CODES, *NUMBERS, code, number]) == []
