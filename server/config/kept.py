"""How long each kind of stored data, and each key, is kept."""

from collections.abc import Collection, Mapping

from journal.keyring import DEDUPE
from journal.records import Retained

from .options import Retention

#: Seconds that dedupe keys outlive their event.
KEYS_OUTLIVE = 31 * 86_400.0
#: Seconds between two looks for keys that no stored row uses. Each looks at all rows.
KEYS_EVERY = 86_400.0
#: The kinds of keys that seal what is removed with its event.
WITH_EVENTS = (Retained.CODES, Retained.PEOPLE, Retained.RAW)


def limits(retention: Retention) -> Mapping[Retained, float]:
    """Return the seconds that each kind is kept, in the order of pruning. Others are kept."""
    kept: Mapping[Retained, float | None] = {
        Retained.CODES: retention.codes,
        Retained.PEOPLE: retention.people,
        Retained.ORDER_NUMBERS: retention.people,
        Retained.RAW: retention.callbacks,
        Retained.ATTEMPTS: retention.attempts,
        Retained.QUARANTINE: retention.quarantine,
        Retained.EVENTS: retention.events,
        Retained.ORDERS: retention.events,
    }
    return {kind: float(seconds) for kind, seconds in kept.items() if seconds is not None}


def with_events(retention: Retention) -> Collection[Retained]:
    """Return the kinds whose keys are destroyed after the last event that they seal."""
    events, kept = retention.events, limits(retention)
    if events is None:
        return ()
    return [kind for kind in WITH_EVENTS if kept.get(kind, events + 1) > events]


def key_kept(retention: Retention, kind: str) -> float | None:
    """Return the seconds from the end of a key's period to its destruction; None: it stays.

    `kind` is that of the key. An event that stays longer keeps its key, and all later ones.
    """
    kept = limits(retention)
    events = kept.get(Retained.EVENTS)
    if kind == DEDUPE:
        return None if events is None else events + KEYS_OUTLIVE
    its = kept.get(Retained(kind))
    if events is not None and kind in with_events(retention):
        return min(events + KEYS_EVERY, its or float("inf"))
    return its
