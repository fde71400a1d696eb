"""Plain values to Structs, option by option, each complaint at the path of its option.

msgspec alone stops at the first error, and calls its place `$.sinks[...]`. The types are its own.
"""

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Annotated, Any, Literal, NamedTuple, Union, get_args, get_origin

import msgspec
from msgspec import NODEFAULT, UNSET, UnsetType
from msgspec.structs import FieldInfo, fields

from core.secret import Secret
from core.units import Duration, Rate, Size, from_written

from .complaints import Complaints, dotted, nearest
from .yaml import Path

#: The tagged Structs that stand for a base: `Sink` is one of `SINKS`.
Choices = Mapping[type, tuple[type[msgspec.Struct], ...]]

NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")
#: What is written as text, and checked by its reader.
WRITTEN = (Duration, Size, Rate, Secret)

_WORDS: Mapping[Any, str] = {
    str: "text",
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    dict: "a mapping",
    list: "a list",
    type(None): "nothing",
}


class Check(NamedTuple):
    """Annotates a type with what a value must be besides: `Annotated[str, Check(listen)]`."""

    #: Gives the value to keep. Raises ValueError saying what would do, without the value.
    function: Callable[[Any], Any]


class ExpectedType(NamedTuple):
    """The type of an option, taken apart."""

    #: Without None and annotations; several for `str | tuple[str, ...]`.
    types: tuple[Any, ...]
    #: None will do.
    optional: bool
    checks: tuple[Check, ...]


def wanted(type_: Any) -> ExpectedType:
    if get_origin(type_) is Annotated:
        inner = wanted(get_args(type_)[0])
        found = tuple(item for item in type_.__metadata__ if isinstance(item, Check))
        return inner._replace(checks=inner.checks + found)
    # Both spellings of a union; `X | Y` has an origin of its own in Python 3.11.
    if get_origin(type_) is Union or isinstance(type_, _UNION):
        parts = [wanted(part) for part in get_args(type_) if part is not type(None)]
        types = tuple(type_ for part in parts for type_ in part.types)
        checks = tuple(check for part in parts for check in part.checks)
        return ExpectedType(types, type(None) in get_args(type_), checks)
    return ExpectedType((type_,), optional=False, checks=())


_UNION = type(int | str)


def shape(type_: Any) -> type:
    """What a value of that type is written as: dict, list, or one of the scalars."""
    origin = get_origin(type_)
    if isinstance(type_, type) and issubclass(type_, msgspec.Struct) and type_ is not Rate:
        return dict
    if origin is not None and isinstance(origin, type):
        return dict if issubclass(origin, Mapping) else list
    if type_ in (Any, object):
        return object
    if type_ in (int, float, bool):
        return type_  # type: ignore[no-any-return]
    return int if type_ is Size else str


def tag_of(type_: type[msgspec.Struct]) -> str:
    return str(type_.__struct_config__.tag)


def tag_field_of(type_: type[msgspec.Struct]) -> str:
    return str(type_.__struct_config__.tag_field)


class Conversion:
    """One configuration's values becoming Structs; what is wrong goes to the reading."""

    def __init__(self, reading: Complaints, choices: Choices) -> None:
        self.reading, self.choices = reading, choices
        #: What is common to all of a kind, of those whose kind is not known: the `Sink` in a sink
        #: of type `fiel`.
        self.untagged: dict[Path, msgspec.Struct] = {}

    def value(self, path: Path, type_: Any, value: Any) -> Any:
        """The converted value, without what is wrong in it; UNSET if nothing of it is right."""
        if value is None and not self.reading.fine(path):
            return UNSET
        option = types, optional, checks = wanted(type_)
        value = typed(self.reading, path, option, value)
        if value is None and optional:
            return None
        one = next((each for each in types if isinstance(value, shape(each))), types[0])
        converted = self._one(path, one, value, option)
        return self._checked(path, checks, converted) if self.reading.fine(path) else converted

    def _checked(self, path: Path, checks: Iterable[Check], value: Any) -> Any:
        for check in checks:
            try:
                value = check.function(value)
            except ValueError as exc:
                self.reading.complain(path, str(exc))
                return UNSET
        return value

    def _one(self, path: Path, type_: Any, value: Any, option: ExpectedType) -> Any:
        expected = shape(type_)
        if expected is object:
            return value
        if expected not in (dict, list):
            return self._scalar(path, type_, value, option)
        if expected is dict and isinstance(value, dict):
            return self._mapping(path, type_, value)
        if expected is list and isinstance(value, list):
            return self._items(path, type_, value)
        return self._unexpected(path, option, value)

    def _scalar(self, path: Path, type_: Any, value: Any, option: ExpectedType) -> Any:
        if type_ in WRITTEN:
            return self._written(path, type_, value)
        if get_origin(type_) is Literal:
            return self.choice(path, get_args(type_), value)
        try:
            return msgspec.convert(value, type_)
        except msgspec.ValidationError:
            return self._unexpected(path, option, value)

    def _unexpected(self, path: Path, option: ExpectedType, value: Any) -> UnsetType:
        expected = " or ".join(dict.fromkeys(_word(shape(each)) for each in option.types))
        # Where any text will do; `listen: 8080` in quotes is as wrong.
        quotable = option.types == (str,) and not option.checks and isinstance(value, int | float)
        quotes = "; write it in quotes" if quotable else ""
        self.reading.complain(path, f"expected {expected}, got {_word(type(value))}{quotes}")
        return UNSET

    def _written(self, path: Path, type_: type, value: Any) -> Any:
        try:
            return from_written(type_, value)
        except ValueError as exc:
            self.reading.complain(path, str(exc))
            return UNSET

    def choice(self, path: Path, choices: Iterable[str], value: Any) -> Any:
        """One of those words."""
        if value in (choices := list(choices)):
            return value
        quoted = self.reading.quoted(path, value)
        hint = nearest(value, choices) if quoted == repr(value) else ""
        self.reading.complain(path, f"{quoted} is not one of {', '.join(choices)}{hint}")
        return UNSET

    def _items(self, path: Path, type_: Any, value: list[Any]) -> tuple[Any, ...]:
        of = get_args(type_)[0]
        items = (self.value((*path, i), of, item) for i, item in enumerate(value))
        return tuple(item for item in items if item is not UNSET)

    def _mapping(self, path: Path, type_: Any, value: dict[str, Any]) -> Any:
        if type_ in self.choices:
            return self._tagged(path, type_, value)
        if get_origin(type_) is None:
            return self.struct(path, type_, value)
        of = get_args(type_)[1]
        if shape(of) is dict:
            for name in value:
                self._name((*path, name), name)
        items = {name: self.value((*path, name), of, item) for name, item in value.items()}
        return {name: item for name, item in items.items() if item is not UNSET}

    def _name(self, path: Path, name: str) -> None:
        if not NAME.fullmatch(name):
            self.reading.complain(
                path, "a name is up to 63 of a-z 0-9 _ - and begins with a letter or digit"
            )

    def _tagged(self, path: Path, base: type[msgspec.Struct], value: dict[str, Any]) -> Any:
        types = {tag_of(type_): type_ for type_ in self.choices[base]}
        tag_field = tag_field_of(base)
        rest = {key: item for key, item in value.items() if key != tag_field}
        if tag_field not in value:
            known = ", ".join(sorted(types))
            self.reading.complain((*path, tag_field), f"required; one of {known}")
            return self._untagged(path, base, rest)
        tag = value[tag_field]
        if self.choice((*path, tag_field), sorted(types), tag) is UNSET:
            return self._untagged(path, base, rest)
        return self.struct(path, types[tag], rest)

    def _untagged(
        self, path: Path, base: type[msgspec.Struct], value: Mapping[str, Any]
    ) -> UnsetType:
        """Complain of what is wrong whichever it is."""
        common = {field.encode_name for field in fields(base)}
        struct = self.struct(path, base, {key: value[key] for key in value if key in common})
        if struct is not UNSET:
            self.untagged[path] = struct
        return UNSET

    def struct(self, path: Path, type_: type[msgspec.Struct], value: Mapping[str, Any]) -> Any:
        """The Struct; UNSET if an option that it needs is wrong or missing."""
        values = self.options(path, type_, value)
        if any(field.required and field.name not in values for field in fields(type_)):
            self._common(path, type_, values)
            return UNSET
        return self._built(path, type_, values)

    def _common(self, path: Path, type_: type[msgspec.Struct], values: Mapping[str, Any]) -> None:
        """Complain of what its base refuses, where it cannot itself be made."""
        for base in (base for base in type_.__mro__[1:] if base in self.choices):
            common = {field.name for field in fields(base)} & set(values)
            self._built(path, base, {name: values[name] for name in common})

    def _built(self, path: Path, type_: type[msgspec.Struct], values: Mapping[str, Any]) -> Any:
        try:
            return type_(**values)
        except ValueError as exc:
            self._blame(path, type_, values, str(exc))
            return UNSET

    def _blame(
        self, path: Path, type_: type[msgspec.Struct], values: Mapping[str, Any], whole: str
    ) -> None:
        """Which options the Struct's own check means: those that it refuses one at a time."""
        needed = {field.name: values[field.name] for field in fields(type_) if field.required}
        wrong = {
            field.encode_name: _refused(type_, needed | {field.name: values[field.name]})
            for field in fields(type_)
            if field.name in values
        }
        # What it refuses whatever else is given is one of those that must be given.
        always = _refused(type_, needed)
        if always is not None or not any(wrong.values()):
            one = [*path, *needed] if len(needed) == 1 and always is not None else path
            self._refuse(tuple(one), always or whole, tuple(one))
            if always is not None:
                self._common(path, type_, values)
            return
        for field in fields(type_):
            text = wrong.get(field.encode_name)
            if text is None:
                continue
            option = (*path, field.encode_name)
            items = dict(self._refused_items(option, type_, needed, field, values[field.name]))
            for i, told in items.items():
                self._refuse((*option, i), told, option)
            if not items:
                self._refuse(option, text, option)

    def _refused_items(
        self,
        path: Path,
        type_: type[msgspec.Struct],
        needed: Mapping[str, Any],
        field: FieldInfo,
        value: Any,
    ) -> Iterator[tuple[int, str]]:
        """Which items of a list are refused one at a time, by their place in what was written."""
        written = self.reading.at(path)
        if not isinstance(value, tuple) or not isinstance(written, list):
            return
        # What is no item of the list any more was complained of.
        places = (i for i in range(len(written)) if self.reading.fine((*path, i)))
        for i, item in list(zip(places, value, strict=False)):
            text = _refused(type_, {**needed, field.name: (item,)})
            if text is not None:
                yield i, text

    def _refuse(self, path: Path, text: str, option: Path) -> None:
        # Where it is, is said before it.
        for start in range(len(option)):
            text = re.sub(rf"^{re.escape(dotted(option[start:]))}:? ", "", text)
        self.reading.complain(path, self.reading.untold(path, text))

    def options(
        self, path: Path, type_: type[msgspec.Struct], value: Mapping[str, Any]
    ) -> dict[str, Any]:
        """What is right among the options; what is wrong is left out, for its default."""
        known = {field.encode_name: field for field in fields(type_)}
        for key in value:
            if key not in known:
                self.reading.complain((*path, key), f"unknown option{nearest(key, known)}")
        values = {
            field.name: self._option((*path, key), field, value.get(key, UNSET))
            for key, field in known.items()
        }
        return {name: item for name, item in values.items() if item is not UNSET}

    def _option(self, path: Path, field: FieldInfo, value: Any) -> Any:
        if value is UNSET or _is_emptied(field, value):
            if not field.required:
                return UNSET
            if shape(field.type) is not dict:
                self.reading.complain(path, "required but missing")
                return UNSET
            value = {}
        return self.value(path, field.type, value)


def typed(reading: Complaints, path: Path, option: ExpectedType, value: Any) -> Any:
    """A text from the environment as what the option takes it for: `8` is a number for a number."""
    if path not in reading.texts or not isinstance(value, str):
        return value
    if value == "null" and option.optional:
        return None
    if not all(each in (int, float, bool) for each in option.types):
        return value
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        return value


def _refused(type_: type[msgspec.Struct], values: Mapping[str, Any]) -> str | None:
    try:
        type_(**values)
    except ValueError as exc:
        return str(exc)
    return None


def default_of(field: FieldInfo) -> Any:
    """Of an option that need not be given."""
    if field.default_factory is not NODEFAULT:
        return field.default_factory()
    return field.default


def _is_emptied(field: FieldInfo, value: Any) -> bool:
    # `routes:` with all that was below it commented out.
    types, optional, _ = wanted(field.type)
    return value is None and not optional and all(shape(each) in (dict, list) for each in types)


def _word(type_: type) -> str:
    return _WORDS.get(type_, "text")
