"""API keys that were made while the service ran, and the last use of each key, in SQLite."""

import json
import sqlite3
from collections.abc import Mapping, Sequence

from ..reads import KeyUses, StoredKeys
from ..records import StoredKey

_COLUMNS = "id, name, digest, scopes, filter, expires_at, rate, created_at, reads, reason"


def insert(conn: sqlite3.Connection, key: StoredKey) -> None:
    # An earlier key with that name, such as one of the configuration.
    conn.execute("delete from key_uses where name = ?", (key.name,))
    conn.execute(
        f"insert into api_keys ({_COLUMNS}) values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",  # noqa: S608 - our words
        (
            *(key.id, key.name, key.digest, json.dumps(key.scopes), key.filter),
            *(key.expires_at, key.rate, key.created_at, key.reads, key.reason),
        ),
    )


def remove(conn: sqlite3.Connection, id_: str) -> None:
    conn.execute(
        "delete from key_uses where name = (select name from api_keys where id = ?)", (id_,)
    )
    conn.execute("delete from api_keys where id = ?", (id_,))


def stored_keys(conn: sqlite3.Connection, _read: StoredKeys | None = None) -> Sequence[StoredKey]:
    return [
        StoredKey(
            id=id_,
            name=name,
            digest=digest,
            scopes=tuple(json.loads(scopes)),
            filter=filter_,
            expires_at=expires_at,
            rate=rate,
            created_at=created_at,
            reads=reads,
            reason=reason,
        )
        for id_, name, digest, scopes, filter_, expires_at, rate, created_at, reads, reason in (
            conn.execute(f"select {_COLUMNS} from api_keys order by seq")  # noqa: S608 - our words
        )
    ]


def key_uses(conn: sqlite3.Connection, _read: KeyUses) -> Mapping[str, float]:
    return dict(conn.execute("select name, last_at from key_uses"))
