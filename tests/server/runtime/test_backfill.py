"""Runs of a backfill, with the summary that a client returns."""

from services import assembled, clock_of, configured

from core.secret import Secret
from receiver.polling.client import Summary, Trouble
from receiver.polling.options import Backfill
from receiver.providers.smspins import SmsPins
from server.runtime.backfill import BackfillRun, Why


class Client:
    """A polling client that finds nothing."""

    asked = 0

    def __init__(self, summary):
        self.summary = summary

    async def poll(self, _known, **_times):
        yield self.summary


async def test_run_reports_the_error_that_ended_it(tmp_path):
    """Mutant: the first error, so that a bad key was never reported."""
    troubles = [("getHistory", "unreadable"), ("getRentList", "bad_key")]
    summary = Summary(
        asked=3,
        found=0,
        errors=tuple(Trouble(command=c, kind=kind, detail="d") for c, kind in troubles),
        notices=(),
        complete=False,
    )
    source = SmsPins(backfill=Backfill(api_key=Secret("k")))
    config = configured(tmp_path, sources={"smspins": source})
    async with assembled(config, clock_of(lambda: 0.0)) as parts:
        backfiller = parts.backfills.of("smspins")
        begun = BackfillRun(number=1, why=Why.START, since=0.0, started_at=0.0)
        run = await backfiller._poll(Client(summary), begun, [])

    assert (run.asked, run.error, run.detail) == (3, "bad_key", "getRentList: d")
