"""Conversion of written values to Structs. Each complaint is at the path of its option.

msgspec alone stops at the first error, and names its place `$.sinks[...]`.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec
from msgspec import UNSET, UnsetType

from core.units import Size, from_written

from .complaints import Complaints, dotted, nearest
from .shapes import (
    CHOICES,
    NAME,
    SPELLED,
    Group,
    Leaf,
    ListOf,
    MapOf,
    OneOf,
    Shape,
    options_of,
    shape_of,
)
from .yaml import Path, Scalar, Style, core

_WORDS: Mapping[Any, str] = {
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    dict: "a mapping",
    list: "a list",
    type(None): "nothing",
}


def read_scalar(shape: Shape, scalar: Scalar) -> str | float | bool | None:
    """Return what the scalar means for an option of that shape.

    A text stays as written: `0123`, `1e3` and `no` need no quotes. Raises ValueError for a number
    that is too large.
    """
    if scalar.is_null or (scalar.is_replaced and scalar.text == "null" and shape.optional):
        return None
    types = {kind.type for kind in shape.kinds if isinstance(kind, Leaf)}
    if types and types <= {int, float, bool} and scalar.style is not Style.QUOTED:
        # Variables may have blanks around a number.
        return core(scalar.text.strip())
    if types & {Any, Size} and scalar.style is Style.PLAIN:
        return core(scalar.text)
    return scalar.text


class Conversion:
    """Converts one configuration's values to Structs. Errors are added to `reading`."""

    def __init__(self, reading: Complaints) -> None:
        self.reading = reading
        #: The common options of parts with an unknown tag: the `Sink` in a sink of type `fiel`.
        self.untagged: dict[Path, msgspec.Struct] = {}
        #: Mappings with free content, such as each `when`, even if options around them are wrong.
        self.free: dict[Path, dict[str, Any]] = {}

    def value(self, path: Path, shape: Shape, written: Any) -> Any:
        """Return the converted value, without the wrong parts; UNSET if nothing is right."""
        self.reading.rest()
        if written is None:
            return UNSET  # it has a complaint
        value = written
        try:
            if isinstance(written, Scalar):
                value = read_scalar(shape, written)
            if value is None and shape.optional:
                return None
            converted = self._by_kind(path, shape, written, value)
            if converted is not UNSET and self.reading.is_right(path):
                for check in shape.checks:
                    converted = check.function(converted)
        except ValueError as exc:
            return self._wrong(path, str(exc))
        return converted

    def _by_kind(self, path: Path, shape: Shape, written: Any, value: Any) -> Any:
        """Return the value as the kind of option that its type fits."""
        match shape.kind_for(value):
            case Leaf() as leaf:
                return self._leaf(path, shape, leaf, written, value)
            case ListOf(items=of) if isinstance(value, list):
                items = (self.value((*path, i), of, item) for i, item in enumerate(value))
                return tuple(item for item in items if item is not UNSET)
            case MapOf() as kind if isinstance(value, dict):
                for name in value if kind.is_named else ():
                    if not NAME.fullmatch(name):
                        text = "a name is up to 63 of a-z 0-9 _ - and begins with a letter or digit"
                        self.reading.complain((*path, name), text)
                found = {key: self.value((*path, key), kind.items, value[key]) for key in value}
                right = {key: item for key, item in found.items() if item is not UNSET}
                if kind.is_free:
                    self.free[path] = right
                return right
            case Group(struct=struct) if isinstance(value, dict):
                return self.struct(path, struct, value)
            case OneOf() as kind if isinstance(value, dict):
                return self._tagged(path, kind, value)
        return self._unexpected(path, shape, written, value)

    def _leaf(self, path: Path, shape: Shape, leaf: Leaf, written: Any, value: Any) -> Any:
        if leaf.type is Any:
            return self._anything(path, value)
        if leaf.words:
            return self.choice(path, leaf.words, value)
        if leaf.type in SPELLED:
            return from_written(leaf.type, value)
        try:
            return msgspec.convert(value, leaf.type)
        except msgspec.ValidationError:
            return self._unexpected(path, shape, written, value)

    def _wrong(self, path: Path, text: str) -> UnsetType:
        self.reading.complain(path, text)
        return UNSET

    def _unexpected(self, path: Path, shape: Shape, written: Any, value: Any) -> UnsetType:
        words = []
        for kind in shape.kinds:
            match kind:
                case Leaf(type=type_):
                    words.append(_WORDS.get(int if type_ is Size else type_, "text"))
                case ListOf():
                    words.append("a list")
                case _:
                    words.append("a mapping")
        is_plain = isinstance(written, Scalar) and written.style is Style.PLAIN
        got = _WORDS.get(type(core(written.text) if is_plain else value), "text")
        hint = "; write it in [ ]" if (words, got) == (["a list"], "text") else ""
        return self._wrong(path, f"expected {' or '.join(dict.fromkeys(words))}, got {got}{hint}")

    def _anything(self, path: Path, value: Any) -> Any:
        """Read scalars as YAML does: in conditions, templates and labels."""
        if isinstance(value, dict):
            return {key: self._anything((*path, key), item) for key, item in value.items()}
        if isinstance(value, list):
            return [self._anything((*path, i), item) for i, item in enumerate(value)]
        if isinstance(value, Scalar):
            try:
                return read_scalar(shape_of(Any), value)
            except ValueError as exc:
                self.reading.complain(path, str(exc))
                return None
        return value

    def choice(self, path: Path, words: Iterable[str], value: Any) -> Any:
        if value in (words := list(words)):
            return value
        quoted = self.reading.quoted(path, value)
        hint = nearest(value, words) if quoted == repr(value) else ""
        return self._wrong(path, f"{quoted} is not one of {', '.join(words)}{hint}")

    def _tagged(self, path: Path, kind: OneOf, value: dict[str, Any]) -> Any:
        field = (*path, kind.tag_field)
        rest = {key: item for key, item in value.items() if key != kind.tag_field}
        group = kind.chosen(value)
        if group is not None:
            return self.struct(path, group.struct, rest)
        tags = sorted(kind.groups)
        if kind.tag_field in value:
            written = value[kind.tag_field]
            is_text = isinstance(written, Scalar) and not written.is_null
            self.choice(field, tags, written.text if is_text else None)
        else:
            self.reading.complain(field, f"required; one of {', '.join(tags)}")
        # The common options are checked all the same.
        common = options_of(kind.base)
        struct = self.struct(path, kind.base, {key: rest[key] for key in rest if key in common})
        if struct is not UNSET:
            self.untagged[path] = struct
        return UNSET

    def struct(self, path: Path, type_: type[msgspec.Struct], value: Mapping[str, Any]) -> Any:
        """Return the Struct; UNSET if a required option is wrong or missing."""
        values = self.options(path, type_, value)
        if any(it.required and it.name not in values for it in options_of(type_).values()):
            self._build_base(path, type_, values)
            return UNSET
        return self._build(path, type_, values)

    def _build_base(
        self, path: Path, type_: type[msgspec.Struct], values: Mapping[str, Any]
    ) -> None:
        """Check the common options of a Struct that cannot be built."""
        for base in (base for base in type_.__mro__[1:] if base in CHOICES):
            common = {it.name for it in options_of(base).values()} & set(values)
            self._build(path, base, {name: values[name] for name in common})

    def _build(self, path: Path, type_: type[msgspec.Struct], values: Mapping[str, Any]) -> Any:
        try:
            return type_(**values)
        except ValueError as exc:
            self._blame(path, type_, values, str(exc))
            return UNSET

    def _blame(
        self, path: Path, type_: type[msgspec.Struct], values: Mapping[str, Any], whole: str
    ) -> None:
        """Find the options that the Struct's own check refuses, by trying them one at a time."""
        needed = {it.name: values[it.name] for it in options_of(type_).values() if it.required}
        always = _refusal(type_, needed)
        wrong = [
            (option, text)
            for option in options_of(type_).values()
            if option.name in values
            if (text := _refusal(type_, needed | {option.name: values[option.name]})) is not None
        ]
        if always is not None or not wrong:
            # The only required option is wrong; otherwise a combination of options is.
            at = (*path, *needed) if len(needed) == 1 and always is not None else path
            self._refuse(at, always or whole, at)
            if always is not None:
                self._build_base(path, type_, values)
            return
        for option, text in wrong:
            at, value = (*path, option.key), values[option.name]
            items = [
                (place, refusal)
                for place, item in self.reading.items(at, value if type(value) is tuple else ())
                if (refusal := _refusal(type_, {**needed, option.name: (item,)})) is not None
            ]
            for place, refusal in items or [(at, text)]:
                self._refuse(place, refusal, at)

    def _refuse(self, path: Path, text: str, option: Path) -> None:
        # The complaint begins with the place. Take it out of the text.
        for start in range(len(option)):
            text = re.sub(rf"^{re.escape(dotted(option[start:]))}:? ", "", text)
        self.reading.complain(path, self.reading.without_values(path, text))

    def options(
        self, path: Path, type_: type[msgspec.Struct], value: Mapping[str, Any]
    ) -> dict[str, Any]:
        """Return the valid options. An invalid one is left out, so it gets its default."""
        known = options_of(type_)
        for key in value:
            if key not in known:
                self.reading.complain((*path, key), f"unknown option{nearest(key, known)}")
        values = {}
        for key, option in known.items():
            at, shape, written = (*path, key), option.shape, value.get(key, UNSET)
            # `routes:` with all of its lines commented out.
            emptied = isinstance(written, Scalar) and written.is_null and not shape.optional
            is_absent = written is UNSET or (emptied and not shape.has_leaf)
            if is_absent and not option.required:
                continue
            if is_absent and isinstance(shape.kinds[0], Leaf | ListOf):
                self.reading.complain(at, "required but missing")
                continue
            values[option.name] = self.value(at, shape, {} if is_absent else written)
        return {name: item for name, item in values.items() if item is not UNSET}


def _refusal(type_: type[msgspec.Struct], values: Mapping[str, Any]) -> str | None:
    try:
        type_(**values)
    except ValueError as exc:
        return str(exc)
    return None
