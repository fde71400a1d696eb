"""smshook, but it kills itself (kill -9) when a callback or a delivery comes to a step.

Run `kill_at.py STEP [MUTANT]` with the arguments of the command. The steps, in their order:

taken      the journal has the callback; nothing is on disk
answering  event and delivery are on disk; no byte of the answer is sent
recorded   event and delivery are on disk; no worker has the delivery
begun      an attempt is about to begin
sent       the sink confirmed it; the outcome is only in memory
settling   the outcome is in an open transaction
settled    the outcome is on disk; no caller has the result
"""

import os
import signal
import sys
from pathlib import Path

from core.delivery import State
from httpd.exchange import Exchange
from journal.sqlite.batch import BatchWriter
from journal.sqlite.journal import SQLiteJournal
from journal.sqlite.outbox import Outbox
from journal.writes import Record, Settle
from server.cli.main import main
from sinks.attempt import Attempts
from sinks.feed import Feed
from sinks.worker import Worker


def die(*_args, **_kwargs):
    os.kill(os.getpid(), signal.SIGKILL)


make, flush, write, put = Attempts.make, Outbox.flush, BatchWriter.write, SQLiteJournal.put


async def die_after(self, *args, **kwargs):
    await make(self, *args, **kwargs)
    die()


def die_with_an_outcome(self):
    flush(self)
    if self.settles:
        die()


def die_with_an_outcome_on_disk(self, ops):
    results = write(self, ops)
    if any(isinstance(op, Settle) for op in ops):
        die()
    return results


def remember_a_settle(self, ops, deliver=Outbox.deliver):
    self.settles = any(isinstance(op, Settle) for op in ops)
    deliver(self, ops)


def settle_before_it_sends(worker):
    """The mutant: store a delivery as delivered, then send it."""
    send_all = worker._attempt

    async def attempt(self, taken, send):
        await self._journal.submit(Settle(taken.delivery, None, State.DELIVERED, due_at=None))
        return await send_all(self, taken, send)

    worker._attempt = attempt


def die_after_it_is_taken(self, write, *args, **kwargs):
    put(self, write, *args, **kwargs)
    if isinstance(write, Record):
        die()


STEPS = {
    "taken": lambda: setattr(SQLiteJournal, "put", die_after_it_is_taken),
    "answering": lambda: setattr(Exchange, "response", die),
    "recorded": lambda: setattr(Feed, "_put", die),
    "begun": lambda: setattr(Attempts, "make", die),
    "sent": lambda: setattr(Attempts, "make", die_after),
    "settling": lambda: (
        setattr(Outbox, "deliver", remember_a_settle),
        setattr(Outbox, "flush", die_with_an_outcome),
    ),
    "settled": lambda: setattr(BatchWriter, "write", die_with_an_outcome_on_disk),
}

if Path(sys.argv[0]).name == "kill_at.py":
    STEPS[sys.argv.pop(1)]()
    if sys.argv[1] == "settle_first":
        settle_before_it_sends(Worker)
        del sys.argv[1]
    main()
