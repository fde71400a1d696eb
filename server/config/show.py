"""A configuration as YAML text for people, with its secrets masked."""

from collections.abc import Mapping
from typing import Any

import msgspec
import yaml
from msgspec import UNSET
from msgspec.structs import fields

from core.secret import Secret
from core.units import Duration, Rate, Size

from .complaints import Complaints
from .convert import read_scalar
from .shapes import Group, Kind, Leaf, ListOf, MapOf, OneOf, Option, Shape, shape_of
from .yaml import RESOLVERS, Path, Scalar, Style

_MASK = "***"
#: A newline is always quoted. These need it too.
_LINE_ENDS = frozenset("\x85\u2028\u2029")
# Many texts contain a shorter one by chance.
_SHORTEST = 8
_SECONDS = {"d": 86400, "h": 3600, "m": 60, "s": 1}
_BYTES = {"GiB": 1024**3, "MiB": 1024**2, "KiB": 1024}


def as_yaml(reading: Complaints, type_: type[msgspec.Struct]) -> str:
    """Show what was read, and the defaults. Unknown and wrong values are masked, as secrets are."""
    view = _View(reading)
    # Twice: a secret may also stand, before or behind, where no secret is expected.
    view.group((), Group(type_), reading.value)
    tree = view.group((), Group(type_), reading.value)
    return yaml.dump(tree, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=100)


class _View:
    def __init__(self, reading: Complaints) -> None:
        self.reading = reading
        self.secrets: set[str] = set()

    def group(self, path: Path, group: Group, value: Mapping[str, Any]) -> dict[str, Any]:
        tree = {
            key: self.option((*path, key), option, value.get(key, UNSET))
            for key, option in group.options.items()
            if key in value or not option.required
        }
        return tree | {key: _MASK for key in value if key not in tree}

    def option(self, path: Path, option: Option, written: Any) -> Any:
        is_null = isinstance(written, Scalar) and written.is_null and self.reading.is_right(path)
        if written is UNSET or is_null:
            return None if option.required else plain(option.default)
        return self.value(path, option.shape, written)

    def value(self, path: Path, shape: Shape, written: Any) -> Any:
        if written is None or (isinstance(written, Scalar) and self.is_null(path, shape, written)):
            return None
        if Leaf(Secret) in shape.kinds:
            return self.mask(written)
        kind = shape.kind_for(written)
        if kind == Leaf(Any):
            return self.anything(path, written)
        if isinstance(written, dict | list):
            return self.below(path, kind, written)
        return self.leaf(path, shape, written)

    def below(self, path: Path, kind: Kind, written: Any) -> Any:
        match kind:
            case ListOf(items=of) if isinstance(written, list):
                return [self.value((*path, i), of, item) for i, item in enumerate(written)]
            case MapOf(items=of) if isinstance(written, dict):
                return {key: self.value((*path, key), of, item) for key, item in written.items()}
            case Group() if isinstance(written, dict):
                return self.group(path, kind, written)
            case OneOf() if isinstance(written, dict):
                return self.tagged(path, kind, written)
        return _MASK

    def tagged(self, path: Path, kind: OneOf, value: Mapping[str, Any]) -> Any:
        tag = value.get(kind.tag_field)
        group = kind.groups.get(tag.text) if isinstance(tag, Scalar) else None
        if group is None:
            return dict.fromkeys(value, _MASK)
        rest = {key: item for key, item in value.items() if key != kind.tag_field}
        return {kind.tag_field: group.tag, **self.group(path, group, rest)}

    def anything(self, path: Path, value: Any) -> Any:
        if isinstance(value, dict):
            return {key: self.anything((*path, key), item) for key, item in value.items()}
        if isinstance(value, list):
            return [self.anything((*path, i), item) for i, item in enumerate(value)]
        return self.leaf(path, shape_of(Any), value)

    def leaf(self, path: Path, shape: Shape, written: Any) -> Any:
        if not isinstance(written, Scalar):
            return None  # it has a complaint
        if written.style is Style.FILE:
            return self.mask(written)
        is_secret = any(secret in written.text for secret in self.secrets)
        return (
            _MASK if is_secret or not self.reading.is_right(path) else read_scalar(shape, written)
        )

    def is_null(self, path: Path, shape: Shape, written: Scalar) -> bool:
        if written.is_null:
            return True
        return self.reading.is_right(path) and read_scalar(shape, written) is None

    def mask(self, written: Any) -> str:
        if isinstance(written, Scalar) and len(written.text) >= _SHORTEST:
            self.secrets.add(written.text)
        return _MASK


def plain(value: Any) -> Any:
    """Return a default as people would write it."""
    if isinstance(value, Rate):
        unit = next(unit for unit, size in _SECONDS.items() if size == value.per)
        return f"{value.count:g}/{unit}"
    if isinstance(value, Size):
        return _in_units(value, _BYTES) or int(value)
    if isinstance(value, Duration):
        return _in_units(value, _SECONDS) or f"{value * 1000:g}ms"
    if isinstance(value, msgspec.Struct):
        return {field.encode_name: plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, Mapping):
        return {key: plain(item) for key, item in value.items()}
    return [plain(item) for item in value] if isinstance(value, tuple) else value


def _in_units(value: float, units: Mapping[str, int]) -> str | None:
    # 0 fits every unit. It reads best in the smallest one.
    fitting = [f"{int(value // size)}{unit}" for unit, size in units.items() if value % size == 0]
    return next(iter(fitting if value else fitting[::-1]), None)


class _Dumper(yaml.SafeDumper):
    """Quotes texts that YAML 1.1 or 1.2 would read as something else."""


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    # Without double quotes, these line ends would be read as blanks.
    style = '"' if _LINE_ENDS & set(text) else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _text)
for _tag, _pattern, _first in RESOLVERS:
    _Dumper.add_implicit_resolver(_tag, _pattern, _first)
