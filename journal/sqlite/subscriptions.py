"""Subscriptions in SQLite."""

import sqlite3
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from ..reads import Subscriptions
from ..records import SealedSecret, StoredSubscription
from ..writes import ChangeSubscription, CreateSubscription, DeleteSubscription

_FIELDS = "key, url, filter, format, secrets, created_at"
_decode = msgspec.json.Decoder(tuple[SealedSecret, ...]).decode


def create(conn: sqlite3.Connection, op: CreateSubscription) -> int:
    made = conn.execute(
        f"insert into subscriptions (id, {_FIELDS}) values (?, ?, ?, ?, ?, ?, ?)",  # noqa: S608 - our words
        (op.subscription.id, *_values(op.subscription)),
    )
    return int(made.lastrowid or 0)


def change(conn: sqlite3.Connection, op: ChangeSubscription) -> bool:
    changed = conn.execute(
        f"update subscriptions set ({_FIELDS}) = (?, ?, ?, ?, ?, ?) where id = ?",  # noqa: S608 - our words
        (*_values(op.subscription), op.subscription.id),
    )
    return bool(changed.rowcount)


def delete(conn: sqlite3.Connection, op: DeleteSubscription) -> bool:
    conn.execute("delete from sinks where name = ?", (op.sink,))
    return bool(conn.execute("delete from subscriptions where id = ?", (op.id,)).rowcount)


def subscriptions(
    conn: sqlite3.Connection, _read: Subscriptions
) -> list[tuple[int, StoredSubscription]]:
    rows = conn.execute(f"select seq, id, {_FIELDS} from subscriptions order by seq")  # noqa: S608 - our words
    return [
        (
            seq,
            StoredSubscription(
                id=id_,
                key=key,
                url=url,
                filter=filter_,
                format=format_,
                secrets=_decode(secrets),
                created_at=created_at,
            ),
        )
        for seq, id_, key, url, filter_, format_, secrets, created_at in rows
    ]


def _values(one: StoredSubscription) -> tuple[object, ...]:
    secrets = msgspec.json.encode(one.secrets).decode()
    return (one.key, one.url, one.filter, one.format, secrets, one.created_at)


#: The function for each kind of write.
VERBS: Mapping[type, Callable[[sqlite3.Connection, Any], Any]] = {
    CreateSubscription: create,
    ChangeSubscription: change,
    DeleteSubscription: delete,
}
