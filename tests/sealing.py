"""Sealed journals whose reads open everything."""

import contextlib

import msgspec
from contracts.journal import NOW
from period_keys import MemoryKeys

from journal.reads import QuarantinedById, QuarantinedCallbacks
from journal.seal import Kind, Opening, Reason
from journal.sqlite.journal import SQLiteJournal

ALL = Opening((Kind.CODES, Kind.PEOPLE), Reason.SHOW)


class OpenedReads:
    """A journal whose reads open everything, unless they say what they open."""

    def __init__(self, journal):
        self._journal = journal

    def __getattr__(self, name):
        return getattr(self._journal, name)

    async def ask(self, read):
        for field, value in (("opening", ALL), ("why", Reason.SHOW)):
            if field in read.__struct_fields__ and getattr(read, field) is None:
                read = msgspec.structs.replace(read, **{field: value})
        answer = await self._journal.ask(read)
        if isinstance(read, QuarantinedCallbacks):  # a list has no content
            one_by_one = (QuarantinedById(one.id, why=Reason.QUARANTINE) for one in answer)
            return [await self._journal.ask(one) for one in one_by_one]
        return answer


class SealedStore:
    """A sealed file and its starts. Earlier starts are left open, as after kill -9."""

    def __init__(self, path, keys=None):
        self.path, self.keys = path, MemoryKeys() if keys is None else keys
        self.started = []

    async def start(self, *, now=NOW, filters=None, keys=True):
        """`keys` False: the journal starts without its keys."""
        journal = await SQLiteJournal.open(
            self.path,
            seal="seal",
            now=now,
            version="0.1.0",
            filters=lambda _keys: filters or {},
            keys=self.keys if keys else None,
        )
        self.started.append(journal)
        return OpenedReads(journal)

    async def end(self):
        for journal in self.started:
            with contextlib.suppress(RuntimeError):  # the test closed it
                await journal.close()
