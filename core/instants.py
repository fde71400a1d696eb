"""Times as people write them: RFC 3339, or how long ago."""

import math
import re
from datetime import datetime
from typing import Self

from .units import duration

#: RFC 3339, 5.6. A `+` that was not escaped in a URL arrives as a space.
_RFC3339 = re.compile(
    r"(\d{4}-\d\d-\d\d)[Tt ](\d\d:\d\d:\d\d(?:\.\d{1,12})?)(?:([Zz])|([+ -])(\d\d:\d\d))", re.ASCII
)


class Instant:
    """`2020-09-14T18:42:36Z`, or `10m`: that long ago."""

    def __init__(self, at: float | None, ago: float) -> None:
        self._at, self._ago = at, ago

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a time as a person writes it. Raises ValueError, which says what to write."""
        try:
            at = parse_rfc3339(text)
            ago = duration(text) if at is None else 0.0
        except ValueError:
            at, ago = None, math.inf
        if not math.isfinite(ago):
            raise ValueError(
                "write a time such as 2020-09-14T18:42:36Z, or how long ago: 200ms, 30s, 10m, 7d"
            )
        return cls(at, ago)

    def at(self, now: float) -> float:
        """Return it in seconds since the epoch."""
        return now - self._ago if self._at is None else self._at


def parse_rfc3339(text: str) -> float | None:
    """Return seconds since the epoch, or None if the text has another form.

    Raises ValueError if there is no such time, as in `2020-02-30T00:00:00Z`.
    """
    match = _RFC3339.fullmatch(text)
    if match is None:
        return None
    date, clock, utc, sign, offset = match.groups()
    zone = "+00:00" if utc else f"{'-' if sign == '-' else '+'}{offset}"
    return datetime.fromisoformat(f"{date}T{clock}{zone}").timestamp()
