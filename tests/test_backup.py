"""A service is backed up under load, and restored."""

import asyncio
import itertools
import json
import os
import re
import subprocess
from pathlib import Path

import live
import load
import pytest
from journals import shell
from pages import blocks

from benchmarks.lab import journals

AT = 1_790_000_000
PAGE = "how-to/back-up.md"


def ids(path):
    with shell(path) as conn:
        return {id_ for (id_,) in conn.execute("select id from events")}


def received(path):
    """The ids of messages. The service also has events about itself: a sink was paused."""
    with shell(path) as conn:
        wanted = "select id from events where type not like 'system.%'"
        return {id_ for (id_,) in conn.execute(wanted)}


async def test_backup_under_load_has_each_acknowledged_event(tmp_path):
    """Mutant: steps without a transaction, which never end."""
    journals.fill(tmp_path / "smshook.db", 3_000)
    saving = asyncio.Event()
    with live.Live(tmp_path) as service:
        numbers = itertools.takewhile(lambda _: not saving.is_set(), itertools.count())
        messages = ((n, live.sms(n, at=AT + n)) for n in numbers)
        path = service.callback_url().removeprefix(service.url)
        sending = asyncio.create_task(load.send(service.address(), path, messages))
        await asyncio.to_thread(live.eventually, lambda: service.stats()["events"] >= 3_200)
        before = await asyncio.to_thread(ids, tmp_path / "smshook.db")

        backup = await asyncio.to_thread(service.run, "backup", "backup.db", "--output", "json")
        sent = await asyncio.to_thread(lambda: service.stats()["events"])
        saving.set()
        answers = await sending

    shown, saved = json.loads(backup.stdout), ids(tmp_path / "backup.db")
    assert sent > len(before), "no callback came meanwhile"
    assert all(answer.status == 200 for answer in answers)
    assert len(before) >= 3_200
    assert before <= saved
    assert (shown["file"], shown["events"]) == ("backup.db", len(saved))


def test_service_gets_the_processor_before_a_backup(tmp_path):
    """Mutant: the command has the priority of the service."""
    journals.fill(tmp_path / "smshook.db", 300)
    (tmp_path / "smshook.yaml").write_text(live.CONFIG)
    with subprocess.Popen(
        [live.command(), "backup", "-"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        process.stdout.read(1)  # it waits until the rest is read, too
        priority = os.getpriority(os.PRIO_PROCESS, process.pid)
        process.communicate(timeout=30)

    assert priority == min(19, os.getpriority(os.PRIO_PROCESS, 0) + 10)  # 19 is the lowest
    assert process.returncode == 0


class Story:
    """A service that is backed up and restored: the answers of its API before, and the service."""

    def __init__(self, service):
        self.service = service
        service.api("/sinks/log/pause", method="POST")
        for number in (1, 2):
            service.post(live.sms(number, at=AT))
        first = service.api("/consumers/crm/events", params={"limit": 1}).json()
        service.api("/consumers/crm/commit", method="POST", json={"cursor": first["next_cursor"]})
        self.backup = service.run("backup", "backup.db")
        self.piped = subprocess.run(
            ["sh", "-c", '"$0" backup - | cat > piped.db', live.command()],
            cwd=service.folder,
            env=service.environment(),
            capture_output=True,
            text=True,
            check=True,
            timeout=30,
        )
        self.refused = service.run("restore", "backup.db", check=False)
        self.pid = service.process.pid
        service.post(live.sms(3, at=AT))
        self.cursor = service.api("/events").json()["next_cursor"]
        self.delivery = service.api("/deliveries").json()["data"][0]
        service.kill()  # leaves a log
        self.killed = service.run("backup", "killed.db")
        before = service.folder / "before"
        before.mkdir()
        for path in service.folder.glob("smshook.db*"):
            path.rename(before / path.name)
        service.run("restore", "backup.db")
        service.start()
        service.post(live.sms(4, at=AT))


@pytest.fixture(scope="module")
def story(tmp_path_factory):
    with live.Live(tmp_path_factory.mktemp("story")) as service:
        yield Story(service)


def subjects(page):
    return [item["event"]["subject"].removeprefix("request/1000000") for item in page["data"]]


def test_restored_service_has_the_events_of_the_backup(story):
    assert subjects(story.service.api("/events").json()) == ["1", "2", "4"]
    assert story.service.stats()["events"] == 3


@pytest.mark.parametrize("path", ["/events", "/events/wait", "/events/stream"])
def test_restored_service_refuses_cursors_from_before(story, path):
    """Mutants: the generation stays; another event has the place of the cursor."""
    answer = story.service.api(path, params={"after": story.cursor})

    assert (answer.status_code, answer.json()["code"]) == (410, "cursor_gone")


def test_cursor_of_a_restored_service_is_valid(story):
    cursor = story.service.api("/events").json()["next_cursor"]

    assert story.service.api("/events", params={"after": cursor}).json()["data"] == []


def test_consumer_goes_on_at_its_place_in_the_backup(story):
    assert subjects(story.service.api("/consumers/crm/events").json()) == ["2", "4"]


def test_pending_delivery_of_a_backup_is_delivered(story):
    """An earlier start had taken it. Mutant: owners of the backup count as running.

    Its old id is unknown: after a restore, another delivery may have its number. Mutant: the ids
    do not depend on the generation.
    """
    service = story.service
    delivery = service.api("/deliveries").json()["data"][0]

    assert delivery["event"] == story.delivery["event"]
    assert service.api(f"/deliveries/{story.delivery['id']}").status_code == 404
    assert service.api(f"/deliveries/{delivery['id']}").status_code == 200
    service.api("/sinks/log/resume", method="POST")
    delivered = live.eventually(lambda: len(service.delivered()) == 3 and service.delivered())
    assert {event["id"] for event in delivered} >= {delivery["event"]}


def test_backup_of_a_killed_service_has_its_log(story):
    """Mutant: the file is copied without its log (immutable=1). Under load, the service itself
    moves the log into the file.
    """
    killed = story.service.folder / "killed.db"

    assert len(received(killed)) == 3
    assert f"events     {len(ids(killed))}\n" in story.killed.stdout


def test_backup_goes_through_a_pipe(story):
    """Mutants: the summary goes to stdout, too; a temporary file stays."""
    folder = story.service.folder

    # Only the audit log differs: each backup has the line of the one before.
    assert received(folder / "piped.db") == received(folder / "backup.db")
    assert story.piped.stdout == ""
    assert f"events     {len(ids(folder / 'piped.db'))}\n" in story.piped.stderr
    assert [path.name for path in folder.iterdir() if "unfinished" in path.name] == []


def test_restore_refuses_while_the_service_runs(story):
    assert story.refused.returncode == 1
    assert f"in use by process {story.pid}" in story.refused.stderr


@pytest.fixture
def typed(tmp_path):
    """Type a script in the folder of a service with three events, as `init` sets it up."""
    root = tmp_path / "smshook.root"
    root.write_text("the-root-key-of-these-tests-0123456789")
    root.chmod(0o600)
    config = live.CONFIG.replace(live.SEAL, 'seal: {root: ["${file:smshook.root}"]}\n')
    with live.Live(tmp_path, config) as service:
        for number in range(3):
            service.post(live.sms(number, at=AT))
        path = f"{Path(live.command()).parent}:{os.environ['PATH']}"

        def typed(script):
            return subprocess.run(
                ["sh", "-ec", script],
                cwd=tmp_path,
                env=service.environment() | {"PATH": path},
                capture_output=True,
                text=True,
                check=True,
                timeout=60,
            ).stdout

        typed.service = service
        yield typed


def test_steps_of_the_page_work(typed, tmp_path):
    """Mutants: a command or a file of the page that is misspelt; a step that is missing; the trial
    without its root key, or without its keys.
    """
    make, move, restore, trial = blocks(PAGE, "sh")
    shown = [line.split() for line in blocks(PAGE, "")[0].splitlines()]

    saved = [line.split() for line in typed(make).splitlines()]
    typed.service.stop()
    typed(move)
    typed(restore)
    typed.service.start()
    events = typed.service.stats()["events"]
    again = typed(trial)

    assert [name for name, *_ in saved] == [name for name, *_ in shown]
    assert dict(saved)["events"] == dict(shown)["events"] == "3"
    assert events == 3
    assert "events     3\n" in again
    assert re.search(r"(?m)^[0-9a-f]{8}  yes         yes    [1-9]", again)
    assert (tmp_path / "trial" / "smshook.db").exists()
