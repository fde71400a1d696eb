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
from .shapes import Group, Leaf, ListOf, MapOf, OneOf, Shape, shape_of
from .yaml import RESOLVERS, Path, Scalar, Style

_MASK = "***"
#: A newline is always quoted. These need it too.
_LINE_ENDS = frozenset("\x85\u2028\u2029")
# Many texts contain a shorter one by chance.
_SHORTEST = 8
_SECONDS = {"d": 86400, "h": 3600, "m": 60, "s": 1}
_BYTES = {"GiB": 1024**3, "MiB": 1024**2, "KiB": 1024}


def as_yaml(reading: Complaints, type_: type[msgspec.Struct]) -> str:
    """Return the written values and the defaults. Secrets, unknown and wrong values are masked."""
    view = _View(reading)
    # The first walk finds the secrets. They may also stand where no secret is expected.
    view.group((), Group(type_), reading.value)
    tree = view.group((), Group(type_), reading.value)
    return yaml.dump(tree, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=100)


class _View:
    def __init__(self, reading: Complaints) -> None:
        self.reading = reading
        self.secrets: set[str] = set()

    def group(self, path: Path, group: Group, value: Mapping[str, Any]) -> dict[str, Any]:
        tree = {}
        for key, option in group.options.items():
            at, written = (*path, key), value.get(key, UNSET)
            is_null = isinstance(written, Scalar) and written.is_null and self.reading.is_right(at)
            if written is not UNSET and not is_null:
                tree[key] = self.value(at, option.shape, written)
            elif not option.required:
                tree[key] = plain(option.default)
            elif is_null:
                tree[key] = None
        return tree | {key: _MASK for key in value if key not in tree}

    def value(self, path: Path, shape: Shape, written: Any) -> Any:
        if not isinstance(written, dict | list):
            # None has a complaint.
            return None if written is None else self.scalar(path, shape, written)
        kind = shape.kind_for(written)
        if kind == Leaf(Any):
            kind = (MapOf if isinstance(written, dict) else ListOf)(shape_of(Any))
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
        group = kind.chosen(value)
        if group is None:
            return dict.fromkeys(value, _MASK)
        rest = {key: item for key, item in value.items() if key != kind.tag_field}
        return {kind.tag_field: group.tag, **self.group(path, group, rest)}

    def scalar(self, path: Path, shape: Shape, written: Scalar) -> Any:
        value = read_scalar(shape, written) if self.reading.is_right(path) else _MASK
        if written.is_null or value is None:
            return None
        if Leaf(Secret) in shape.kinds or written.style is Style.FILE:
            if len(written.text) >= _SHORTEST:
                self.secrets.add(written.text)
            return _MASK
        return _MASK if any(secret in written.text for secret in self.secrets) else value


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

    def represent_str(self, data: str) -> yaml.ScalarNode:
        # Without double quotes, these line ends would be read as blanks.
        style = '"' if _LINE_ENDS & set(data) else None
        return self.represent_scalar("tag:yaml.org,2002:str", data, style=style)


_Dumper.add_representer(str, _Dumper.represent_str)
for _tag, _pattern, _first in RESOLVERS:
    _Dumper.add_implicit_resolver(_tag, _pattern, _first)
