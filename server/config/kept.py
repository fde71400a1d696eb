"""How long each kind of stored data, and each key, is kept."""

from collections.abc import Mapping

from journal.keyring import DEDUPE
from journal.records import Retained

from .options import Retention

#: Seconds that dedupe keys outlive their event.
KEYS_OUTLIVE = 31 * 86_400.0


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


def key_kept(retention: Retention, kind: str) -> float | None:
    """Return the seconds from the end of a key's period to its destruction; None: it stays.

    `kind` is that of the key.
    """
    kept = limits(retention)
    if kind == DEDUPE:
        events = kept.get(Retained.EVENTS)
        return None if events is None else events + KEYS_OUTLIVE
    return kept.get(Retained(kind))
