"""Runs of a backfill, with the summary that a client returns."""

import msgspec
import structlog
from services import assembled, clock_of, configured

from core.secret import Secret
from receiver.door import read_happenings
from receiver.polling.client import Summary, Trouble
from receiver.polling.options import Backfill
from receiver.polling.questions import FoundMessage, Notice
from receiver.providers.smspins import SmsPins
from receiver.providers.tellabot.callbacks import TellABot
from server.runtime.backfill import BackfillRun, Why


class Client:
    """A polling client that finds these messages."""

    asked = 0

    def __init__(self, summary, *found):
        self.summary, self.found = summary, found

    async def poll(self, _known, **_times):
        for one in self.found:
            yield one
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


async def test_message_that_cannot_be_stored_costs_no_other(tmp_path, sms):
    """A bug ended the run there, and each later run, too: it never came to the messages after it.

    The run still fails, so the next one asks for the same time again. Mutants: the run ends at the
    message; it succeeds; its notices are lost.
    """
    summary = Summary(
        asked=1,
        found=3,
        errors=(),
        notices=(Notice(word="unreadable_row", about="getHistory"),),
        complete=True,
    )
    sources = {
        "smspins": SmsPins(backfill=Backfill(api_key=Secret("k"))),
        "tellabot": TellABot(tokens=(Secret("t" * 20),)),
    }
    async with assembled(configured(tmp_path, sources=sources), clock_of(lambda: 0.0)) as parts:
        found = []
        for subject, callback in (("\ud800", sms(1)), (None, sms(1)), (None, sms(2))):
            (one,) = read_happenings(parts.sources["tellabot"], callback)
            one = msgspec.structs.replace(one, subject=subject or one.subject)
            found.append(FoundMessage(happenings=(one,), callback=callback))
        backfiller = parts.backfills.of("smspins")
        begun = BackfillRun(number=1, why=Why.START, since=0.0, started_at=0.0)
        with structlog.testing.capture_logs() as lines:
            run = await backfiller._poll(Client(summary, *found), begun, [])

    assert (run.new, run.known) == (2, 0)
    assert (run.error, run.detail) == ("fault", "messages not stored: 1; report it")
    assert run.notices == {"unreadable_row": 1}
    assert [line for line in lines if line["event"] == "backfill.not_stored"] == [
        {
            "event": "backfill.not_stored",
            "log_level": "error",
            "source": "smspins",
            "error": "UnicodeEncodeError",
        }
    ]
