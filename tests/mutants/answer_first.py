"""The product, broken on purpose: it answers before it commits."""

import asyncio

from journal.records import Recorded
from journal.sqlite.journal import SQLiteJournal
from journal.writes import Record
from server.cli.main import main

submit = SQLiteJournal.submit


def answer_first(self, write, then=None):
    written = submit(self, write, then)
    if not isinstance(write, Record):
        return written
    answered = asyncio.get_running_loop().create_future()
    ids = tuple(plan.event.id for plan in write.plans)
    answered.set_result(Recorded(ids=ids, new=(True,) * len(ids)))
    return answered


SQLiteJournal.submit = answer_first
main()
