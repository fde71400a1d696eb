"""Mask the fields of an event that a sink must not see, as the sink's `redact` says."""

from collections.abc import Callable, Iterable, Sequence

import msgspec

from core import erasure
from core.paths import Path, parse
from core.secret import MASK

#: The content that an erasure removes, too.
CODES = tuple(map(".".join, erasure.CODES))
PEOPLE = (*CODES, *(".".join(path) for path in erasure.PEOPLE if path != erasure.SUBJECT))
_WORDS = {"codes": CODES, "people": PEOPLE}

#: The subject, if it is `number/…`. Other subjects are no personal data.
_NUMBER_SUBJECT: Path = (*erasure.SUBJECT, erasure.NUMBER)

#: Without these fields a receiver can neither distinguish nor read events.
_NEEDED = frozenset({"id", "source", "type", "specversion"})


def compile_redact(option: str | tuple[str, ...] | None) -> Callable[[bytes], bytes] | None:
    """Return a function that masks an event's JSON; None: the option masks no field.

    Raises ValueError with a remedy for an unknown word or path.
    """
    paths = masked_paths(option)
    if not paths:
        return None

    def redact(body: bytes) -> bytes:
        return msgspec.json.encode(mask(msgspec.json.decode(body), paths))

    return redact


def mask_codes(body: bytes) -> bytes:
    """Return an event's JSON with text, code and urls masked."""
    return msgspec.json.encode(mask(msgspec.json.decode(body), erasure.CODES))


def masked_paths(option: str | tuple[str, ...] | None) -> tuple[Path, ...]:
    """Return the paths of `codes`, `people` or a list, for `mask`. Raises ValueError."""
    if option is None:
        return ()
    if isinstance(option, str) and option not in _WORDS:
        raise ValueError(
            f"redact: {option!r} is not one of {', '.join(_WORDS)}; "
            "paths are written as a list, such as [data.price]"
        )
    try:
        paths = tuple(map(parse, _WORDS[option] if isinstance(option, str) else option))
    except ValueError as error:
        raise ValueError(f"redact: {error}") from None
    for first, *_ in paths:
        if first in _NEEDED:
            raise ValueError(f"redact: {first} cannot be masked, receivers need it; leave it out")
    return (*paths, _NUMBER_SUBJECT) if option == "people" else paths


def clear_codes(option: str | tuple[str, ...] | None) -> Sequence[str]:
    """Return the fields of `codes` that the option shows. Raises ValueError."""
    masked = [f"{'.'.join(path)}." for path in masked_paths(option)]
    return [code for code in CODES if not f"{code}.".startswith(tuple(masked))]


def clear_kinds(option: str | tuple[str, ...] | None) -> tuple[str, ...]:
    """Return the words of kinds with a field that the option shows. Raises ValueError."""
    masked = tuple(f"{'.'.join(path)}." for path in masked_paths(option))
    people = set(PEOPLE) - set(CODES)
    return tuple(
        kind
        for kind, names in (("codes", CODES), ("people", people))
        if not all(f"{name}.".startswith(masked) for name in names)
    )


def mask(event: dict[str, object], paths: Iterable[Path]) -> dict[str, object]:
    """Return a copy of the event, as plain JSON values, with `***` at these paths.

    A list becomes `["***"]`, an empty one stays empty, null stays null, and a missing
    path changes nothing. Keys keep their order.
    """
    for path in paths:
        event = _masked(event, path)
    return event


def _masked(value: dict[str, object], path: Path) -> dict[str, object]:
    name, *rest = path
    if name not in value:
        return value
    below = value[name]
    if path == _NUMBER_SUBJECT:
        is_number = isinstance(below, str) and below.startswith(path[-1])
        return {**value, name: MASK} if is_number else value
    if rest:
        return {**value, name: _masked(below, tuple(rest))} if isinstance(below, dict) else value
    if isinstance(below, list | tuple):
        return {**value, name: [MASK] if below else []}
    return {**value, name: None if below is None else MASK}
