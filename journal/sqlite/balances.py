"""Balances of accounts in SQLite."""

import sqlite3
from collections.abc import Mapping

from ..reads import LastBalances
from ..records import AccountBalance


def balances(conn: sqlite3.Connection, _read: LastBalances) -> Mapping[str, AccountBalance]:
    rows = conn.execute("select source, amount, currency, at, low from balances")
    return {
        source: AccountBalance(
            source=source, amount=amount, currency=currency, at=at, low=bool(low)
        )
        for source, amount, currency, at, low in rows
    }
