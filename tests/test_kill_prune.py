"""kill -9 at each step of pruning and of an erasure: nothing is lost, and nothing is left half."""

import contextlib
import sys
from pathlib import Path

import httpx
import live
import pytest
from journals import shell

KILL = Path(__file__).parent / "failpoints" / "kill_prune.py"
CODE = "ZQ7-918273"
EVENTS, AT = 12, 1_700_000_000
#: Everything is old at once.
RETENTION = "retention: {events: 1s, raw: null, attempts: null, quarantine: null}\n"


def dying(folder, step, config=live.CONFIG, **options):
    return live.Live(folder, config, program=[sys.executable, str(KILL), step], **options)


def in_files(folder, text):
    return [file.name for file in folder.glob("smshook*") if text.encode() in file.read_bytes()]


def query(folder, sql):
    with shell(folder / "smshook.db") as conn:
        assert conn.execute("pragma integrity_check").fetchone() == ("ok",)
        return conn.execute(sql).fetchall()


@pytest.mark.parametrize("step", ["listed", "erasing", "erased", "emptied"])
def test_killed_erasure_is_finished_by_the_next_start(tmp_path, step):
    """Mutant: `forgets` (for `listed` and `erasing`): a start does not read the list of ids."""
    service = dying(tmp_path, step).start()
    event = service.accept(1, at=AT, text=f"{CODE} is it", pin=CODE)
    live.eventually(lambda: service.stats()["deliveries"]["delivered"] == 1)
    with pytest.raises(httpx.TransportError):
        service.api(f"/events/{event}/content", method="DELETE")
    assert service.process.wait(30) != 0

    with live.Live(tmp_path) as service:
        live.eventually(
            lambda: service.api(f"/events/{event}").json()["event"]["data"]["code"] is None
        )
        live.eventually(lambda: in_files(tmp_path, CODE) == [])
        stats = service.stats()
        again = service.post(live.sms(1, at=AT, text=f"{CODE} is it", pin=CODE)).json()

    [listed] = (tmp_path / "smshook.erased").read_text().splitlines()
    assert listed.split(" ")[0] == event
    assert (stats["events"], stats["deliveries"]["delivered"]) == (1, 1)
    assert again == {"status": "duplicate", "events": [event]}


def test_killed_erasure_leaves_nothing_in_the_log_of_a_journal_in_clear(tmp_path):
    """The death comes between the commit and the emptying of the log, which still has the code.

    Mutant: the next start does not write the log back (`_write_back` of `begin`).
    """
    config, why = live.CONFIG.replace(live.SEAL, ""), "it is erased in it"
    service = dying(tmp_path, "erased", config, in_clear=why).start()
    event = service.accept(1, at=AT, text=f"{CODE} is it", pin=CODE)
    live.eventually(lambda: service.stats()["deliveries"]["delivered"] == 1)
    with pytest.raises(httpx.TransportError):
        service.api(f"/events/{event}/content", method="DELETE")
    assert service.process.wait(30) != 0
    killed = in_files(tmp_path, CODE)

    with live.Live(tmp_path, config, in_clear=why):
        started = in_files(tmp_path, CODE)

    assert "smshook.db-wal" in killed
    assert started == []


@pytest.mark.parametrize("step", ["removing", "removed"])
def test_killed_removal_leaves_no_part_of_an_event(tmp_path, step):
    """Mutant: a table is emptied in a transaction of its own."""
    with live.Live(tmp_path) as service:
        ids = [
            event
            for number in range(EVENTS)
            for event in service.post(live.sms(number, at=AT + number)).json()["events"]
        ]
        live.eventually(lambda: len(service.delivered()) == EVENTS)
        service.stop()
    config = live.CONFIG + RETENTION
    killed = dying(tmp_path, step, config)
    with contextlib.suppress(AssertionError):  # it may die before it is ready
        killed.start()
    assert killed.process.wait(30) != 0
    half = query(
        tmp_path,
        "select (select count(*) from deliveries where event not in (select seq from events))"
        " + (select count(*) from attempts where delivery not in (select id from deliveries))"
        " + (select count(*) from event_fields where seq not in (select seq from events))"
        " + (select count(*) from callbacks where id not in (select callback from events))"
        " + (select count(*) from events where seq not in (select event from deliveries))"
        " + (select count(*) from keys where event not in"
        "    (select seq from events union select seq from pruned_events))",
    )

    with live.Live(tmp_path, config) as service:
        live.eventually(lambda: service.api("/events").json()["data"] == [], within=60)
        copies = [service.post(live.sms(number, at=AT + number)).json() for number in range(EVENTS)]

    assert half == [(0,)]
    assert query(tmp_path, "select count(*) from pruned_events") == [(EVENTS,)]
    assert [copy["status"] for copy in copies] == ["duplicate"] * EVENTS
    assert [copy["events"] for copy in copies] == [[event] for event in ids]
