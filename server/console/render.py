"""Renders templates. Everything that a page shows is escaped, and shows what is not visible."""

import asyncio
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from core.clock import rfc3339
from core.instants import parse_rfc3339
from core.printable import plain_lines

if TYPE_CHECKING:
    from jinja2 import Environment

_FOLDER = Path(__file__).parent / "templates"
#: The symbol of each kind of state.
MARKS: Mapping[str, str] = {"ok": "●", "wait": "◆", "bad": "▲", "off": "○"}
_UNITS = ((86_400, "d"), (3_600, "h"), (60, "min"), (1, "s"))


async def load() -> "Environment":
    """Return the templates. The first call reads them in a thread, while callbacks are taken."""
    return await asyncio.to_thread(environment)


@lru_cache
def environment() -> "Environment":
    """Return the templates."""
    # A service whose console nobody opens does not need it.
    from jinja2 import Environment, FileSystemLoader, StrictUndefined  # noqa: PLC0415

    class Templates(Environment):
        def getattr(self, obj: Any, attribute: str) -> Any:
            # Rows are dicts. The base class tries the attribute first, and an exception is slow.
            if type(obj) is dict and attribute in obj:
                return obj[attribute]
            return super().getattr(obj, attribute)

    made = Templates(
        autoescape=True,
        undefined=StrictUndefined,
        loader=FileSystemLoader(_FOLDER),
        finalize=_visible,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    made.filters |= {
        "day": day,
        "clock": clock,
        "duration": duration,
        "instant": instant,
        "seconds": _seconds,
        "utc": utc,
    }
    made.globals["MARKS"] = MARKS
    for name in made.list_templates():
        made.get_template(name)
    return made


def render(found: "Environment", template: str, values: Mapping[str, Any]) -> str:
    """Return a page."""
    return found.get_template(template).render(values)


def _visible(value: Any) -> Any:
    r"""Write controls and what moves the text around it as `\u{202e}`. Markup is our own."""
    if type(value) is not str or value.isprintable():
        return value
    return plain_lines(value)


def utc(at: str | float) -> str:
    """Return an instant, in seconds or RFC 3339, as RFC 3339 in UTC, to the second."""
    return f"{rfc3339(_seconds(at))[:19]}Z"


def instant(at: str | float, now: float) -> tuple[str, str]:
    """Return an instant as `utc` does, and as shown at `now`: with its date if not of today."""
    written = at[:19] if isinstance(at, str) and at.endswith("Z") else utc(at)[:19]
    its_day, _, its_clock = written.partition("T")
    is_today = its_day == rfc3339(now)[:10]
    return f"{written}Z", its_clock if is_today else f"{its_day} {its_clock}"


def clock(at: str | float) -> str:
    """Return the time of the day in UTC: `06:12:01`."""
    return datetime.fromtimestamp(_seconds(at), UTC).strftime("%H:%M:%S")


def day(at: str | float) -> str:
    """Return the day in UTC: `2026-09-14`."""
    return datetime.fromtimestamp(_seconds(at), UTC).strftime("%Y-%m-%d")


def duration(seconds: float) -> str:
    """Return the largest unit only: `4 min`."""
    for size, unit in _UNITS:
        if seconds >= size:
            return f"{seconds / size:.0f} {unit}"
    return "0 s"


def _seconds(at: str | float) -> float:
    return (parse_rfc3339(at) or 0.0) if isinstance(at, str) else at
