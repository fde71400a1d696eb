"""Former keys and names of services that a `when` still uses."""

from collections.abc import Iterator

from journal.services import SPELLED_PATHS, replacement

from .event_types import named_values
from .reading import Reading
from .yaml12 import Path


def former_spellings(reading: Reading, path: Path) -> Iterator[str]:
    """Yield a warning for each former key or name in the filter at `path`.

    Filters take both spellings, so nothing is lost; events hold the present one.
    """
    when = reading.at(path)
    for spelled in sorted(SPELLED_PATHS):
        for at, value in named_values(".".join(spelled), path, when):
            present = replacement(spelled, value) if isinstance(value, str) else None
            if present is not None:
                yield reading.warning(at, f"{value!r} is now {present!r}; it still matches")
