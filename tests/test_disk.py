"""Promise 1 when the disk fails: never a 200 for what is not on it."""

import contextlib
import os
import shutil
import sqlite3
import subprocess

import httpx
import live
import pytest

AT = 1_700_000_000

needs_strace = pytest.mark.skipif(
    shutil.which("strace") is None, reason="strace is not installed, and cannot be"
)


def failing_fsync(when):
    """A program that runs the product with fdatasync failing, as a dying disk makes it."""
    inject = ["-e", "trace=fdatasync", "-e", f"inject=fdatasync:error=EIO:when={when}"]
    return ["strace", "-f", "-qq", "-o", os.devnull, *inject, live.command()]


def sent_until_it_ends(service):
    """The answers by message, as many as came before the process ended; None: no answer."""
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
@pytest.mark.parametrize("when", ["12", "12+", "25", "40+"])
def test_a_failed_fsync_is_never_a_200_and_ends_the_process(tmp_path, when):
    """Mutants: a catch that answers 200; a commit that is tried again (it "succeeds")."""
    with live.Live(tmp_path) as service:
        service.stop()
    failing = live.Live(tmp_path, program=failing_fsync(when))
    with failing.start(within=30) as service:
        answers = sent_until_it_ends(service)
        code = service.process.wait(15)

    last = max(answers)
    told = {n: answers[n].json()["events"][0] for n in answers if n != last}
    assert answers[last] is None or answers[last].status_code == 503
    assert code == 1
    with live.Live(tmp_path) as service:
        again = {n: service.post(live.sms(n, at=AT + n)).json() for n in answers}
        assert {n: again[n] for n in told} == {
            n: {"status": "duplicate", "events": [event_id]} for n, event_id in told.items()
        }
        # Not acknowledged does not mean not stored: either way it is one event now.
        assert again[last]["status"] in ("accepted", "duplicate")
        assert service.stats()["events"] == len(answers)


@pytest.fixture
def small_disk(tmp_path):
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", folder], check=False, capture_output=True
    )
    if mounted.returncode:
        pytest.skip("mounting a small tmpfs needs root")
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


def filled(service):
    """Send large callbacks until one is refused; the answers."""
    answers = []
    for number in range(1, 500):
        text = f"{number:06d} " + "x" * 50_000
        answers.append(service.post(live.sms(number, at=AT + number, text=text), timeout=10))
        if answers[-1].status_code != 200:
            return answers
    raise AssertionError("the disk never filled")


@pytest.mark.slow
def test_a_full_disk_is_503_and_it_accepts_again_by_itself_when_there_is_room(small_disk, tmp_path):
    """Mutants: 200 on OperationalError; an exit on SQLITE_FULL; ready whatever cannot be written;
    unready until a callback comes, which is sent elsewhere because of it."""
    ballast = small_disk / "ballast"
    ballast.write_bytes(b"x" * (1 << 20))
    config = live.CONFIG.replace("path: events.jsonl", f"path: {tmp_path}/events.jsonl")
    with live.Live(small_disk, config) as service:
        answers = filled(service)
        refused = [service.post(live.sms(900 + n, text="y" * 50_000)) for n in range(20)]
        # What was begun of them lies in the file, where a smaller write may still find room.
        live.eventually(lambda: refused_and_unready(service))
        ballast.unlink()
        live.eventually(
            lambda: httpx.get(f"{service.url}/readyz", trust_env=False).status_code == 200
        )
        live.eventually(lambda: service.post(live.sms(999, at=AT)).status_code == 200, within=5)
        stats = service.stats()
        told = [a.json()["events"][0] for a in answers if a.status_code == 200]
        live.eventually(lambda: service.stats()["deliveries"]["sending"] == 0, within=10)
        assert service.stop() == 0

    assert {answer.status_code for answer in [answers[-1], *refused]} == {503}
    assert answers[-1].headers["retry-after"] == "5"
    assert answers[-1].json()["code"] == "unavailable"
    stored = stored_in(small_disk)
    assert set(told) <= stored
    assert len(stored) == stats["events"]


def refused_and_unready(service):
    answer = service.post(live.sms(950, text="y" * 50_000))
    unready = httpx.get(f"{service.url}/readyz", trust_env=False)
    return (answer.status_code, unready.status_code) == (503, 503)


def stored_in(folder):
    with contextlib.closing(sqlite3.connect(folder / "smshook.db")) as conn:
        assert conn.execute("pragma integrity_check").fetchone() == ("ok",)
        return {row[0] for row in conn.execute("select id from events")}
