"""The pruner with clocks that tests move, and the guard against a clock that is set forward."""

import asyncio
import contextlib

import pytest
from contracts.journal import owed as owed_to
from contracts.journal import planned, record
from services import Machine, assembled, configured
from structlog.testing import capture_logs

from core.errors import Unavailable
from core.secret import Secret
from core.units import Duration
from journal.commit import CommitMeters
from journal.reads import DeliveryById, EventById, JournalStats, Moment
from journal.records import Pruned, Retained
from journal.writes import SetMoment
from receiver.providers.tellabot.callbacks import TellABot
from server.config.options import Retention
from server.runtime import steps
from server.runtime.redelivery import Redelivery
from server.runtime.retention import AFTER_UPGRADE, KEYS_OUTLIVE, Pruner, limits
from sinks.file.sink import File

NOW = 1_790_000_000.0
DAY = 86_400.0
SMS = {"text": "G-1 is it", "code": "G-1", "to": "+18503814729"}
DAYS = Retention(events=Duration(90 * DAY), codes=Duration(DAY), raw=Duration(7 * DAY), people=None)


@pytest.fixture
def machine():
    return Machine(NOW)


@pytest.fixture
def start(tmp_path, machine):
    """Return a context that is a start of the service, with that retention."""

    @contextlib.asynccontextmanager
    async def start(retention=DAYS, **changed):
        config = configured(
            tmp_path,
            retention=retention,
            sources={"tellabot": TellABot(tokens=(Secret("t" * 20),))},
            sinks={
                "crm": File(path=str(tmp_path / "crm.jsonl")),
                "log": File(path=str(tmp_path / "log.jsonl"), redact="codes"),
            },
            **changed,
        )
        async with assembled(config, machine.clock()) as parts:
            await parts.pruner.load()
            yield parts

    return start


async def readable(parts, plan):
    """Return whether the event is stored, and whether with its code."""
    kept = await parts.journal.ask(EventById(plan.event.id))
    return kept is not None, kept is not None and b"G-1" in kept.body


@pytest.mark.parametrize(("after", "expected"), [(-1, (True, True)), (1, (True, False))])
async def test_code_is_readable_until_its_time(start, machine, after, expected):
    """Mutant: the age is counted from the start of the service."""
    async with start() as parts:
        plan = planned(at=NOW, **SMS)
        await record(parts.journal, plan)
        machine.pass_by(DAY + after)

        await parts.pruner.prune(gently=False)

        assert await readable(parts, plan) == expected


async def test_event_and_then_its_keys_are_removed(start, machine):
    async with start() as parts:
        await record(parts.journal, planned(1, at=NOW))
        machine.pass_by(90 * DAY + 1)
        first = await parts.pruner.prune(gently=False)
        copy = await record(parts.journal, planned(1))
        machine.pass_by(KEYS_OUTLIVE)
        await parts.pruner.prune(gently=False)
        again = await record(parts.journal, planned(1))

    assert first.counts[Retained.EVENTS] == 1
    assert (copy.new, again.new) == ((False,), (True,))


async def test_run_is_logged_once_and_an_empty_run_is_not(start, machine):
    async with start() as parts:
        for _ in range(120):
            await record(parts.journal, planned(at=NOW))
        machine.pass_by(91 * DAY)
        with capture_logs() as lines:
            await parts.pruner.prune(gently=False)
            await parts.pruner.prune(gently=False)

    assert [(line["event"], line["events"]) for line in lines] == [("retention.pruned", 120)]


async def test_paused_sink_keeps_what_needs_no_code(start, machine):
    """Mutant: the sink that masks codes loses its delivery, too."""
    async with start() as parts:
        plan = planned(at=NOW, owed=[owed_to("crm"), owed_to("log"), owed_to("gone")], **SMS)
        await record(parts.journal, plan)
        machine.pass_by(DAY + 1)
        with capture_logs() as lines:
            await parts.pruner.prune(gently=False)
        kept = (await parts.journal.ask(EventById(plan.event.id))).deliveries

    assert [one.state for one in kept] == ["expired", "pending", "expired"]
    expired = [line for line in lines if line["event"] == "delivery.expired"]
    assert [(line["sink"], line["error"]) for line in expired] == [
        ("crm", "erased"),
        ("gone", "erased"),
    ]


async def test_replay_of_an_erased_event_expires(start, machine):
    """A sink must not get an event with gaps. Mutant: it is sent nulls."""
    sent = []

    async def send(outgoing):
        sent.append(outgoing.body)

    async with start() as parts:
        plan = planned(at=NOW, **SMS)
        await record(parts.journal, plan)
        machine.pass_by(DAY + 1)
        await parts.pruner.prune(gently=False)
        worker = parts.workers["crm"]
        running = asyncio.create_task(worker.run(send))
        kept = await parts.journal.ask(EventById(plan.event.id))
        redelivery = Redelivery(parts.journal, parts.workers, parts.subscriptions, parts.clock.now)
        [number] = (await redelivery.replay(kept, ["crm"])).ids
        async with asyncio.timeout(10):
            while (  # noqa: ASYNC110 - what is on disk has no event
                made := await parts.journal.ask(DeliveryById(number))
            ).state == "pending":
                await asyncio.sleep(0.01)
        running.cancel()

    assert (made.state, made.attempts[-1].error, sent) == ("expired", "erased", [])


# --- clocks ----------------------------------------------------------------------------------


async def test_clock_set_forward_erases_nothing_early(start, machine):
    """Mutant: ages follow the wall clock."""
    async with start() as parts:
        plan = planned(at=NOW, **SMS)
        await record(parts.journal, plan)
        machine.wall += 400 * DAY
        parts.clock.check()

        await parts.pruner.prune(gently=False)
        early = await readable(parts, plan)
        machine.pass_by(DAY + 1)
        await parts.pruner.prune(gently=False)

        assert early == (True, True)
        assert await readable(parts, plan) == (True, False)


async def test_codes_after_a_correction_of_the_clock_are_erased_on_time(start, machine):
    """A machine that starts a year behind gets the time from the network.

    Mutant: ages follow a clock that counts from the start only, so they stay a year behind.
    """
    machine.wall -= 365 * DAY
    async with start() as parts:
        machine.pass_by(20)
        machine.wall += 365 * DAY
        parts.clock.check()
        plan = planned(at=parts.clock.now(), **SMS)
        await record(parts.journal, plan)

        machine.pass_by(DAY - 1)
        await parts.pruner.prune(gently=False)
        early = await readable(parts, plan)
        machine.pass_by(2)
        counts = await parts.pruner.count()
        await parts.pruner.prune(gently=False)

        assert early == (True, True)
        assert counts["codes"] == 1
        assert await readable(parts, plan) == (True, False)


async def test_start_with_a_clock_far_ahead_waits_for_an_hour(start, machine):
    """Mutants: no wait; the next start believes a suspicious clock."""
    async with start() as parts:
        await parts.pruner._note_time()
    machine.wall += 10 * DAY
    for _ in range(2):
        async with start() as parts:
            with capture_logs() as lines:
                parts.pruner._log_waits()
            waits = parts.pruner.wait
            await parts.pruner._note_time()
            assert await parts.journal.ask(Moment("retention_clock")) == NOW
        assert (waits, lines[0]["reason"]) == (3600.0, "clock")
    async with start() as parts:
        machine.pass_by(3601)
        assert parts.pruner.wait == 0
        await parts.pruner._note_time()
    async with start() as parts:
        assert parts.pruner.wait == 0


async def test_clock_set_back_makes_nothing_older(start, machine):
    async with start() as parts:
        plan = planned(at=NOW, **SMS)
        await record(parts.journal, plan)
        machine.pass_by(DAY - 10)
        machine.wall -= 30
        parts.clock.check()
        machine.pass_by(20)

        await parts.pruner.prune(gently=False)

        assert await readable(parts, plan) == (True, True)


# --- an upgrade ------------------------------------------------------------------------------


@pytest.mark.parametrize(("configured_", "waits"), [(False, AFTER_UPGRADE), (True, 0.0)])
async def test_upgraded_journal_keeps_everything_for_a_week(start, machine, configured_, waits):
    """Unless `retention` is written. Mutants: it begins at once; it waits after each start."""
    async with start(retention_is_set=configured_) as parts:
        await parts.journal.submit(SetMoment("upgraded_to_retention", 0))
    async with start(retention_is_set=configured_) as parts:
        first = parts.pruner.wait
    machine.pass_by(3000)
    async with start(retention_is_set=configured_) as parts:
        second = parts.pruner.wait

    assert (first, second) == (waits, max(0.0, waits - 3000))


def test_callbacks_are_kept_no_longer_than_codes_and_numbers():
    """Mutant: `raw` alone."""
    hour = Duration(3600)

    assert limits(Retention(codes=hour))[Retained.RAW] == hour
    assert limits(Retention(people=hour))[Retained.RAW] == hour
    assert limits(Retention(raw=None, codes=hour))[Retained.RAW] == hour
    assert Retained.RAW not in limits(Retention(raw=None))
    assert Retained.EVENTS not in limits(Retention(events=None))


async def test_overdue_data_is_measured(start, machine):
    async with start() as parts:
        await parts.pruner.prune(gently=False)
        machine.pass_by(300)

        assert parts.pruner.overdue()[Retained.EVENTS] == 300
        assert (await parts.journal.ask(JournalStats())).events == 0


class KeyFile:
    """Keys that fail to be destroyed for some time. It notes whether the row was still clear."""

    def __init__(self, failures):
        self.failures, self.destroyed = failures, []

    def destroy(self, kind, before):
        if self.failures:
            self.failures -= 1
            raise Unavailable("the key file cannot be written")
        self.destroyed.append((kind, before))


async def test_data_that_is_never_erased_becomes_overdue(start, machine):
    """Its keys cannot be destroyed since the start. Mutant: only a kind that was pruned counts."""
    async with start() as parts:
        parts.pruner._keys = KeyFile(failures=1_000)
        assert (parts.pruner.overdue()[Retained.CODES], parts.pruner.has_pruned_all) == (0, False)
        await parts.pruner.prune(gently=False)
        machine.pass_by(3 * 3600)

        assert parts.pruner.overdue()[Retained.CODES] == 3 * 3600
        assert not parts.pruner.has_pruned_all
        parts.pruner._keys = None
        await parts.pruner.prune(gently=False)
        assert parts.pruner.overdue()[Retained.CODES] == 0
        assert parts.pruner.has_pruned_all


async def test_keys_are_destroyed_before_their_rows(start, machine):
    """Mutant: the rows go although the keys are still there, and nothing tries again."""
    async with start() as parts:
        plan = planned(at=NOW, **SMS)
        await record(parts.journal, plan)
        machine.pass_by(DAY + 1)
        parts.pruner._keys = keys = KeyFile(1)
        await parts.pruner.prune(gently=False)
        first = await readable(parts, plan)
        await parts.pruner.prune(gently=False)

        assert (first, await readable(parts, plan)) == ((True, True), (True, False))
        assert ("codes", NOW + 1) in keys.destroyed
        assert {kind for kind, _ in keys.destroyed} == {
            *("codes", "people", "raw", "quarantine", "dedupe")
        }
        assert ("dedupe", NOW + DAY + 1 - (90 + 31) * DAY) in keys.destroyed


class BusyJournal:
    """A journal in which each step waits for a commit of callbacks, and then for its own."""

    def __init__(self, machine, rows, commit):
        self.machine, self.left, self.meters = machine, rows, CommitMeters()
        self.commit, self.steps = commit, []

    async def submit(self, write, line=None):  # noqa: ARG002 - as the journal's
        self.machine.pass_by(2 * self.commit)
        self.steps.append(write.limit)
        self.meters.operations += 2
        count = min(write.limit, self.left)
        self.left -= count
        return Pruned(count=count, place=0, more=self.left > 0)


@pytest.mark.parametrize("commit", [0.0005, 0.001, 0.004, 0.012])
@pytest.mark.parametrize(
    ("kinds", "kept"),
    [
        (1, Retention(raw=None)),
        (2, Retention()),
        (4, Retention(codes=Duration(DAY), people=Duration(DAY))),
    ],
)
async def test_pruning_keeps_up_with_the_callbacks(kinds, kept, commit, machine, monkeypatch):
    """800 a second come, and each is pruned once for each kind.

    `commit` is the seconds of a commit of callbacks: on a slow disk it has most of the time. The
    shorter it is, the fewer rows a step has, so that callbacks wait less.

    Mutants: 20 rows a step; 32 rows; a pause of eight times the step; no pause; twice the pace; the
    pace of one kind for all; no longer pause for one kind.
    """
    rows, slept = 8_000, []

    async def sleep(seconds):
        machine.pass_by(seconds)
        slept.append(seconds)

    monkeypatch.setattr(steps.asyncio, "sleep", sleep)
    began, journal = machine.ticks, BusyJournal(machine, rows, commit)
    pruner = Pruner(journal, workers={}, clock=machine.clock(), shown=str)
    pruner.use(kept, is_configured=True)
    while await pruner._prune(Retained.EVENTS, NOW, gently=True):
        pass

    took = machine.ticks - began
    assert 800 < rows / took / kinds < 1_000
    assert sum(slept) > took / 2 - 1e-9
    _, *after_the_first = journal.steps
    assert max(after_the_first) <= max(20, 900 * kinds * took / len(journal.steps))
