"""Balances of accounts in SQLite, and on which side of the threshold each was."""

import sqlite3
from collections.abc import Mapping

from ..reads import LastBalances
from ..records import AccountBalance
from ..writes import SetBalance


def set_balance(conn: sqlite3.Connection, op: SetBalance) -> bool:
    """Whether it fell below the threshold with this balance."""
    balance = op.balance
    was_low = conn.execute(
        "select low from balances where source = ?", (balance.source,)
    ).fetchone()
    conn.execute(
        "insert into balances (source, amount, currency, at, low) values (?, ?, ?, ?, ?)"
        " on conflict do update set amount = excluded.amount, currency = excluded.currency,"
        " at = excluded.at, low = excluded.low",
        (balance.source, balance.amount, balance.currency, balance.at, balance.low),
    )
    return balance.low and not (was_low and was_low[0])


def balances(conn: sqlite3.Connection, _read: LastBalances) -> Mapping[str, AccountBalance]:
    rows = conn.execute("select source, amount, currency, at, low from balances")
    return {
        source: AccountBalance(
            source=source, amount=amount, currency=currency, at=at, low=bool(low)
        )
        for source, amount, currency, at, low in rows
    }
