"""Lines about facts of the audit log. Each has the number of the fact's own line: `leaf`."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import structlog

from journal.audit.lines import Fact, read_ranges
from journal.writes import Leaves

from .frequent import FrequentLines

Fields = Mapping[str, Any]

log = structlog.get_logger()


def _opened(its: Fields) -> Fields:
    return {"key": _key(its), "peer": its.get("from")}


def _refused(its: Fields) -> Fields:
    return {"reason": its["reason"], "peer": its["from"], "count": its["count"]}


def _destroyed(its: Fields) -> Fields:
    return {name: its.get(name) for name in ("kind", "period", "events")}


#: The facts that have a line beside `code.read`, and the fields of that line.
SHOWN: Mapping[str, Callable[[Fields], Fields]] = {
    "seal.destroyed": _destroyed,
    "session.opened": _opened,
    "session.refused": _refused,
}


def log_facts(lines: FrequentLines | None, facts: Sequence[Fact], leaves: Leaves) -> None:
    """Log facts that are on disk. `lines` None: the level hides them."""
    if lines is None or leaves is None:
        return
    for fact, leaf in zip(facts, leaves, strict=True):
        if leaf is None:
            continue
        if fact.do == "code.read":
            lines.read(_key(fact.fields), fact.fields["how"], _events(fact.fields), leaf)
        elif fact.do in SHOWN:
            log.info(fact.do, **SHOWN[fact.do](fact.fields), leaf=leaf)


def _key(its: Fields) -> str | None:
    """Return the name of the key that acts; None: a person or a command."""
    kind, _, name = str(its.get("by")).partition("/")
    return name if kind == "key" else None


def _events(its: Fields) -> int:
    """Return the number of events that a line about a reading names."""
    if "places" in its:
        return sum(map(len, read_ranges(its["places"])))
    return len(its["events"]) if "events" in its else 1
