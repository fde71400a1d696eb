"""Former keys and names of services that a `when` still uses."""

from collections.abc import Iterator
from typing import Any

from core.services import SPELLED_PATHS, replacement

from .clauses import leaves
from .complaints import Complaints
from .yaml import Path


def former_spellings(reading: Complaints, path: Path, when: Any) -> Iterator[str]:
    """Yield a warning for each former key or name in the filter at `path`.

    Filters take both spellings, so nothing is lost; events hold the present one.
    """
    for leaf in leaves(path, when):
        spelled = tuple(leaf.field.split("."))
        if spelled in SPELLED_PATHS and isinstance(leaf.operand, str):
            present = replacement(spelled, leaf.operand)
            if present is not None:
                yield reading.warning(
                    leaf.at, f"{leaf.operand!r} is now {present!r}; it still matches"
                )
