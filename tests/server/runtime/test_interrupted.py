"""What readers could have got when a service ended without a word."""

import json

import pytest
from contracts.journal import planned, record
from services import configured, identity_of

from core.clock import rfc3339
from journal.audit.lines import Fact
from journal.facts import AuditOptions
from journal.writes import RecordFacts
from server.runtime.interrupted import STREAMS, WAITS, interrupted_reads
from server.service import open_journal

BEGIN = 1_790_000_000.0
EVENTS = 20


class Log:
    """A journal with twenty events, ten minutes apart, and the lines of a run."""

    def __init__(self, journal, options):
        self.journal, self.options = journal, options

    async def line(self, do, *, at=None, by="key/app", **fields):
        self.options.now = lambda: BEGIN + (0 if at is None else at)
        await self.journal.submit(RecordFacts((Fact(do, {"by": by, **fields}),)))

    async def interrupted(self, at):
        facts = await interrupted_reads(self.journal, BEGIN + at)
        return [json.loads(json.dumps(dict(fact.fields))) for fact in facts]


@pytest.fixture
async def log(tmp_path):
    config = configured(tmp_path)
    options = AuditOptions(now=lambda: BEGIN, shown=str)
    journal = await open_journal(config, identity_of(config), now=BEGIN, audit=options)
    for n in range(EVENTS):
        await record(journal, planned(n, at=BEGIN + 600 * n))
    yield Log(journal, options)
    await journal.close()


def opened(stream, *, after, clear=True):
    return {"stream": stream, "filter": [], "after": after, "clear": clear}


def at_most(places, **fields):
    return {"by": "key/app", **fields, "at_most": True, "places": places}


async def test_stream_that_was_open_could_give_all_after_its_last_line(log):
    """Mutants: from its beginning; from the newest event; a masked or a closed stream counts."""
    end = 600.0 * EVENTS
    await log.line("service.started", by="service")
    await log.line("stream.opened", at=1, **opened("old", after=0))
    await log.line("stream.opened", at=end - 2, **opened("closed", after=0))
    await log.line("stream.opened", at=end - 2, **opened("masked", after=0, clear=False))
    await log.line("stream.closed", at=end - 1, stream="closed", total=0, codes=0)
    await log.line("code.read", at=end - 1, how="stream", stream="old", places="1-4,7")
    await log.line("stream.opened", at=end - 1, **opened("new", after=3))

    found = await log.interrupted(end)

    assert found == [
        at_most("8-20", how="stream", stream="old"),
        at_most("4-20", how="stream", stream="new"),
    ]


async def test_quiet_stream_could_give_late_events_only(log):
    """It writes a line in each second that gave an event. Mutant: all since its beginning."""
    end = 600.0 * (EVENTS - 1) + STREAMS / 2
    await log.line("service.started", by="service")
    await log.line("stream.opened", at=1, **opened("quiet", after=0))

    assert await log.interrupted(end) == [at_most("20-20", how="stream", stream="quiet")]
    assert await log.interrupted(end + STREAMS) == []


async def test_wait_could_give_late_events(log):
    """Mutants: a wait of an earlier time counts; each wait has a line."""
    end = 600.0 * (EVENTS - 1) + STREAMS / 2
    await log.line("service.started", by="service")
    await log.line("code.wait", at=end - WAITS - 1, by="key/early", filter=[], after=0)
    for _ in range(2):
        await log.line("code.wait", at=end - 600, filter=["number"], after=1)

    assert await log.interrupted(end) == [at_most("20-20", how="wait")]


async def test_readers_of_an_earlier_run_do_not_count(log):
    """Mutant: the runs before the last one are searched, too."""
    end = 600.0 * EVENTS
    await log.line("stream.opened", at=end - 2, **opened("before", after=0))
    await log.line("code.wait", at=end - 2, filter=[], after=0)
    await log.line("service.started", at=end - 1, by="service")

    assert await log.interrupted(end) == []
    assert rfc3339(BEGIN).startswith("2026-")
