"""Promise 1 on a failing disk: no 200 for an event that is not on it."""

import asyncio
import contextlib
import itertools
import os
import shutil
import signal
import time
from pathlib import Path

import disks
import httpx
import live
import load
import pytest
from journals import prepared, shell

AT = 1_700_000_000

needs_strace = pytest.mark.skipif(
    shutil.which("strace") is None, reason="strace is not installed, and cannot be"
)


def failing_fsync(when):
    """Return a command that runs the product with a failing fdatasync, as on a dying disk."""
    inject = ["-e", "trace=fdatasync", "-e", f"inject=fdatasync:error=EIO:when={when}"]
    return ["strace", "-f", "--seccomp-bpf", "-qq", "-o", os.devnull, *inject, live.command()]


def sent_until_it_ends(service):
    """Return the answers by message until the process ends; None: no answer."""
    answers = {}
    for number in range(1, 200):
        try:
            answers[number] = service.post(live.sms(number, at=AT + number))
        except httpx.HTTPError:
            answers[number] = None
        if answers[number] is None or answers[number].status_code != 200:
            break
    return answers


@needs_strace
@pytest.mark.slow
@pytest.mark.parametrize(
    "when",
    ["12", "40+", *(pytest.param(when, marks=pytest.mark.nightly) for when in ("12+", "25"))],
)
def test_failed_fsync_is_no_200_and_ends_the_process(tmp_path, when):
    """Mutants: the error is caught and 200 answered; the commit is tried again (it "succeeds")."""
    prepared(tmp_path / "smshook.db")
    failing = live.Live(tmp_path, program=failing_fsync(when))
    with failing.start(within=30) as service:
        answers = sent_until_it_ends(service)
        code = service.process.wait(15)

    last = max(answers)
    acknowledged = {n: answers[n].json()["events"][0] for n in answers if n != last}
    assert answers[last] is None or answers[last].status_code == 503
    assert code == 1
    with live.Live(tmp_path) as service:
        again = {n: service.post(live.sms(n, at=AT + n)).json() for n in answers}
        assert {n: again[n] for n in acknowledged} == {
            n: {"status": "duplicate", "events": [event_id]} for n, event_id in acknowledged.items()
        }
        # An event without an answer may be stored. In both cases there is one event now.
        assert again[last]["status"] in ("accepted", "duplicate")
        assert service.stats()["events"] == len(answers)


def failing_checkpoint(folder, when):
    """As above, but only for the journal's main file, which only checkpoints sync."""
    inject = ["-e", "trace=fdatasync", "-e", f"inject=fdatasync:error=EIO:when={when}"]
    path = ["-P", str(folder / "smshook.db")]
    return [
        "strace",
        "-f",
        "--seccomp-bpf",
        "-qq",
        "-o",
        os.devnull,
        *path,
        *inject,
        live.command(),
    ]


@needs_strace
@pytest.mark.slow
def test_failed_fsync_of_a_checkpoint_ends_the_process(tmp_path):
    """Mutant: `wal_autocheckpoint = 2000`, which does not report a failed fsync."""
    prepared(tmp_path / "smshook.db")
    failing = live.Live(tmp_path, program=failing_checkpoint(tmp_path, "2+"))
    with failing.start(within=60) as service:
        answers = {}
        while len(answers) < 3_000 and (not answers or answers[max(answers)] == 200):
            number = len(answers) + 1
            answers[number] = posted(service, large(number))
        code = service.process.wait(30)
        errors = [line["error"] for line in service.logged("journal.error")]

    assert len(answers) > 5
    assert (code, set(errors)) == (1, {"SQLITE_IOERR_FSYNC"})
    with live.Live(tmp_path) as service:
        # Acknowledged events are still in the WAL: it was not overwritten.
        assert service.stats()["events"] >= len(answers) - 1


@needs_strace
@pytest.mark.slow
def test_failed_fsync_at_the_end_is_exit_code_1(tmp_path):
    """Mutant: closing the connection makes the checkpoint, and does not report its failure."""
    prepared(tmp_path / "smshook.db")
    with live.Live(tmp_path, program=failing_checkpoint(tmp_path, "2+")).start(
        within=60
    ) as service:
        acknowledged = service.post(live.sms(1, at=AT)).json()["events"]
        [child] = (
            Path(f"/proc/{service.process.pid}/task/{service.process.pid}/children")
            .read_text()
            .split()
        )
        os.kill(int(child), signal.SIGTERM)
        code = service.process.wait(30)

    assert code == 1
    assert (tmp_path / "smshook.db-wal").stat().st_size > 0
    with live.Live(tmp_path) as service:
        assert service.post(live.sms(1, at=AT)).json() == {
            "status": "duplicate",
            "events": acknowledged,
        }


def large(number):
    return live.sms(number, at=AT + number, text=f"{number:06d} " + "x" * 50_000)


def posted(service, body):
    """Return the status; None: no answer."""
    with contextlib.suppress(httpx.HTTPError):
        return service.post(body, timeout=30).status_code
    return None


@pytest.fixture
def small_disk(tmp_path):
    with disks.mounted(tmp_path / "disk", "-t", "tmpfs", "-o", "size=4m", "tmpfs") as folder:
        yield folder


def filled(service):
    """Send large callbacks until one is refused, and return the answers."""
    answers = []
    for number in range(1, 500):
        text = f"{number:06d} " + "x" * 50_000
        answers.append(service.post(live.sms(number, at=AT + number, text=text), timeout=10))
        if answers[-1].status_code != 200:
            return answers
    raise AssertionError("the disk never filled")


@pytest.mark.slow
def test_full_disk_is_503_until_there_is_room(small_disk, tmp_path):
    """Mutants: 200 on OperationalError; an exit on SQLITE_FULL; ready although no write succeeds;
    unready until the next callback, which is sent elsewhere because it is unready."""
    ballast = small_disk / "ballast"
    ballast.write_bytes(b"x" * (1 << 20))
    config = live.CONFIG.replace("path: events.jsonl", f"path: {tmp_path}/events.jsonl")
    with live.Live(small_disk, config) as service:
        answers = filled(service)
        refused = [service.post(live.sms(900 + n, text="y" * 50_000)) for n in range(20)]
        # A refused write leaves pages in the WAL, where a smaller one may still find room.
        live.eventually(lambda: refused_and_unready(service))
        ballast.unlink()
        live.eventually(
            lambda: httpx.get(f"{service.url}/readyz", trust_env=False).status_code == 200
        )
        live.eventually(lambda: service.post(live.sms(999, at=AT)).status_code == 200, within=5)
        stats = service.stats()
        acknowledged = [a.json()["events"][0] for a in [*answers, *refused] if a.status_code == 200]
        live.eventually(lambda: service.stats()["deliveries"]["sending"] == 0, within=10)
        assert service.stop() == 0

    # A checkpoint makes room in the WAL, so one of them may find some.
    assert {answer.status_code for answer in refused} <= {200, 503}
    assert answers[-1].status_code == 503
    assert answers[-1].headers["retry-after"] == "5"
    assert answers[-1].json()["code"] == "unavailable"
    stored = stored_in(small_disk)
    assert set(acknowledged) <= stored
    assert len(stored) == stats["events"]


def refused_and_unready(service):
    answer = service.post(live.sms(950, text="y" * 50_000))
    unready = httpx.get(f"{service.url}/readyz", trust_env=False)
    return (answer.status_code, unready.status_code) == (503, 503)


def stored_in(folder):
    with shell(folder / "smshook.db") as conn:
        assert conn.execute("pragma integrity_check").fetchone() == ("ok",)
        # A small disk raises an alert.
        own = "select id from events where type not glob 'system.*'"
        return {row[0] for row in conn.execute(own)}


def ready(service):
    """Return the status of /readyz; None: a listener closed the new connection when it ended."""
    with contextlib.suppress(httpx.RemoteProtocolError):
        return httpx.get(f"{service.url}/readyz", trust_env=False, timeout=10).status_code
    return None


@pytest.mark.slow
def test_start_on_a_full_disk_is_unready_and_recovers(small_disk, tmp_path):
    """Mutant: exit 1, and callbacks get no answer until an operator helps."""
    ballast = small_disk / "ballast"
    config = live.CONFIG.replace("path: events.jsonl", f"path: {tmp_path}/events.jsonl")
    with live.Live(small_disk, config) as service:
        acknowledged = service.post(live.sms(1, at=AT)).json()["events"]
        service.stop()
    for log in (service.log, service.errors):
        log.unlink()
    service.log, service.errors = tmp_path / "stdout.log", tmp_path / "stderr.log"
    with contextlib.suppress(OSError), ballast.open("wb", buffering=0) as file:
        while file.write(b"x" * 4096):
            pass

    with service.start_unready():
        unready = [
            ready(service),
            httpx.get(f"{service.url}/healthz", trust_env=False).status_code,
            service.api("/stats").status_code,
            service.api("/events", key="no key of ours").status_code,
        ]
        refused = service.post(live.sms(2, at=AT + 1))
        unknown = httpx.post(f"{service.url}/in/tellabot/wrong", trust_env=False).status_code
        ballast.unlink()
        live.eventually(lambda: ready(service) == 200, within=15)
        again = service.post(live.sms(1, at=AT)).json()
        new = service.post(live.sms(2, at=AT + 1)).json()["status"]
        assert service.stop() == 0

    assert unready == [503, 200, 503, 401]
    assert (refused.status_code, refused.headers["retry-after"], unknown) == (503, "5", 404)
    assert (again, new) == ({"status": "duplicate", "events": acknowledged}, "accepted")


@pytest.mark.slow
def test_frozen_disk_is_503_and_unready_until_it_thaws(tmp_path):
    """Mutants: callers wait as long as the disk; ready although no write succeeds; an event that
    was stored late is not delivered."""
    disk = disks.Disk(tmp_path, "ext4")
    with disk.mounted() as folder:
        service = live.Live(folder)
        service.log, service.errors = tmp_path / "stdout.log", tmp_path / "stderr.log"
        with service:
            assert service.post(live.sms(1, at=AT)).status_code == 200
            # Otherwise the outcome of this delivery is in the batch that waits for the disk.
            live.eventually(lambda: service.stats()["deliveries"]["delivered"] == 1)
            with disk.frozen():
                first = service.post(live.sms(2, at=AT), timeout=15)
                second = service.post(live.sms(3, at=AT), timeout=15)
                unready = ready(service)
                healthy = httpx.get(f"{service.url}/healthz", trust_env=False).status_code
            live.eventually(lambda: ready(service) == 200, within=15)
            again = service.post(live.sms(2, at=AT)).json()["status"]
            third = service.post(live.sms(3, at=AT)).json()["status"]
            live.eventually(lambda: len(service.delivered()) == 3, within=15)
            assert service.stop() == 0

    assert [first.status_code, second.status_code, unready, healthy] == [503, 503, 503, 200]
    # The first was in the batch that waited for the disk; the second was in no batch.
    assert (again, third) == ("duplicate", "accepted")
    errors = {line["error"] for line in service.logged("journal.error")}
    assert errors == {"stalled: the disk does not answer"}


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["ext4", "xfs"])
def test_power_cut_loses_no_acknowledged_event(tmp_path, kind):
    """Mutant: `synchronous = normal`. It loses hundreds of acknowledged events here."""
    disk = disks.Disk(tmp_path, kind)
    acknowledged = {}
    for round_ in range(2):
        with disk.mounted() as folder:
            service = live.Live(folder)
            service.log, service.errors = tmp_path / "stdout.log", tmp_path / "stderr.log"
            service.start()
            try:
                asyncio.run(send_until_dark(service, disk, acknowledged, first=100_000 * round_))
            finally:
                service.kill()  # its files cannot be read: they are searched at the end
    with disk.mounted() as folder, live.Live(folder) as service:
        stored = stored_in_running(service)
        assert service.stop() == 0
        assert stored_in(folder) == stored

    assert len(acknowledged) > 100
    assert set(acknowledged.values()) <= stored
    assert len(set(acknowledged.values())) == len(acknowledged)


async def send_until_dark(service, disk, acknowledged, *, first):
    """Send under load until the power is cut."""
    dark = asyncio.Event()
    numbers = itertools.takewhile(lambda _: not dark.is_set(), itertools.count(first))
    messages = ((number, live.sms(number, at=AT + number)) for number in numbers)
    path = service.callback_url().removeprefix(service.url)
    sending = asyncio.create_task(load.send(service.address(), path, messages, clients=8))
    await asyncio.to_thread(
        live.eventually, lambda: service.stats()["events"] >= len(acknowledged) + 100, within=60
    )
    # An answer after this moment does not count: a machine without power would not have sent it.
    # The file system is shut down while it works, and an fsync under way may report success.
    cut_at = time.monotonic()
    await asyncio.to_thread(disk.cut_power)
    dark.set()
    service.kill()
    for answer in await sending:
        if answer.at is not None and answer.at < cut_at:
            for event_id in answer.accepted:
                acknowledged[answer.message] = event_id


def stored_in_running(service):
    """Return the ids of all events that the API lists."""
    ids, after = set(), {}
    while True:
        page = service.api("/events", params={"limit": 1000, **after}).json()
        ids |= {item["event"]["id"] for item in page["data"]}
        if not page["has_more"]:
            return ids
        after = {"after": page["next_cursor"]}
