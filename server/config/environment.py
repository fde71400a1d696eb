"""Options from the environment and the command line, which override those of the file."""

import json
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import msgspec

from .complaints import Complaints, dotted, nearest
from .shapes import Group, Kind, Leaf, ListOf, MapOf, OneOf, shape_of
from .variables import line_end_dropped, without_line_end
from .yaml import Scalar, Style

PREFIX = "SMSHOOK_"


class _Spot(NamedTuple):
    """The place of an override."""

    path: tuple[str, ...]
    #: Several while the type of a sink is not known.
    kinds: tuple[Kind, ...]


class _Unknown(Exception):
    """No option has that name. The message suggests one."""


def override(
    reading: Complaints,
    type_: type[msgspec.Struct],
    *,
    environ: Mapping[str, str],
    flags: Mapping[str, str],
) -> None:
    """Put the overrides into `reading.value`. Flags are by dotted path and win over variables."""
    overrides = _Overrides(reading, type_)
    # A whole source comes before its options, and its provider before those that depend on it.
    found = sorted(
        (name.count("__"), not name.endswith(("__PROVIDER", "__TYPE")), name)
        for name in environ
        if name.startswith(PREFIX) and "__" in name
    )
    for _, _, name in found:
        overrides.put_variable(name, environ[name])
    for place, text in flags.items():
        overrides.put(tuple(place.split(".")), Scalar(text, Style.VARIABLE), "command line")


class _Overrides:
    def __init__(self, reading: Complaints, type_: type[msgspec.Struct]) -> None:
        self.reading, self.root = reading, _Spot((), shape_of(type_).kinds)

    def put_variable(self, name: str, written: str) -> None:
        text = without_line_end(written)
        try:
            spot = self.spot(self.root, name.removeprefix(PREFIX))
            value = _read(spot, text)
        except _Unknown as exc:
            self.reading.complain_in(name, (), str(exc))
            return
        self.put(spot.path, value, name)
        if text != written and isinstance(value, Scalar):
            self.reading.notes.append((spot.path, line_end_dropped(name)))

    def spot(self, at: _Spot, rest: str) -> _Spot:
        """Go down from `at` by the rest of the variable's name."""
        if not rest:
            return at
        if rest.endswith("__"):
            raise _Unknown("names no option after its last __")
        known = self.below(at)
        # The longest, because a source can have the name `main__2`.
        upper = {key: key.upper().replace("-", "_") for key in known}
        meant = [key for key in known if f"{rest}__".startswith(f"{upper[key]}__")]
        size = max(map(len, meant), default=0)
        same = [key for key in meant if len(key) == size]
        # `MY_X` is `my_x`, then `my-x`.
        exact = rest[:size].lower()
        if len(same) > 1 and exact not in same:
            names = " or ".join(dotted((*at.path, key)) for key in same)
            raise _Unknown(f"can be {names}; write it in the file, or rename one")
        if same:
            key = exact if exact in same else same[0]
            return self.spot(_Spot((*at.path, key), known[key]), rest[size + 2 :])
        name, _, deeper = rest.partition("__")
        named = _items(at.kinds)
        if not named or not name:
            if name.upper() in upper.values():
                raise _Unknown(f"options are in capitals; write {name.upper()} for {name}")
            near = nearest(name.lower(), known)
            raise _Unknown(f"no such option: {dotted((*at.path, name.lower()))}{near}")
        return self.spot(_Spot((*at.path, name.lower()), named), deeper)

    def below(self, at: _Spot) -> dict[str, tuple[Kind, ...]]:
        """Return the keys that can be below: options, and names in the file."""
        value = self.reading.at(at.path)
        value = value if isinstance(value, dict) else {}
        items = _items(at.kinds)
        known = dict.fromkeys(value if items else (), items)
        for kind in at.kinds:
            groups = [kind] if isinstance(kind, Group) else []
            if isinstance(kind, OneOf):
                # The written type first: two sinks can have options of one name and two types.
                groups = [*filter(None, [kind.chosen(value)]), *kind.groups.values()]
                known.setdefault(kind.tag_field, (Leaf(str),))
            for group in groups:
                for key, option in group.options.items():
                    known.setdefault(key, option.shape.kinds)
        return known

    def put(self, path: tuple[str, ...], value: Any, place: str) -> None:
        places = self.reading.places
        holder = self.reading.value
        for i, key in enumerate(path[:-1], start=1):
            if not isinstance(holder.get(key), dict):
                holder[key] = {}
                places[path[:i]] = place
            holder = holder[key]
        holder[path[-1]] = value
        for below in [at for at in places if at[: len(path)] == path]:
            del places[below]
        places[path] = place


def _items(kinds: Iterable[Kind]) -> tuple[Kind, ...]:
    """Return the kinds of the values below a mapping by names or keys."""
    maps = [kind for kind in kinds if isinstance(kind, MapOf) and not kind.is_free]
    return tuple(kind for each in maps for kind in each.items.kinds)


def _read(spot: _Spot, text: str) -> Any:
    """Return the text; the list or mapping in it where the option is one."""
    leaves = [kind for kind in spot.kinds if isinstance(kind, Leaf)]
    is_text = leaves and leaves != [Leaf(Any)] and len(leaves) == len(spot.kinds)
    # Where both are possible, a text that begins like JSON is JSON.
    if is_text or (leaves and not text.startswith(("[", "{"))):
        return Scalar(text, Style.VARIABLE)
    try:
        # Objects as tuples of pairs: a dict would lose a key that is given twice.
        found = json.loads(
            text,
            object_pairs_hook=tuple,
            parse_int=_plain,
            parse_float=_plain,
            parse_constant=_plain,
        )
        return _scalars(found)
    except (ValueError, RecursionError):
        lists = any(isinstance(kind, ListOf) for kind in spot.kinds)
        example = '["a", "b"]' if lists else '{"a": "b"}'
        raise _Unknown(f"{dotted(spot.path)}: not JSON; write it like {example}") from None


def _plain(text: str) -> Scalar:
    return Scalar(text, Style.PLAIN)


def _scalars(value: Any) -> Any:
    """Return JSON as the same YAML. Raises ValueError if an object has a key twice."""
    if isinstance(value, tuple):
        found = {key: _scalars(item) for key, item in value}
        if len(found) != len(value):
            raise ValueError("a key given twice")
        return found
    if isinstance(value, list):
        return [_scalars(item) for item in value]
    if isinstance(value, str):
        return Scalar(value, Style.QUOTED)
    return value if isinstance(value, Scalar) else _plain(json.dumps(value))
