"""Relative times: `4 min ago`, `in 2 h`."""

import time
from datetime import datetime

_MINUTE, _HOUR, _DAY = 60, 3600, 86400
#: Units with their sizes, and from how many seconds each is used.
_UNITS = (("d", _DAY, 2 * _DAY), ("h", _HOUR, 2 * _HOUR), ("min", _MINUTE, 2 * _MINUTE))


def relative(at: str | None, now: float | None = None) -> str | None:
    """Return an RFC 3339 time relative to now: `4 min ago`, `in 30 s`; None for None."""
    if at is None:
        return None
    try:
        moment = datetime.fromisoformat(at).timestamp()
    except ValueError:
        return at
    seconds = moment - (time.time() if now is None else now)
    if abs(seconds) < 1:
        return "now"
    return f"in {span(seconds)}" if seconds > 0 else f"{span(-seconds)} ago"


def span(seconds: float) -> str:
    """Return a duration as `90 s`, `4 min`, `3 h` or `12 d`."""
    for unit, size, least in _UNITS:
        if seconds >= least:
            return f"{int(seconds // size)} {unit}"
    return f"{int(seconds)} s"
