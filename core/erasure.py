"""Erases the content of events: its fields become null, and the event gets `erasedtime`. Pure."""

from collections.abc import Iterable, Mapping

from .clock import rfc3339
from .paths import MISSING, Path, value_at

SUBJECT: Path = ("subject",)
#: The subject of an event that is known by its number only.
NUMBER = "number/"
#: The fields that `retention.codes` erases, and those that `retention.people` erases.
CODES: tuple[Path, ...] = (("data", "text"), ("data", "code"), ("data", "urls"))
PEOPLE: tuple[Path, ...] = (
    ("data", "to"),
    ("data", "from"),
    ("data", "previous_to"),
    SUBJECT,
)
CONTENT = (*CODES, *PEOPLE)
#: The names in `data` of these fields.
CONTENT_NAMES = frozenset(path[1] for path in CONTENT if path != SUBJECT)
_ERASED = "erasedtime"


def erase(event: Mapping[str, object], paths: Iterable[Path], *, at: float) -> dict[str, object]:
    """Return an event, as plain JSON values, without the values at these paths.

    `at`: seconds since the epoch. An event without such values is returned as it is. A subject is
    erased only if it is a number.
    """
    erased = dict(event)
    its = [path for path in paths if value_at(event, path) is not MISSING]
    if not any(map(_holds_content, [value_at(event, path) for path in its], its)):
        return erased
    data = dict(_mapping(erased.pop("data", None)))
    for path in its:
        if path != SUBJECT:
            data[path[-1]] = None
        elif _holds_content(event["subject"], path):
            erased["subject"] = None
    return {**erased, _ERASED: rfc3339(at), "data": data}


def is_erased(event: Mapping[str, object], paths: Iterable[Path]) -> bool:
    """Return whether the value at one of these paths was erased.

    In an event with `erasedtime`, each null of the CONTENT counts as erased.
    """
    if _ERASED not in event:
        return False
    return any(value_at(event, path) is None for path in paths if touches(path, CONTENT))


def touches(path: Path, others: Iterable[Path]) -> bool:
    """Return whether a path leads to one of the others, or into it."""
    return any(
        path[: len(other)] == other or other[: len(path)] == path
        for other in others  # the shorter one is the beginning of the longer one
    )


def _holds_content(value: object, path: Path) -> bool:
    if path == SUBJECT:
        return isinstance(value, str) and value.startswith(NUMBER)
    return value is not None and value != []


def _mapping(value: object) -> Mapping[str, object]:
    return value if isinstance(value, Mapping) else {}
