"""Runs of a backfill, with the summary that a client returns."""

import msgspec
import pytest
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


def found_in(parts, callback, **changed):
    """Return the message of a callback of TellABot, as a poll finds it."""
    (one,) = read_happenings(parts.sources["tellabot"], callback)
    happening = msgspec.structs.replace(one, **changed)
    return FoundMessage(happenings=(happening,), callback=callback)


SOURCES = {
    "smspins": SmsPins(backfill=Backfill(api_key=Secret("k"))),
    "tellabot": TellABot(tokens=(Secret("t" * 20),)),
}


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


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        (None, ("fault", "messages not stored: 1; report it")),
        ("unreadable", ("fault", "messages not stored: 1; report it")),
        ("busy", ("busy", "getHistory: d")),
    ],
)
async def test_message_that_cannot_be_stored_costs_no_other(tmp_path, sms, kind, said):
    """A bug ended the run there, and each later run, too: it never came to the messages after it.

    The run still fails, so the next one asks for the same time again. Mutants: the run ends at the
    message; it succeeds; its notices are lost; an unreadable row hides the fault; the fault hides
    what the provider said.
    """
    errors = () if kind is None else (Trouble(command="getHistory", kind=kind, detail="d"),)
    summary = Summary(
        asked=1,
        found=3,
        errors=errors,
        notices=(Notice(word="unreadable_row", about="getHistory"),),
        complete=not errors,
    )
    async with assembled(configured(tmp_path, sources=SOURCES), clock_of(lambda: 0.0)) as parts:
        found = [
            found_in(parts, sms(1), subject="\ud800"),
            found_in(parts, sms(1)),
            found_in(parts, sms(2)),
        ]
        backfiller = parts.backfills.of("smspins")
        begun = BackfillRun(number=1, why=Why.START, since=0.0, started_at=0.0)
        with structlog.testing.capture_logs() as lines:
            run = await backfiller._poll(Client(summary, *found), begun, [])

    assert (run.new, run.known) == (2, 0)
    assert (run.error, run.detail) == said
    assert run.notices == {"unreadable_row": 1}
    assert [line for line in lines if line["event"] == "backfill.not_stored"] == [
        {
            "event": "backfill.not_stored",
            "log_level": "error",
            "source": "smspins",
            "error": "UnicodeEncodeError",
        }
    ]


async def test_run_ends_while_the_journal_is_unavailable(tmp_path, sms):
    """The next run asks again. Mutant: each message counts as one that cannot be stored."""
    summary = Summary(asked=1, found=2, errors=(), notices=(), complete=True)
    async with assembled(configured(tmp_path, sources=SOURCES), clock_of(lambda: 0.0)) as parts:
        found = found_in(parts, sms(1)), found_in(parts, sms(2))
        backfiller = parts.backfills.of("smspins")
        parts.journal._commits.stalled = True  # the disk does not respond
        with structlog.testing.capture_logs() as lines:
            await backfiller._run_once(Client(summary, *found))
        parts.journal._commits.stalled = False

    assert (backfiller.last.error, backfiller.last.detail) == ("journal", "not written")
    assert "backfill.not_stored" not in [line["event"] for line in lines]
