"""The product, broken on purpose: it answers before it commits."""

from journal.records import Recorded
from journal.sqlite.journal import SQLiteJournal
from journal.writes import Record
from server.cli.main import main

put = SQLiteJournal.put


def answer_first(self, write, answer, then=None):
    if not isinstance(write, Record):
        put(self, write, answer, then)
        return
    put(self, write, lambda _outcome: None, then)
    ids = tuple(plan.event.id for plan in write.plans)
    answer(Recorded(ids=ids, new=(True,) * len(ids)))


SQLiteJournal.put = answer_first
main()
