"""The differences between two configurations."""

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec
from msgspec.structs import fields

from .complaints import dotted
from .options import Config, Options
from .yaml import Path

#: The options that cannot change while the service runs, by section.
_FIXED: Mapping[str, tuple[str, ...]] = {
    "server": ("listen", "admin_listen", "secret"),
    "journal": ("url",),
    "seal": ("root", "command", "file", "period"),
}


class Differences(msgspec.Struct, frozen=True, kw_only=True):
    """The dotted paths of options that differ, without their values."""

    #: Sources, sinks, routes and keys.
    added: tuple[str, ...] = ()
    #: Single options, such as `sinks.crm.url`.
    changed: tuple[str, ...] = ()
    #: Sources, sinks, routes and keys.
    removed: tuple[str, ...] = ()


def find_differences(before: Config, after: Config) -> Differences:
    """Return the differences in the order of the options."""
    found: dict[str, list[str]] = {"added": [], "changed": [], "removed": []}
    for field in fields(Options):
        one, other = getattr(before, field.name), getattr(after, field.name)
        for how, path in _differences((field.encode_name,), one, other):
            found[how].append(dotted(path))
    return Differences(**{how: tuple(paths) for how, paths in found.items()})


def keep_fixed(before: Config, after: Config) -> tuple[Config, tuple[str, ...]]:
    """Return `after` with the fixed options of `before`, and the names of those that differ."""
    differing = []
    for section, names in _FIXED.items():
        old, new = getattr(before, section), getattr(after, section)
        kept = {name: getattr(old, name) for name in names}
        differing += [f"{section}.{name}" for name in names if getattr(new, name) != kept[name]]
        after = msgspec.structs.replace(after, **{section: msgspec.structs.replace(new, **kept)})
    return after, tuple(differing)


def _differences(path: Path, before: Any, after: Any) -> Iterator[tuple[str, Path]]:
    """Yield each difference: `added`, `changed` or `removed`, and its path."""
    if before == after:
        return
    if isinstance(before, msgspec.Struct) and type(before) is type(after):
        for field in fields(before):
            one, other = getattr(before, field.name), getattr(after, field.name)
            yield from _differences((*path, field.encode_name), one, other)
    elif _is_named(before) and _is_named(after):
        for name in (*before, *(name for name in after if name not in before)):
            if name not in after:
                yield "removed", (*path, name)
            elif name not in before:
                yield "added", (*path, name)
            else:
                yield from _differences((*path, name), before[name], after[name])
    else:
        yield "changed", path


def _is_named(value: Any) -> bool:
    """Return whether it has sources, sinks, routes or keys by name."""
    return isinstance(value, Mapping) and all(
        isinstance(item, msgspec.Struct) for item in value.values()
    )
