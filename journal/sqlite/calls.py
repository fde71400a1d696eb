"""Calls with an `Idempotency-Key` in SQLite: each is done and stored in one transaction."""

import sqlite3
from collections.abc import Sequence
from typing import Any

from core.errors import AlreadyMade

from ..reads import CallByKey
from ..records import Made, MadeCall
from ..writes import ForgetCalls, KeepCall, Once, Write


class CallsOfBatch:
    """The writes of one batch, without those of calls that are stored already."""

    def __init__(self, conn: sqlite3.Connection, ops: Sequence[Write[Any]]) -> None:
        self._conn, self._ops = conn, ops
        #: Keys of calls that this batch may make.
        keys: set[bytes] = set()
        #: Places of calls that an earlier batch or an earlier write of this batch made.
        self._known: set[int] = set()
        self.writes = list(ops)
        for i, op in enumerate(ops):
            if isinstance(op, Once):
                is_known = op.key in keys or call(conn, CallByKey(op.key, op.since)) is not None
                self.writes[i] = KeepCall() if is_known else op.write
                if is_known:
                    self._known.add(i)
                keys.add(op.key)

    def store(self, results: list[Any]) -> None:
        """Store the new calls with their answers. Change the results of the others."""
        for i, op in enumerate(self._ops):
            if not isinstance(op, Once):
                continue
            if i in self._known:
                results[i] = AlreadyMade()
            elif (made := op.made(results[i])) is not None:
                self._conn.execute(
                    "insert or replace into made_calls (key, request, status, answer, at)"
                    " values (?, ?, ?, ?, ?)",
                    (op.key, op.request, made.status, made.answer.decode(), op.at),
                )


def call(conn: sqlite3.Connection, read: CallByKey) -> MadeCall | None:
    row = conn.execute(
        "select request, status, answer from made_calls where key = ? and at >= ?",
        (read.key, read.since),
    ).fetchone()
    if row is None:
        return None
    request, status, answer = row
    return MadeCall(request=request, made=Made(status=status, answer=answer.encode()))


def forget(conn: sqlite3.Connection, write: ForgetCalls) -> bool:
    removed = conn.execute(
        "delete from made_calls where key in"
        " (select key from made_calls where at < ? order by at limit ?)",
        (write.before, write.limit),
    ).rowcount
    return removed == write.limit
