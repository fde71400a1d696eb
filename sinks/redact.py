"""Mask the fields of an event that a sink must not see, as the sink's `redact` says."""

from collections.abc import Callable, Iterable

import msgspec

from core.paths import Path, parse

MASK = "***"

CODES = ("data.text", "data.code", "data.urls")
PEOPLE = (*CODES, "data.to", "data.from")
_WORDS = {"codes": CODES, "people": PEOPLE}

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


def masked_paths(option: str | tuple[str, ...] | None) -> tuple[Path, ...]:
    """Return the paths of `codes`, `people` or a list, for `mask`. Raises ValueError."""
    if option is None:
        return ()
    if not isinstance(option, str):
        return tuple(_maskable(path) for path in option)
    if option not in _WORDS:
        raise ValueError(
            f"redact: {option!r} is not one of {', '.join(_WORDS)}; "
            "paths are written as a list, such as [data.price]"
        )
    return tuple(parse(path) for path in _WORDS[option])


def mask(event: dict[str, object], paths: Iterable[Path]) -> dict[str, object]:
    """Return a copy of the event, as plain JSON values, with `***` at these paths.

    A list becomes `["***"]`, an empty one stays empty, null stays null, and a missing
    path changes nothing. Keys keep their order.
    """
    for path in paths:
        event = _masked_below(event, path)
    return event


def _masked_below(value: dict[str, object], path: Path) -> dict[str, object]:
    name, *rest = path
    if name not in value:
        return value
    below = value[name]
    if not rest:
        return {**value, name: _masked(below)}
    if not isinstance(below, dict):
        return value
    return {**value, name: _masked_below(below, tuple(rest))}


def _masked(value: object) -> object:
    if value is None:
        return None
    if isinstance(value, list | tuple):
        return [MASK] if value else []
    return MASK


def _maskable(text: str) -> Path:
    try:
        path = parse(text)
    except ValueError as error:
        raise ValueError(f"redact: {error}") from None
    if path[0] in _NEEDED:
        raise ValueError(f"redact: {path[0]} cannot be masked, receivers need it; leave it out")
    return path
