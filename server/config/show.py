"""A configuration as YAML text, for people to look at: its secrets are masked."""

from collections.abc import Mapping
from typing import Any, get_args, get_origin

import msgspec
import yaml
from msgspec import UNSET
from msgspec.structs import FieldInfo, fields

from core.secret import Secret
from core.units import Duration, Rate, Size

from .complaints import Complaints
from .convert import Choices, default_of, shape, tag_field_of, tag_of, typed, wanted
from .yaml import RESOLVERS, Path

_MASK = "***"
#: Beside the newline, which is always quoted.
_LINE_ENDS = frozenset("\x85\u2028\u2029")
# A shorter text is found in many others by chance.
_SHORTEST = 8
_SECONDS = {"d": 86400, "h": 3600, "m": 60, "s": 1}
_BYTES = {"GiB": 1024**3, "MiB": 1024**2, "KiB": 1024}


def as_yaml(reading: Complaints, type_: type[msgspec.Struct], choices: Choices) -> str:
    """What was read, and the defaults. What is unknown or wrong is masked: it may be a secret."""
    showing = _Showing(reading, choices)
    # Twice: a secret may also stand, before or behind, where none is expected.
    showing.struct((), type_, reading.value)
    tree = showing.struct((), type_, reading.value)
    return yaml.dump(tree, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=100)


class _Showing:
    def __init__(self, reading: Complaints, choices: Choices) -> None:
        self.reading, self.choices = reading, choices
        self.secrets: set[str] = set()

    def struct(self, path: Path, type_: type[msgspec.Struct], value: dict[str, Any]) -> Any:
        known = {field.encode_name: field for field in fields(type_)}
        tree = {
            key: self.option((*path, key), field, value.get(key, UNSET))
            for key, field in known.items()
        }
        unknown = dict.fromkeys((key for key in value if key not in known), _MASK)
        return {key: item for key, item in tree.items() if item is not UNSET} | unknown

    def option(self, path: Path, field: FieldInfo, value: Any) -> Any:
        if value is UNSET and field.required:
            return UNSET
        if value is UNSET or (value is None and self.reading.fine(path)):
            return None if field.required else plain(default_of(field))
        return self.value(path, field.type, value)

    def value(self, path: Path, type_: Any, value: Any) -> Any:
        types = (option := wanted(type_)).types
        value = typed(self.reading, path, option, value)
        if value is None:
            return None
        if Secret in types:
            return self.masked(value)
        one = next((each for each in types if isinstance(value, shape(each))), types[0])
        if shape(one) is dict and isinstance(value, dict):
            return self.mapping(path, one, value)
        if shape(one) is list and isinstance(value, list):
            of = get_args(one)[0]
            return [self.value((*path, i), of, item) for i, item in enumerate(value)]
        if shape(one) is object:
            return self.anything(path, value)
        return self.leaf(path, value)

    def mapping(self, path: Path, type_: Any, value: dict[str, Any]) -> Any:
        if type_ in self.choices:
            return self.tagged(path, type_, value)
        if get_origin(type_) is None:
            return self.struct(path, type_, value)
        of = get_args(type_)[1]
        return {key: self.value((*path, key), of, item) for key, item in value.items()}

    def tagged(self, path: Path, base: type[msgspec.Struct], value: dict[str, Any]) -> Any:
        tag_field = tag_field_of(base)
        tag = value.get(tag_field)
        for type_ in self.choices[base]:
            if tag_of(type_) == tag:
                rest = {key: item for key, item in value.items() if key != tag_field}
                return {tag_field: tag, **self.struct(path, type_, rest)}
        return dict.fromkeys(value, _MASK)

    def anything(self, path: Path, value: Any) -> Any:
        if isinstance(value, dict):
            return {key: self.anything((*path, key), item) for key, item in value.items()}
        if isinstance(value, list):
            return [self.anything((*path, i), item) for i, item in enumerate(value)]
        return self.leaf(path, value)

    def leaf(self, path: Path, value: Any) -> Any:
        if path in self.reading.hidden:
            return self.masked(value)
        if isinstance(value, dict | list) or not self.reading.fine(path):
            return _MASK
        if isinstance(value, str) and any(secret in value for secret in self.secrets):
            return _MASK
        return value

    def masked(self, value: Any) -> str:
        if isinstance(value, str) and len(value) >= _SHORTEST:
            self.secrets.add(value)
        return _MASK


def plain(value: Any) -> Any:
    """A default as it would be written."""
    if isinstance(value, Duration | Size | Rate):
        return _quantity(value)
    if isinstance(value, msgspec.Struct):
        return {field.encode_name: plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, Mapping):
        return {key: plain(item) for key, item in value.items()}
    return [plain(item) for item in value] if isinstance(value, tuple) else value


def _quantity(value: Duration | Size | Rate) -> Any:
    if isinstance(value, Rate):
        return f"{value.count:g}/{_unit(value.per)}"
    if isinstance(value, Size):
        return _in_units(value, _BYTES) or int(value)
    return _in_units(value, _SECONDS) or f"{value * 1000:g}ms"


def _in_units(value: float, units: Mapping[str, int]) -> str | None:
    # 0 goes into every unit; the smallest reads best.
    fitting = [f"{int(value // size)}{unit}" for unit, size in units.items() if value % size == 0]
    return next(iter(fitting if value else fitting[::-1]), None)


def _unit(seconds: float) -> str:
    return next(unit for unit, size in _SECONDS.items() if size == seconds)


class _Dumper(yaml.SafeDumper):
    """Quotes what either YAML, 1.1 or 1.2, would read as something else than text."""


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    # Unquoted, or in single quotes, what YAML takes for the end of a line is read as a blank.
    style = '"' if _LINE_ENDS & set(text) else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _text)
for _tag, _pattern, _first in RESOLVERS:
    _Dumper.add_implicit_resolver(_tag, _pattern, _first)
