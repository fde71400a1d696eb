"""Alerts: each is reported when it begins and when it ends, also over restarts."""

import asyncio
import contextlib
import ssl
import time
from datetime import UTC, datetime

import live
import msgspec
import pytest
import trustme
from endpoint import endpoint
from services import SECRET
from structlog.testing import capture_logs
from watched import BEGIN, DAY, HOUR, TYPES, World

from core.delivery import State
from core.errors import Unavailable
from core.event import kinds
from core.secret import Secret
from core.units import Duration, Size
from journal.reads import Counters, JournalStats
from journal.records import StoredCondition
from journal.writes import EndDeliveries
from receiver.callback import Callback
from receiver.door import read_happenings
from receiver.intake import Caller
from server.conditions import Condition, Severity, Timing
from server.config.alerting import Alerting, FailingSinks, GrowingRejections, LowDisk
from server.config.load import ConfigError
from server.config.options import Api, Server
from server.runtime.alert_kinds import KINDS, written
from server.runtime.disk import Disk
from server.runtime.reload import NotReloaded
from server.runtime.watching import EVERY, SELDOM, Watching
from sinks.file.sink import File
from sinks.http.sink import Http

#: Seconds between two looks of most tests.
STEP = 60
#: A sink with a certificate.
TLS = {"crm": Http(url=Secret("https://127.0.0.1:9/hooks"))}
#: An outage of two minutes.
FLAP = {60: "sink_failing", 180: "sink_recovered"}
#: A fault, when it begins, how long it lasts, and what is reported: seconds from its begin, the
#: name, and the severity if it is no warning.
WEEK = [
    ("sink down", 3 * HOUR, 600, {60: "sink_failing", 660: "sink_recovered"}),
    ("sink down", 5 * HOUR, 30, {}),  # its restart
    ("sink down", 8 * HOUR, 10_800, {60: "sink_failing", 10_860: "sink_recovered"}),
    ("paused", 12 * HOUR, 1200, {0: "sink_paused", 1200: "sink_resumed"}),
    ("paused by hand", 14 * HOUR, 600, {0: "sink_paused info", 600: "sink_resumed info"}),
    ("silence", 16 * HOUR, 7200, {HOUR: "source_silent", 7200: "source_heard"}),
    ("quarantine", 20 * HOUR, 0, {0: "quarantine_growing", 990: "quarantine_quiet"}),
    ("rejections", 22 * HOUR, 0, {0: "rejections_growing", 990: "rejections_quiet"}),
    ("nothing", DAY, 0, {0: "key_expiring"}),  # the key `temp` has 7 days left
    ("disk low", 28 * HOUR, HOUR, {0: "disk_low", HOUR: "disk_recovered"}),
    # It is low for half an hour, and then full.
    ("disk low", 31 * HOUR, 7200, {0: "disk_low"}),
    ("disk full", 32 * HOUR, HOUR, {0: "disk_low critical", HOUR: "disk_recovered critical"}),
    ("clock", 36 * HOUR, HOUR, {0: "clock_off", HOUR: "clock_recovered"}),
    ("backfill", 40 * HOUR, HOUR, {0: "backfill_failing", HOUR: "backfill_recovered"}),
    ("bad key", 44 * HOUR, 3600, {
        0: "backfill_failing critical",
        3600: "backfill_recovered critical",
    }),
    ("nothing", 44 * HOUR, HOUR, {0: "key_expiring"}),  # the same key
    ("reads", 48 * HOUR, 0, {0: "reads_unusual"}),
    ("anchor", 50 * HOUR, 7200, {HOUR: "audit_not_anchored", 7200: "audit_anchored"}),
    ("anchor", 53 * HOUR, 1800, {}),
    ("fork", 56 * HOUR, HOUR, {0: "audit_refused critical"}),
    ("erasure", 60 * HOUR, 14_400, {
        7200: "erasure_late critical",
        14_400: "erasure_recovered critical",
    }),
    ("dead", 70 * HOUR, 0, {0: "delivery_dead"}),
    ("dead", 70 * HOUR + 60, 0, {0: "delivery_dead"}),
    # Six hours in which it comes and goes.
    *[
        ("sink down", 80 * HOUR + at, 120, FLAP if at % 960 == 0 else {})
        for at in range(0, 6 * HOUR, 240)
    ],
    ("sink down", 166 * HOUR, 600, {60: "sink_failing", 660: "sink_recovered"}),
]  # fmt: skip


def looks():
    """The seconds of the looks at the week, in order: those of the service around each moment at
    which something begins, ends or is reported.

    Between them, no fault changes: what was reported meanwhile would be seen at the next look, at a
    wrong time. The service looks at the disk every ten seconds.
    """
    moments = {
        begin + at for _, begin, lasts, told in WEEK for at in (0, lasts, *told) if begin + at > 0
    }
    near = {moment + by for moment in moments for by in (-SELDOM, -EVERY, 0, EVERY)}
    return sorted({*range(0, 7 * DAY, 2 * HOUR), *near})


async def test_a_week_of_faults_is_reported_as_written_beside_each(tmp_path):
    """Mutants: told as long as it lasts; `after`, `clear` or `quiet` ignored; a short failure of an
    anchor raises; the severity of a full disk is that of a low one."""
    world = World(tmp_path)
    async with world.started():
        for at in looks():
            world.at = BEGIN + at
            active = [one for one in WEEK if one[1] <= at < one[1] + max(one[2], 1)]
            world.faults = {name for name, *_ in active}
            for name, begin, _, _ in active:
                if begin == at:
                    world.happen(name)
            await world.look()
        told = await world.told()

    expected = [
        (begin + at, *[*report.split(), "warning"][:2])
        for _, begin, _, told in WEEK
        for at, report in told.items()
    ]
    assert sorted(told) == sorted(expected)
    assert [one.name for one in world.parts.alerts.raised()] == ["key_expiring"]


def test_a_week_of_looks_at_one_condition_is_reported_the_same():
    """All looks of the service, so the week above leaves out none that matters.

    Mutants: `after`, `clear` or `quiet` ignored; the end of a short failure counts on.
    """
    condition, timing = Condition(), Timing(after=60, clear=60, quiet=900)
    faults = [(begin, begin + lasts) for name, begin, lasts, _ in WEEK if name == "sink down"]
    down = {at for begin, end in faults for at in range(begin, end, int(EVERY))}
    found = [(at, condition.look(at in down, at, timing)) for at in range(0, 7 * DAY, int(EVERY))]

    expected = [
        (begin + at, name.replace("sink_failing", "raised").replace("sink_recovered", "cleared"))
        for fault, begin, _, told in WEEK
        for at, name in told.items()
        if fault == "sink down"
    ]
    assert [(at, change) for at, change in found if change] == expected


#: A fault, the seconds until it is reported, and the names of its begin and end.
CONDITIONS = [
    ("sink down", 60, "sink_failing", "sink_recovered"),
    ("paused", 0, "sink_paused", "sink_resumed"),
    ("silence", HOUR + STEP, "source_silent", "source_heard"),
    ("quarantine", 0, "quarantine_growing", "quarantine_quiet"),
    ("rejections", 0, "rejections_growing", "rejections_quiet"),
    ("reads", 0, "reads_unusual", None),
    ("disk low", 0, "disk_low", "disk_recovered"),
    ("clock", 0, "clock_off", "clock_recovered"),
    ("backfill", 0, "backfill_failing", "backfill_recovered"),
    ("bad key", 0, "backfill_failing", "backfill_recovered"),
    ("anchor", HOUR, "audit_not_anchored", "audit_anchored"),
    ("fork", 0, "audit_refused", None),
    ("erasure", 2 * HOUR + STEP, "erasure_late", "erasure_recovered"),
]


#: The others are not known until something was measured.
KNOWN_AT_ONCE = ("paused", "disk low")


@pytest.mark.parametrize("ends", ["later", "meanwhile"])
@pytest.mark.parametrize(("fault", "after", "begin", "end"), CONDITIONS)
async def test_restart_reports_nothing_again_and_the_end(tmp_path, fault, after, begin, end, ends):
    """Mutants: the state of conditions is not kept; unknown means that it does not hold."""
    world = World(tmp_path)
    async with world.started():
        await world.look()
        world.at += 10
        world.faults = {fault}
        world.happen(fault)
        await world.look()
        world.at += after
        await world.look()
        before = await world.events()
    assert begin in [event["type"].removeprefix("system.") for event in before]

    if ends == "meanwhile":
        world.faults = set()
    async with world.started():
        if fault not in KNOWN_AT_ONCE:
            await world.watching.look()
            assert await world.events() == before
        world.at += 2
        world.anchor.output.failing_since = None if ends == "meanwhile" else world.at - 2 * HOUR
        await world.look()
        if ends == "later":
            assert await world.events() == before
            world.faults = set()
        for _ in range(60):
            world.at += STEP
            await world.look()
        more = (await world.events())[len(before) :]
        assert not world.parts.alerts.is_raised(begin, before[-1]["subject"])

    raised = next(one for one in before if one["type"] == f"system.{begin}")
    assert [event["type"].removeprefix("system.") for event in more] == ([end] if end else [])
    for event in more:
        assert event["data"]["id_raised"] == raised["id"]
        assert event["data"]["dedup"] == raised["data"]["dedup"]
        assert event["data"]["since"] == raised["data"]["since"]
        assert event["dedupekey"] != raised["dedupekey"]


async def test_hundred_failing_sinks_are_a_hundred_events(tmp_path):
    """Mutants: one event for all sinks; one look reports one sink; one commit for each event; one
    commit for all, for which callbacks wait; no pause after a commit."""
    names = [f"sink{number}" for number in range(99)] + ["crm"]
    sinks = {name: World(tmp_path).config.sinks["log"] for name in names}
    sinks = {
        name: msgspec.structs.replace(sink, path=str(tmp_path / name))
        for name, sink in sinks.items()
    }
    world = World(tmp_path, sinks=sinks)
    async with world.started():
        for worker in world.parts.workers.values():
            worker._health.record_failure()
        world.faults = {"sink down"}
        meters = world.parts.journal.meters
        before, began = meters.commits, time.monotonic()
        for _ in range(4):
            await world.look()
            world.at += STEP
        took = time.monotonic() - began
        events, commits = await world.events(), meters.commits - before

    assert 20 <= commits < 40
    assert took > 0.19
    assert sorted(event["subject"] for event in events) == sorted(f"sink/{name}" for name in names)
    assert {event["type"] for event in events} == {"system.sink_failing"}


async def test_alert_is_an_ordinary_event_with_all_common_fields(tmp_path):
    world = World(tmp_path)
    async with world.started():
        world.faults = {"sink down"}
        await world.look()
        world.at += 60
        await world.look()
        [raised] = await world.events()
        world.faults = set()
        await world.look()
        world.at += 60
        await world.look()
        _, cleared = await world.events()
        stats = await world.parts.journal.ask(JournalStats())

    began = "2026-09-21T17:00:00.000000Z"
    assert (raised["source"], raised["subject"], raised["data"]["provider"]) == (
        *("smshook", "sink/crm"),
        None,
    )
    assert raised["data"] == {
        "provider": None,
        "channel": "service",
        "labels": {},
        "reference": None,
        "sample": False,
        "time_from": "received",
        "warnings": [],
        "severity": "warning",
        "state": "raised",
        "summary": "no delivery to the sink crm succeeds; 0 are pending",
        "since": began,
        "for": None,
        "id_raised": None,
        "dedup": f"sink_failing sink/crm {began}",
        "runbook": "docs/alerts.md#sink_failing",
        "sink": "crm",
        "status": None,
        "error": None,
        "failing_since": began,
        "owed": 0,
        "oldest": None,
    }
    assert cleared["data"] == raised["data"] | {
        "state": "cleared",
        "summary": "the sink crm works again after 60s; 0 deliveries are pending",
        "for": 60.0,
        "id_raised": raised["id"],
    }
    assert stats.events == 0


async def test_end_of_what_is_no_longer_checked_does_not_say_that_it_works(tmp_path):
    """Its sink was removed, or its alert switched off. Mutant: the words of its own end."""
    world = World(tmp_path)
    async with world.started():
        world.faults = {"sink down"}
        for _ in range(2):
            await world.look()
            world.at += 60
        await world.parts.alerts.look([])
        _, cleared = await world.events()

    assert (cleared["type"], cleared["data"]["state"]) == ("system.sink_recovered", "cleared")
    assert cleared["data"]["summary"] == (
        "smshook no longer checks sink/crm for sink_failing, after 2m: the configuration changed"
    )


async def test_rejections_of_a_removed_source_raise_nothing_at_the_door(tmp_path):
    """Mutant: after a reload, they count as new ones of the door."""
    world = World(tmp_path)
    async with world.started():
        await world.look()
        for _ in range(50):
            world.parts.rejections.add("token", "removed", "192.0.2.7", "r")
        await world.look()

        assert await world.events() == []


async def test_old_delivery_is_reported_until_none_is_old(tmp_path):
    """Mutant: the time of the newest delivery counts."""
    world = World(tmp_path)
    async with world.started():
        await pending_one(world)
        for _ in range(12):
            await world.look()
            world.at += STEP
        [raised] = await world.events()
        await world.parts.journal.submit(EndDeliveries("crm", error="gone", at=world.at))
        await world.look()
        _, cleared = await world.events()

    assert (raised["type"], raised["data"]["owed"]) == ("system.owed_old", 1)
    assert raised["recordedtime"] == "2026-09-21T17:06:00.000000Z"
    assert (cleared["type"], cleared["data"]["owed"]) == ("system.owed_recovered", 0)


async def test_dead_deliveries_are_counted_and_reported_once_a_minute(tmp_path):
    """Mutants: an event for each; the count begins again with each look; all ids are named."""
    world = World(tmp_path)
    async with world.started():
        for at in (0, 10, 20, 60):
            world.at = BEGIN + at
            if at < 60:
                world.happen("dead")
            await world.look()
        world.parts.given_up.add("crm", "old", State.EXPIRED)
        world.parts.given_up.add("crm", "new", State.DEAD)
        world.at += 60
        await world.look()
        world.parts.given_up.add("gone", "of a removed sink", State.DEAD)
        await world.look()
        events = await world.events()

    assert [event["data"]["count"] for event in events] == [30, 60, 2]
    assert [event["data"]["ended"] for event in events] == ["dead", "dead", "both"]
    assert len(events[1]["data"]["events"]) == 20
    assert {event["data"]["state"] for event in events} == {"once"}


async def test_dead_deliveries_are_reported_at_the_end_of_the_service(tmp_path):
    """Mutant: what waits for its minute is lost."""
    world = World(tmp_path)
    async with world.started():
        world.happen("dead")
        await world.look()
        world.happen("dead")
        task = asyncio.create_task(world.watching.run())
        await asyncio.sleep(0.2)
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        events = await world.events()

    assert [event["data"]["count"] for event in events] == [30, 30]


async def test_alert_that_is_switched_off_reports_nothing(tmp_path):
    """Mutant: null counts as the default."""
    off = dict.fromkeys(Alerting.__struct_fields__) | {"quiet": 900.0}
    world = World(tmp_path, alerts=Alerting(**off))
    faults = [fault for fault, *_ in CONDITIONS if fault not in ("paused", "fork")]
    async with world.started():
        for fault in (*faults, "dead"):
            world.faults.add(fault)
            world.happen(fault)
        for _ in range(4):
            await world.look()
            world.at += HOUR
        assert await world.events() == []


async def test_removed_sink_ends_its_alert(tmp_path):
    """Mutant: a condition that is no longer checked stays raised for ever."""
    world = World(tmp_path)
    async with world.started():
        world.faults = {"paused"}
        await world.look()
        sinks = {"log": world.config.sinks["log"]}
        config = msgspec.structs.replace(world.parts.config, sinks=sinks)
        world.parts.current.replace(config, world.parts.current.routes)
        await world.look()
        told = await world.told()

    assert [name for _, name, _ in told] == ["sink_paused", "sink_resumed"]


async def test_config_that_is_rejected_is_reported_without_its_values(tmp_path):
    """Mutants: the whole complaint is sent; each reload of one mistake is reported."""
    world = World(tmp_path)
    complaint = "smshook.yaml:14: sinks.log.type: 'a-secret' is not one of file, http, slack"

    def load():
        raise ConfigError((complaint, "smshook.yaml:15: other"))

    async with world.started():
        world.parts.reloads._load = load
        for at in (0, 60, 899, 900):
            world.at = BEGIN + at
            with pytest.raises(NotReloaded):
                await world.parts.reloads.reload()
        events = await world.events()

    said = {"count": 2, "first": "smshook.yaml:14: sinks.log.type"}
    assert [event["data"]["complaints"] for event in events] == [said, said]


async def test_failed_write_is_tried_again_and_not_reported_twice(tmp_path):
    """The journal stored it, and failed to answer. Mutants: the event has another key each time;
    it is among the recent ones twice."""
    world = World(tmp_path)
    async with world.started():
        world.faults = {"paused"}
        alerts = world.parts.alerts
        await world.look()
        stored = alerts._stored["sink_paused", "sink/crm"]
        # As it was before the write.
        del alerts._stored["sink_paused", "sink/crm"]
        condition = alerts._conditions["sink_paused", "sink/crm"]
        condition.is_raised, condition._raised_at = False, float("-inf")
        await world.look()
        again = alerts._stored["sink_paused", "sink/crm"]
        events = await world.events()
        recent = [one.event for one in alerts.recent]

    assert len(events) == 1
    assert recent == [stored.event]
    assert isinstance(again, StoredCondition)
    assert (again.event, again.since) == (stored.event, stored.since)


class Choosy:
    """The journal, which does not take the conditions in `refused`."""

    def __init__(self, journal):
        self.journal, self.refused, self.ask = journal, {}, journal.ask
        self.taken = []

    def submit(self, write, **more):
        error = self.refused.get(write.condition.name)
        if error is not None:
            raise error
        self.taken.append(write.condition.name)
        return self.journal.submit(write, **more)


async def test_reports_that_fail_are_tried_again_in_their_order(tmp_path):
    """Mutants: what was stored is tried again; the end comes before its begin; a fault drops the
    report that came with it."""
    world = World(tmp_path)
    async with world.started():
        alerts = world.parts.alerts
        alerts._journal = choosy = Choosy(world.parts.journal)
        choosy.refused = {"sink_paused": Unavailable("full"), "disk_low": TypeError()}
        world.faults = {"paused", "clock", "disk low"}
        with pytest.raises(TypeError):
            await world.look()
        first = [name for _, name, _ in await world.told()]
        world.faults = {"clock", "disk low"}
        world.at += STEP
        await world.look()
        choosy.refused = {}
        world.at += STEP
        await world.look()
        told = [name for _, name, _ in await world.told()]

    assert first == ["clock_off"]
    assert choosy.taken == ["clock_off", "sink_paused", "sink_paused"]
    assert told == ["clock_off", "sink_paused", "sink_resumed"]


async def test_fault_of_an_alert_stops_no_other(tmp_path):
    """Mutants: the service ends; the report stays, and fails again each time."""
    world = World(tmp_path, sinks=TLS)
    async with world.started():
        world.faults = {"paused", "clock"}
        world.apply()
        alerts = world.parts.alerts
        await alerts.look([])
        broken = {"sink": object()}
        with pytest.raises(KeyError):
            await alerts.report("delivery_dead", "sink/crm", broken)
        with capture_logs() as logs:
            world.watching.certificates["crm"] = "no time"
            task = asyncio.create_task(world.watching.run())
            async with asyncio.timeout(30):
                while not logs:  # noqa: ASYNC110 - a line of the log has no event
                    await asyncio.sleep(0.01)
            task.cancel()
            await asyncio.wait([task])
        world.watching.certificates.clear()
        await world.look()
        told = await world.told()

    assert [(line["event"], line["error"]) for line in logs] == [("alert.fault", "TypeError")]
    assert {name for _, name, _ in told} == {"sink_paused", "clock_off"}


async def test_test_of_an_alert_is_a_sample(tmp_path):
    """Mutants: it is not marked; its summary is that of a real one; it changes what is raised."""
    world = World(tmp_path)
    async with world.started():
        for name in KINDS:
            await world.parts.alerts.test(name)
        events = await world.events()
        assert world.parts.alerts.raised() == []

    assert [event["type"] for event in events] == [f"system.{name}" for name in KINDS]
    assert all(event["data"]["sample"] for event in events)
    assert all(event["data"]["summary"].startswith("Sample: ") for event in events)
    assert len({event["dedupekey"] for event in events}) == len(KINDS)


def test_each_type_belongs_to_a_kind():
    """Its runbook is a heading of the page. Mutant: a type without a kind."""
    types = {kind.type for kind in kinds() if kind.type.startswith("system.")}

    assert set(TYPES) == types
    for kind in KINDS.values():
        data = kind.make(
            kind.subject, kind.sample, severity=Severity.WARNING, since=BEGIN, now=BEGIN, labels={}
        )
        ended = kind.make_end(
            kind.subject,
            kind.sample,
            severity=Severity.WARNING,
            since=BEGIN,
            ended=BEGIN + 600,
            raised_by="id",
            labels={},
        )
        assert data.summary
        # Which sink or source it is. Mutants: it is missing at the begin, or at the end.
        named, _, name = kind.subject.partition("/")
        for event in (data, ended) if named in ("sink", "source") else ():
            assert event is None or getattr(event, named) == name
        assert ended is None or ("10m" in ended.summary and ended.for_ == 600)


@pytest.mark.parametrize(
    ("name", "details", "expected"),
    [
        ("key_expiring", {"kind": "api_key"}, "the API key it ends at 2027"),
        ("key_expiring", {"kind": "certificate"}, "the certificate of the sink it ends at 2027"),
        (
            "key_expiring",
            {"kind": "certificate", "ends_at": "2026-09-21T17:00:00.000000Z"},
            "the certificate of the sink it expired at 2026-09-21T17:00:00.000000Z",
        ),
        ("key_expiring", {"kind": "provider_key"}, "the provider refuses the key of the source it"),
        ("delivery_dead", {"count": 1}, "1 delivery to the sink crm was given up (dead)"),
        ("delivery_dead", {"count": 2}, "2 deliveries to the sink crm were given up (dead)"),
        ("sink_failing", {}, "no delivery to the sink crm succeeds (status 503); 12 are pending"),
        (
            "sink_failing",
            {"status": None, "error": "timeout"},
            "no delivery to the sink crm succeeds (timeout); 12 are pending",
        ),
        (
            "disk_low",
            {},
            "944 MB of 42.9 GB are free on the disk of the journal; it is full in 2.5 days",
        ),
        (
            "disk_low",
            {"free": 1_500_000_000, "days_left": None},
            "1.5 GB of 42.9 GB are free on the disk of the journal",
        ),
        ("source_silent", {}, "callbacks of tellabot are overdue; 0 orders wait for one"),
        (
            "source_silent",
            {"waiting_orders": 1},
            "callbacks of tellabot are overdue; 1 order waits for one",
        ),
        (
            "sink_failing",
            {"owed": 1},
            "no delivery to the sink crm succeeds (status 503); 1 is pending",
        ),
        (
            "owed_old",
            {"owed": 1, "oldest": "2026"},
            "a delivery to the sink crm has been pending since 2026; 1 is pending",
        ),
        (
            "audit_not_anchored",
            {},
            "disk2 has received no lines of the audit log since line 120",
        ),
        ("audit_not_anchored", {"size": 0}, "disk2 has received no lines of the audit log"),
        ("audit_checkpoint", {"size": 1}, "the audit log has 1 line; keep this signed state"),
        (
            "gap",
            {"until": "2026", "asked": ("tellabot", "bulk")},
            "no callbacks were accepted until 2026; asked for them: tellabot, bulk",
        ),
    ],
)
def test_summary_is_a_sentence(name, details, expected):
    """Mutants: a refused key `ends at None`; sources, or an unknown day, as Python writes them; the
    plural for one; `since line 0` for an unknown size; one that has expired `ends`.
    """
    fixed = {"name": "it", "ends_at": None if "provider_key" in details.values() else "2027"}

    said = {**KINDS[name].sample, **fixed, **details}
    assert KINDS[name].summary(said, now=BEGIN) == expected


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [(0.4, "0s"), (60, "60s"), (119, "119s"), (120, "2m"), (7200, "2h"), (3 * DAY, "3d")],
)
def test_lasted_is_written_in_the_largest_unit(seconds, expected):
    assert written(seconds) == expected


async def test_certificate_key_and_private_peer_are_explained(tmp_path):
    world = World(tmp_path, sinks=TLS)
    async with world.started():
        world.watching.certificates["crm"] = BEGIN + 3 * DAY
        world.happen("rejections")
        await world.look()
        events = {event["type"].removeprefix("system."): event for event in await world.events()}

    its = events["key_expiring"]["data"]
    assert (its["kind"], its["name"], its["ends_at"][:10]) == ("certificate", "crm", "2026-09-24")
    its = events["rejections_growing"]["data"]
    assert (its["count"], its["reason"], its["peer"]) == (21, "token", "10.0.0.7")


async def test_certificate_of_a_sink_is_asked_for_twice_a_day(tmp_path):
    """Mutants: asked at each look; a sink behind a proxy is asked past it; asked when it is off."""
    authority, end = trustme.CA(), datetime.fromtimestamp(BEGIN + 2 * DAY, UTC)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost", not_after=end).configure_cert(tls)
    async with endpoint(tls=tls) as server:
        url = Secret(f"https://127.0.0.1:{server.port}/hooks")
        proxy = Secret("http://127.0.0.1:9")
        sinks = {"crm": Http(url=url), "log": Http(url=url, proxy=proxy)}
        world = World(tmp_path, sinks=sinks)
        async with world.started():
            for hours in (0, 1, 11, 12):
                world.at = BEGIN + hours * HOUR
                await world.watching.look_at_certificates()
            await asyncio.sleep(0.2)  # the server counts them a little later
            assert server.connections == 2
            assert world.watching.certificates == {"crm": end.timestamp()}
            await world.look()
            [event] = await world.events()
            off = msgspec.structs.replace(world.config, alerts=Alerting(key_expiring=None))
            world.parts.current.replace(off, world.parts.current.routes)
            world.at += DAY
            await world.watching.look_at_certificates()
            assert server.connections == 2
    assert (event["subject"], event["data"]["kind"]) == ("sink/crm", "certificate")


async def test_expired_certificate_is_reported_until_it_is_replaced(tmp_path):
    """It is the worst case. Mutants: only one that ends soon is reported; the sink is asked twice a
    day only, so that the alert outlives the certificate for hours."""
    authority = trustme.CA()

    def certified(end, port=0):
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        end = datetime.fromtimestamp(end, UTC)
        authority.issue_cert("localhost", not_after=end).configure_cert(tls)
        return endpoint(tls=tls, port=port)

    async def looked(url):
        sinks = {"crm": Http(url=Secret(f"{url}/hooks"))}
        config = msgspec.structs.replace(world.parts.config, sinks=sinks)
        world.parts.current.replace(config, world.parts.current.routes)
        world.at += HOUR
        await world.watching.look_at_certificates()
        await world.look()
        return world.parts.alerts.raised()

    world = World(tmp_path, sinks=TLS, api=Api())
    async with world.started():
        async with certified(BEGIN - HOUR) as old:
            [raised] = await looked(old.url)
        assert await looked(old.url) == [raised]
        async with certified(BEGIN + 90 * DAY, old.port):
            assert await looked(old.url) == []
        events = await world.events()

    assert raised.summary == (
        "the certificate of the sink crm expired at 2026-09-21T16:00:00.000000Z"
    )
    assert [event["data"]["summary"] for event in events] == [raised.summary]


async def test_api_key_that_ends_is_listed_as_expired_at_its_end(tmp_path):
    """Mutants: it is cleared at its end; the list says for ever that it `ends`."""
    world = World(tmp_path)
    async with world.started():
        found = []
        for days in (2, 9):
            world.at = BEGIN + days * DAY
            await world.look()
            found += [one.summary for one in world.parts.alerts.raised()]
        events = await world.events()

    assert found == [
        f"the API key temp {word} at 2026-09-29T17:00:00.000000Z" for word in ("ends", "expired")
    ]
    assert len(events) == 1


async def test_configured_key_hides_the_end_of_another_of_its_name(tmp_path):
    """Mutant: both are looked at, so it is raised and cleared again and again."""
    world = World(tmp_path)
    async with world.started():
        keys = world.parts.keys
        rights = {"scopes": ("codes:read",), "when": None, "rate": None}
        await keys.create(name="made", expires_at=BEGIN + DAY, **rights)
        known = msgspec.structs.replace(
            world.config.api.keys["temp"], expires="2027-09-29T17:00:00Z"
        )
        keys.use({"made": known})
        for _ in range(3):
            await world.look()

        assert await world.events() == []


@pytest.mark.parametrize(
    ("peer", "trusted", "is_proxy"),
    [
        ("10.0.0.7", (), True),
        ("127.0.0.1", (), True),
        ("::1", (), True),
        ("127.0.0.1", ("127.0.0.0/8",), False),
        ("8.8.8.8", (), False),
        ("*", (), False),
    ],
)
async def test_callers_of_our_own_networks_seem_to_be_a_proxy(tmp_path, peer, trusted, is_proxy):
    """Also those of this machine. Mutants: a proxy here is a stranger; one that is named already is
    named again."""
    server = Server(secret=Secret(SECRET), trusted_proxies=trusted)
    world = World(tmp_path, server=server)
    async with world.started():
        for _ in range(21):
            world.parts.rejections.add("address", "tellabot", peer, "r")
        await world.look()
        [event] = await world.events()

    assert ("your proxy?" in event["data"]["hint"]) is is_proxy
    assert ("allow_from" in event["data"]["hint"]) is not is_proxy


async def test_hint_about_a_proxy_hides_no_other_reason(tmp_path):
    """A tunnel on this machine, and an old URL. Mutant: only the proxy is named."""
    world = World(tmp_path)
    async with world.started():
        for _ in range(21):
            world.parts.rejections.add("token", "tellabot", "127.0.0.1", "r")
        await world.look()
        [event] = await world.events()

    assert "an old URL" in event["data"]["hint"]
    assert event["data"]["hint"].endswith("Name it in server.trusted_proxies")


def pending_one(world):
    """Record an event that is pending for the sink crm."""
    now = datetime.fromtimestamp(world.at, UTC)
    body = live.sms(1, at=int(world.at))
    callback = Callback(headers=(), body=body, peer="192.0.2.1", received=now)
    happenings = read_happenings(world.parts.sources["tellabot"], callback)
    caller = Caller(source="tellabot", token="t", request_id="r")
    return world.parts.quarantine._recorder.record(caller, callback, happenings)


async def test_pending_deliveries_are_those_of_the_moment(tmp_path):
    """Mutant: they are up to ten seconds old."""
    timing = FailingSinks(after=0.0, clear=0.0)
    world = World(tmp_path, alerts=Alerting(sink_failing=timing))
    async with world.started():
        await world.look()
        await pending_one(world)
        world.faults, world.at = {"sink down"}, world.at + 2
        await world.look()
        await world.parts.journal.submit(EndDeliveries("crm", error="gone", at=world.at))
        world.faults, world.at = set(), world.at + 2
        await world.look()
        raised, cleared = await world.events()

    assert raised["data"]["summary"] == "no delivery to the sink crm succeeds; 1 is pending"
    assert cleared["data"]["summary"].endswith("; 0 deliveries are pending")


def use_alerts(world, **options):
    """Put other options of alerts in force, as a reload does."""
    world.config = msgspec.structs.replace(world.parts.config, alerts=Alerting(**options))
    world.parts.current.replace(world.config, world.parts.current.routes)


#: Those that may be switched off, and one that began when its event was not recorded yet.
SWITCHED = [one for one in CONDITIONS if one[0] not in ("paused", "fork")]
SWITCHED += [("nothing", 0, "key_expiring", None)]


@pytest.mark.parametrize(("fault", "after", "begin", "end"), SWITCHED)
async def test_alert_switched_on_again_is_reported_again(tmp_path, fault, after, begin, end):
    """Within `quiet`, too. Mutants: `quiet` counts; its begin is that of the first report, so that
    the event counts as recorded."""
    world = World(tmp_path)
    async with world.started():
        await world.look()
        world.at += DAY if begin == "key_expiring" else 10
        world.faults = {fault}
        world.happen(fault)
        await world.look()
        world.at += after
        await world.look()
        first = [one for one in await world.events() if one["type"] == f"system.{begin}"]
        use_alerts(world, **{begin: None})
        world.at += STEP
        await world.look()
        use_alerts(world)
        for _ in range(3):
            await world.look()
            world.at += after
        more = [
            one
            for one in await world.events()
            if one["type"] in (f"system.{begin}", f"system.{end}") and one not in first
        ]

    assert len(first) == 1
    types = [f"system.{one}" for one in (end, begin) if one is not None]
    assert [one["type"] for one in more] == types
    assert more[-1]["data"]["since"] > first[0]["data"]["since"]
    if end is not None:
        assert more[0]["data"]["id_raised"] == first[0]["id"]


@pytest.mark.parametrize(
    ("fault", "name", "told"),
    [
        ("disk low", "disk_low", ["disk_low", "disk_recovered", "disk_low"]),
        ("sink down", "sink_failing", ["sink_failing", "sink_recovered", "sink_failing"]),
        # Its begin is always the same.
        ("nothing", "key_expiring", ["key_expiring", "key_expiring"]),
    ],
)
async def test_alert_switched_on_at_a_restart_is_reported_again(tmp_path, fault, name, told):
    """Mutants: `quiet` counts from the report before it was off; its begin is that of the first
    report, so that the event counts as recorded."""
    world = World(tmp_path)
    world.faults, world.at = {fault}, BEGIN + DAY
    for options in ({}, {name: None}, {}):
        world.config = msgspec.structs.replace(world.config, alerts=Alerting(**options))
        async with world.started():
            for _ in range(3):
                await world.look()
                world.at += STEP
            found = [one for _, one, _ in await world.told()]

    assert [one for one in found if one in told] == told


async def test_failure_before_an_alert_was_off_does_not_count(tmp_path):
    """Mutant: a condition that was not reported yet stays, so `after` seems to be over."""
    world = World(tmp_path)
    async with world.started():
        for at, options, faults in (
            (0, {}, {"sink down"}),
            (10, {"sink_failing": None}, {"sink down"}),
            (HOUR, {"sink_failing": None}, set()),
            (2 * HOUR, {}, {"sink down"}),
            (2 * HOUR + 60, {}, {"sink down"}),
        ):
            use_alerts(world, **options)
            world.at, world.faults = BEGIN + at, faults
            await world.look()
        told = await world.told()

    assert told == [(2 * HOUR + 60, "sink_failing", "warning")]


async def test_other_time_of_counting_does_not_end_an_alert(tmp_path):
    """Mutant: the counts are lost with the former time, so all is quiet."""
    world = World(tmp_path)
    async with world.started():
        world.happen("rejections")
        await world.look()
        use_alerts(world, rejections_growing=GrowingRejections(within=Duration(1800)))
        for at in (2, 1700, 2100):
            world.at = BEGIN + at
            await world.look()
        told = await world.told()

    assert [(at, name) for at, name, _ in told] == [
        (0, "rejections_growing"),
        (2100, "rejections_quiet"),
    ]


async def test_key_that_a_provider_refused_is_asked_again(tmp_path):
    """A person starts a run. Mutant: it is taken while the run has no end, and reported twice."""
    world = World(tmp_path)
    async with world.started():
        world.faults = {"bad key"}
        await world.look()
        for stopped, failures in ((False, 1), (True, 2), (False, 2), (False, 0)):
            world.backfiller.stopped, world.backfiller.failures = stopped, failures
            await world.watching.look()
            is_raised = world.parts.alerts.is_raised("key_expiring", "source/tellabot")
            assert is_raised is (failures > 0)
        told = [name for _, name, _ in await world.told()]

    assert sorted(told) == ["backfill_failing", "backfill_recovered", "key_expiring"]


async def test_requests_are_counted_while_their_alert_is_off(tmp_path):
    """Mutant: all of them are new when it is on again."""
    world = World(tmp_path, alerts=Alerting(rejections_growing=None))
    async with world.started():
        await world.look()
        world.happen("rejections")
        await world.look()
        world.at += HOUR
        use_alerts(world)
        await world.look()

        assert await world.events() == []


async def test_restart_keeps_the_alert_about_a_certificate(tmp_path):
    """Nobody has asked the sink yet. Mutant: a sink without a known certificate has none."""
    world = World(tmp_path, sinks=TLS)
    async with world.started():
        world.watching.certificates["crm"] = BEGIN + 3 * DAY
        await world.look()
        before = world.parts.alerts.raised()
    assert [one.subject for one in before] == ["sink/crm"]
    async with world.started():
        await world.look()
        assert world.parts.alerts.raised() == before
        world.watching.certificates["crm"] = BEGIN + 3 * DAY
        world.at += STEP
        await world.look()
        assert world.parts.alerts.raised() == before
        assert len(await world.events()) == 1
        world.watching.certificates["crm"] = BEGIN + 90 * DAY
        await world.look()
        assert world.parts.alerts.raised() == []


async def test_restart_keeps_the_alert_about_the_pace_of_a_disk(tmp_path):
    """Mutants: an unknown pace is none; it stays unknown when there are enough samples."""
    world = World(tmp_path)

    async def told_after(*left):
        for one in left:
            free = int(one * (1 << 30))
            world.parts.disk.read = lambda _path, free=free: Disk(free, 40 << 30, 1)
            await world.look()
            world.at += HOUR
        return [name for _, name, _ in await world.told()]

    async with world.started():
        assert await told_after(24, 21, 18, 17, 16, 15, 14) == ["disk_low"]
    async with world.started():
        assert await told_after(13, 12, 11, 10, 9, 8, 7) == ["disk_low"]
    async with world.started():
        assert await told_after(*[20] * 5) == ["disk_low"]
        assert await told_after(20, 20) == ["disk_low", "disk_recovered"]


class Unreadable:
    """The journal, which cannot read its counters."""

    def __init__(self, journal):
        self.journal, self.submit = journal, journal.submit

    async def ask(self, read):
        if isinstance(read, Counters):
            raise Unavailable("busy")
        return await self.journal.ask(read)


async def test_restart_keeps_the_alert_about_old_deliveries(tmp_path):
    """The journal is busy at the first look. Mutant: what was not read is not pending."""
    world = World(tmp_path)
    async with world.started():
        await pending_one(world)
        world.at += HOUR
        await world.look()
    async with world.started():
        world.at += STEP
        parts = world.parts
        world.watching = Watching(msgspec.structs.replace(parts, journal=Unreadable(parts.journal)))
        await world.look()
        assert [one.name for one in parts.alerts.raised()] == ["owed_old"]
        world.watching._parts = parts
        world.at += STEP
        await world.look()
        await parts.journal.submit(EndDeliveries("crm", error="gone", at=world.at))
        world.at += STEP
        await world.look()
        told = [name for _, name, _ in await world.told()]

    assert told == ["owed_old", "owed_recovered"]


async def test_disk_that_will_be_full_soon_is_reported(tmp_path):
    """Mutants: the pace of one hour counts; a disk that gets free counts."""
    world = World(tmp_path)
    async with world.started():
        told = []
        for hour, left in enumerate((24, 21, 18, 17, 16, 15, 14)):
            world.at = BEGIN + hour * HOUR
            free = left << 30
            world.parts.disk.read = lambda _path, free=free: type(world.disk)(free, 40 << 30, 1)
            await world.look()
            told = await world.told()
            if told:
                break
        [event] = await world.events()

    assert [(at, name) for at, name, _ in told] == [(5 * HOUR, "disk_low")]
    assert event["data"]["days_left"] == round(15 / 9 * 5 / 24, 1)


async def test_reads_of_a_key_count_on_when_it_changes(tmp_path):
    """Its own count begins with 0 again. Mutant: the difference to the count before is added."""
    world = World(tmp_path)
    async with world.started():
        [codes] = [one.access for one in world.parts.keys.known() if one.access.name == "ana"]
        for count in (60, 50):
            codes.codes_read["list"] = count
            await world.look()
        told = await world.told()

    assert [name for _, name, _ in told] == ["reads_unusual"]


async def test_disk_has_room_again_only_with_some_more(tmp_path):
    """Else it comes and goes with each file. Mutant: the same limit for both."""
    world = World(tmp_path, alerts=Alerting(disk_low=LowDisk(free=Size(10 << 30))))
    async with world.started():
        for hour, free in enumerate((11, 9, 10.5, 9.5, 12)):
            world.at = BEGIN + hour * HOUR
            world.parts.disk.read = lambda _path, free=free: Disk(
                int(free * (1 << 30)), 40 << 30, 1
            )
            await world.look()
        told = await world.told()

    assert [(at, name) for at, name, _ in told if name.startswith("disk")] == [
        (HOUR, "disk_low"),
        (4 * HOUR, "disk_recovered"),
    ]


@pytest.mark.parametrize(
    ("crm", "others", "against"),
    [
        (0.25, (40.0, 0.3), None),
        (12.0, (40.0, 0.0), "sink/crm"),
        (12.0, (0.0,), None),
        (12.0, (40.0,), "sink/crm"),
    ],
)
async def test_clock_is_compared_with_the_middle_one_of_others(tmp_path, crm, others, against):
    """One wrong clock says nothing. Mutants: the first one, or the last; of two, the worse one."""
    names = [f"other{number}" for number in range(len(others))]
    sinks = {name: File(path=str(tmp_path / name)) for name in ("crm", *names)}
    world = World(tmp_path, sinks=sinks)
    world.faults = {"clock"} if crm == 12.0 else set()
    async with world.started():
        for name, offset in zip(names, others, strict=True):
            world.parts.workers[name].clock_offset = offset
        await world.look()
        found = [event for event in await world.events() if event["type"] == "system.clock_off"]

    assert [event["data"]["against"] for event in found] == ([against] if against else [])
