"""Options from the environment and the command line, in place of those of the file."""

import json
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple, get_args, get_origin

import msgspec
from msgspec.structs import fields

from .complaints import Complaints, dotted, nearest
from .convert import Choices, shape, tag_field_of, tag_of, wanted
from .variables import line_end_dropped, without_line_end
from .yaml import Path

PREFIX = "SMSHOOK_"


class _Spot(NamedTuple):
    """Where an override goes."""

    path: tuple[str, ...]
    #: The types it may have: several while it is not known which sink it is.
    types: tuple[Any, ...]


class _Unknown(Exception):
    """No option has that name; the message suggests one."""


def override(
    reading: Complaints,
    type_: type[msgspec.Struct],
    choices: Choices,
    *,
    environ: Mapping[str, str],
    flags: Mapping[str, str],
) -> None:
    """Put them into `reading.value`. Flags are by dotted path, and win."""
    overriding = _Overriding(reading, type_, choices)
    # A whole source before its options, and its provider before those that depend on it.
    for name in sorted(filter(_is_override, environ), key=_by_depth):
        overriding.from_variable(name, environ[name])
    for place, text in flags.items():
        overriding.put(_Spot(tuple(place.split(".")), (str,)), text, "command line")


def _is_override(name: str) -> bool:
    return name.startswith(PREFIX) and "__" in name


def _by_depth(name: str) -> tuple[int, bool, str]:
    return name.count("__"), not name.endswith(("__PROVIDER", "__TYPE")), name


class _Overriding:
    def __init__(self, reading: Complaints, type_: type[msgspec.Struct], choices: Choices) -> None:
        self.reading, self.type, self.choices = reading, type_, choices

    def from_variable(self, name: str, text: str) -> None:
        try:
            spot = self.spot(_Spot((), (self.type,)), name.removeprefix(PREFIX))
            value = self.read(spot, without_line_end(text))
        except _Unknown as exc:
            self.reading.complain_in(name, (), str(exc))
            return
        self.put(spot, value, name)
        if value == without_line_end(text) != text:
            self.reading.notes.append((spot.path, line_end_dropped(name)))

    def spot(self, at: _Spot, rest: str) -> _Spot:
        """Down from `at`, by the names that the rest of the variable's name begins with."""
        if not rest:
            return at
        if rest.endswith("__"):
            raise _Unknown("names no option after its last __")
        known = self.below(at)
        # The longest: a source may be named `main__2`.
        meant = [key for key in known if f"{rest}__".startswith(f"{_upper(key)}__")]
        if meant:
            key = self.one(at, max(map(len, meant)), meant, rest)
            return self.spot(_Spot((*at.path, key), known[key]), rest[len(key) + 2 :])
        name, _, deeper = rest.partition("__")
        of = _named(at.types)
        if not of or not name:
            near = nearest(name.lower(), known)
            raise _Unknown(f"no such option: {dotted((*at.path, name.lower()))}{near}")
        return self.spot(_Spot((*at.path, name.lower()), of), deeper)

    def one(self, at: _Spot, size: int, keys: Iterable[str], rest: str) -> str:
        """Of those of the same length the one that is spelt so: `MY_X` is `my_x`, then `my-x`."""
        same = [key for key in keys if len(key) == size]
        exact = rest[:size].lower()
        if len(same) > 1 and exact not in same:
            names = " or ".join(dotted((*at.path, key)) for key in same)
            raise _Unknown(f"may be {names}; write it in the file, or rename one")
        return exact if exact in same else same[0]

    def below(self, at: _Spot) -> dict[str, tuple[Any, ...]]:
        """The keys that exist, or could, below: options of Structs, names in the file."""
        value = self.reading.at(at.path)
        known: dict[str, tuple[Any, ...]] = {}
        for key in value if isinstance(value, dict) and _named(at.types) else ():
            known[key] = _named(at.types)
        for struct in self.structs(at.types, value):
            for field in fields(struct):
                known.setdefault(field.encode_name, wanted(field.type).types)
            if struct.__struct_config__.tag_field is not None:
                known.setdefault(tag_field_of(struct), (str,))
        return known

    def structs(self, types: Iterable[Any], value: Any) -> list[type[msgspec.Struct]]:
        found: list[type[msgspec.Struct]] = []
        for type_ in types:
            if type_ in self.choices:
                found.extend(self.choices[type_])
            elif isinstance(type_, type) and shape(type_) is dict:
                found.append(type_)
        # The one that it is first: two sinks may have options of one name and other types.
        return sorted(found, key=lambda struct: not _is_tagged(struct, value))

    def read(self, spot: _Spot, text: str) -> Any:
        """The text; the list or mapping in it where the option is one."""
        shapes = {shape(type_) for type_ in spot.types}
        # Where both will do, a text that begins like JSON is meant to be JSON.
        if not shapes & {dict, list, object} or (
            shapes & {str, object} and not text.startswith(("[", "{"))
        ):
            return text
        try:
            return json.loads(text, object_pairs_hook=_once)
        except (ValueError, RecursionError):
            example = '["a", "b"]' if list in shapes else '{"a": "b"}'
            raise _Unknown(f"{dotted(spot.path)}: not JSON; write it like {example}") from None

    def put(self, spot: _Spot, value: Any, place: str) -> None:
        holder = self.reading.value
        for i, key in enumerate(spot.path[:-1], start=1):
            if not isinstance(holder.get(key), dict):
                holder[key] = {}
                self.reading.places[spot.path[:i]] = place
            holder = holder[key]
        self.forget(spot.path)
        holder[spot.path[-1]] = value
        self.reading.places[spot.path] = place
        if isinstance(value, str):
            self.reading.texts.add(spot.path)

    def forget(self, path: Path) -> None:
        """What was written there before."""
        size = len(path)
        reading = self.reading
        reading.places = {at: line for at, line in reading.places.items() if at[:size] != path}
        reading.texts = {at for at in reading.texts if at[:size] != path}


def _upper(key: str) -> str:
    return key.upper().replace("-", "_")


def _named(types: Iterable[Any]) -> tuple[Any, ...]:
    """What a mapping of names holds; nothing for what is no mapping of names."""
    return tuple(
        of
        for type_ in types
        if shape(type_) is dict and get_origin(type_) is not None
        for of in wanted(get_args(type_)[1]).types
        if shape(of) is not object
    )


def _is_tagged(struct: type[msgspec.Struct], value: Any) -> bool:
    tagged = isinstance(value, dict) and struct.__struct_config__.tag_field is not None
    return tagged and value.get(tag_field_of(struct)) == tag_of(struct)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key given twice")
    return found
