"""`prune` and the erasing commands, with a running and a stopped service."""

import shutil
import sqlite3
import subprocess

import live
import pytest
from disks import mounted
from prompt import be_in, cells, printed, read, run

CODE, NUMBER = "ZQ7-918273", "+18505550142"
#: Codes are old at once; nothing else is.
CONFIG = live.CONFIG + "retention: {codes: 1s}\n"


@pytest.fixture
def message(here):
    """Send a message with that number, and return its event's id."""
    numbers = iter(range(100))

    def message(number=NUMBER):
        at = 1_700_000_000 + next(numbers) + hash(number) % 1000
        body = live.sms(7, at=at, to=number.lstrip("+"), text=f"{CODE} is it", pin=CODE)
        return here.post(body).json()["events"][0]

    return message


def test_event_is_erased_by_the_end_of_its_id(here, message):
    event = message()

    output = printed("events", "erase", event[-12:])

    assert output == f"erased {event}\n"
    data = here.api(f"/events/{event}").json()["event"]["data"]
    assert (data["text"], data["to"]) == (None, None)
    assert run("events", "erase", "0123456789ab").exit_code == 1


def test_number_is_counted_and_then_erased(message):
    number = "+18505550199"
    event = message(number)

    counted = read("erase", "--number", number, "--dry-run")
    erased = read("erase", "--number", number)
    nothing = run("erase", "--number", number)

    assert (counted["events"], counted["id"]) == (1, None)
    assert erased["events"] == 1
    assert (nothing.exit_code, nothing.stderr) == (1, "nothing holds this number\n")
    assert number not in nothing.output
    assert event


def test_running_service_prunes_at_once(message):
    """Mutant: the answer comes before the run."""
    message("+18505550177")
    live.eventually(lambda: read("prune", "--dry-run")["counts"]["codes"] > 0)

    table = printed("prune")
    again = read("prune", "--dry-run")

    rows = dict(cells(table)[1:])
    assert int(rows["codes"]) > 0
    assert again["counts"]["codes"] == 0
    assert run("prune", "--vacuum").stderr == (
        "--vacuum rewrites the whole file; stop the service first\n"
    )


def test_stopped_journal_is_pruned_and_gets_smaller(tmp_path, monkeypatch):
    """Mutants: the command needs a service; pages stay in the file."""
    with live.Live(tmp_path) as service:
        for number in range(200):
            service.post(live.sms(number, text="x" * 2000))
        live.eventually(lambda: len(service.delivered()) == 200)
        assert service.stop() == 0
    config = tmp_path / "smshook.yaml"
    config.write_text(live.CONFIG + "retention: {events: 1s}\n")
    be_in(tmp_path, monkeypatch)

    counted = read("prune", "--dry-run")
    pruned = read("prune", "--vacuum")

    assert counted["counts"] == pruned["counts"]
    assert pruned["counts"]["events"] == 200
    assert pruned["bytes_after"] < pruned["bytes_before"] / 4
    with sqlite3.connect(tmp_path / "smshook.db") as conn:
        assert conn.execute("select count(*) from keys").fetchone() == (200,)
    conn.close()


@pytest.mark.usefixtures("here")
def test_unknown_number_is_no_number():
    result = run("erase", "--number", "hello")

    assert (result.exit_code, "hello" in result.output) == (2, False)


def test_rewriting_needs_no_other_disk_and_says_what_it_needs(tmp_path):
    """The temporary copy holds what the journal holds: it may not reach a disk of other files.

    Mutants: SQLite writes it to its own folder; the error says that the file cannot be opened.
    """
    own = tmp_path / "own"
    own.mkdir()
    with live.Live(own) as service:
        for number in range(200):
            service.post(live.sms(number, text="x" * 20_000))
        assert service.stop() == 0
    data = (own / "smshook.db").read_bytes()
    vacuum = [live.command(), "prune", "--vacuum"]
    with mounted(tmp_path / "other", "-t", "tmpfs", "-o", "size=64k", "tmpfs") as other:
        environment = service.environment() | {"SQLITE_TMPDIR": str(other)}
        done = subprocess.run(vacuum, cwd=own, env=environment, check=False, timeout=60)
    size = len(data) * 3 // 2 >> 10
    with mounted(tmp_path / "small", "-t", "tmpfs", "-o", f"size={size}k", "tmpfs") as small:
        for name in ("smshook.yaml", "smshook.keys"):
            shutil.copy(own / name, small)
        (small / "smshook.db").write_bytes(data)
        failed = subprocess.run(
            vacuum,
            cwd=small,
            env=service.environment(),
            check=False,
            timeout=60,
            capture_output=True,
            text=True,
        )

    assert done.returncode == 0
    assert failed.returncode == 1
    assert failed.stderr.startswith("there is no space to rewrite smshook.db: its disk needs ")
