"""YAML 1.2 text to plain values, each with the line it was written in."""

import math
import re
from collections.abc import Mapping
from typing import Any

import msgspec
import yaml

from .yaml_errors import mistake

#: Where a value is: ("sinks", "log", "redact", 0). A tuple, since keys may hold dots.
Path = tuple[str | int, ...]

#: A configuration is written by hand; more than this is another file by mistake.
MAX_BYTES = 1024 * 1024
_MAX_DEPTH = 32
# Aliases of aliases grow without bound from a few lines.
_MAX_VALUES = 100_000

_TAG = "tag:yaml.org,2002:"
# The core schema, without what looks like a number and is a phone number, a time or a PIN:
# `07`, `+18503814729`, `12:30` and `NO` stay text, and so does `True`.
_SCALARS = (
    ("null", re.compile(r"~|null|Null|NULL|"), ["~", "n", "N", ""]),
    ("bool", re.compile(r"true|false"), list("tf")),
    ("int", re.compile(r"-?(?:0|[1-9][0-9]*)|0x[0-9a-fA-F]+|0o[0-7]+"), list("-0123456789")),
    (
        "float",
        re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?"),
        list("-0123456789"),
    ),
)
_PATTERNS = {tag: pattern for tag, pattern, _ in _SCALARS}


class Written(msgspec.Struct, frozen=True, kw_only=True):
    """What a text says, as far as it could be read."""

    #: Dicts, lists, text, numbers, booleans and None; None too when nothing could be read.
    value: Any
    #: From 1. The line of the key for what a key names; the whole has none.
    lines: Mapping[Path, int]
    #: (line, path, what is wrong).
    complaints: tuple[tuple[int, Path, str], ...]


def parse(data: bytes) -> Written:
    if len(data) > MAX_BYTES:
        return _unread(1, f"larger than {MAX_BYTES} bytes; is it the right file?")
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as exc:
        line = data.count(b"\n", 0, exc.start) + 1
        return _unread(line, "not UTF-8 text; save the file as UTF-8")
    try:
        node = yaml.compose(text, _Loader)
    except _TooDeep:
        return _unread(1, f"nested more than {_MAX_DEPTH} deep")
    except yaml.MarkedYAMLError as exc:
        return _unread(*mistake(text, exc))
    except yaml.reader.ReaderError as exc:
        line = text.count("\n", 0, exc.position) + 1
        return _unread(line, f"the character #x{exc.character:04x} is not allowed in YAML")
    return _Conversion().run(node)


def _unread(line: int, complaint: str) -> Written:
    return Written(value=None, lines={}, complaints=((line, (), complaint),))


class _TooDeep(Exception):
    """Composing recurses: ten thousand `[` would end in a RecursionError."""


class _Loader(yaml.SafeLoader):
    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012 -- PyYAML fills it by class

    depth = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        self.depth += 1
        if self.depth > _MAX_DEPTH:
            raise _TooDeep
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node


class _TooMany(Exception):
    """Aliases have made more values than anybody writes."""


class _Conversion:
    """One text's nodes becoming values."""

    def __init__(self) -> None:
        self.lines: dict[Path, int] = {}
        self.complaints: list[tuple[int, Path, str]] = []
        self.within: set[int] = set()
        self.count = 0

    def run(self, node: yaml.Node | None) -> Written:
        if node is None:
            return Written(value=None, lines={}, complaints=())
        try:
            value = self.value((), node)
        except _TooMany:
            return _unread(1, f"its aliases make more than {_MAX_VALUES} values")
        return Written(value=value, lines=self.lines, complaints=tuple(self.complaints))

    def value(self, path: Path, node: yaml.Node) -> Any:
        self.count += 1
        if self.count > _MAX_VALUES:
            raise _TooMany
        if id(node) in self.within:
            return self.complain(path, node, "an alias that contains itself")
        self.within.add(id(node))
        try:
            return self._value(path, node)
        finally:
            self.within.remove(id(node))

    def _value(self, path: Path, node: yaml.Node) -> Any:
        kind = node.tag.removeprefix(_TAG)
        if isinstance(node, yaml.MappingNode) and kind == "map":
            return self.mapping(path, node)
        if isinstance(node, yaml.SequenceNode) and kind == "seq":
            return [self.item((*path, i), item) for i, item in enumerate(node.value)]
        if isinstance(node, yaml.ScalarNode) and kind == "str":
            return node.value
        if isinstance(node, yaml.ScalarNode) and kind in _PATTERNS:
            return self.scalar(path, node, kind)
        return self.complain(
            path, node, "a value that begins with ! is a YAML tag; leave it out, or use quotes"
        )

    def item(self, path: Path, node: yaml.Node) -> Any:
        self.lines[path] = _line(node)
        return self.value(path, node)

    def mapping(self, path: Path, node: yaml.MappingNode) -> dict[str, Any]:
        items: dict[str, Any] = {}
        for key_node, value_node in node.value:
            key = self.key(path, key_node)
            if key is None:
                continue
            place = (*path, key)
            if key in items:
                first = self.lines[place]
                self.complain(place, key_node, f"given twice, first in line {first}; remove one")
                continue
            self.lines[place] = _line(key_node)
            items[key] = self.value(place, value_node)
        return items

    def key(self, path: Path, node: yaml.Node) -> str | None:
        if not isinstance(node, yaml.ScalarNode) or node.tag != _TAG + "str":
            self.complain(path, node, "a key that is not a text; write it in quotes")
        elif node.value == "<<" and node.style is None:
            self.complain(path, node, "`<<` does not merge mappings here; write the options out")
        else:
            return str(node.value)
        return None

    def scalar(self, path: Path, node: yaml.ScalarNode, kind: str) -> Any:
        # An explicit tag (`!!int x`) was not matched against the pattern yet.
        if not _PATTERNS[kind].fullmatch(node.value):
            return self.complain(
                path, node, f"not a value of the YAML tag before it ({kind}); leave the tag out"
            )
        try:
            return _READ[kind](node.value)
        except (ValueError, OverflowError):
            return self.complain(
                path, node, "a number that is too large; write it in quotes if it is a text"
            )

    def complain(self, path: Path, node: yaml.Node, text: str) -> None:
        self.complaints.append((_line(node), path, text))


def _line(node: yaml.Node) -> int:
    return int(node.start_mark.line) + 1


def _finite(text: str) -> float:
    number = float(text)
    if math.isinf(number):
        raise OverflowError
    return number


_READ = {
    "null": lambda _: None,
    "bool": lambda text: text == "true",
    "int": lambda text: int(text, 0),  # base 0 reads 0x and 0o
    "float": _finite,
}

#: How plain scalars are told apart: (tag, pattern, first characters), as PyYAML takes them.
RESOLVERS = tuple(
    (_TAG + kind, re.compile(f"(?:{pattern.pattern})$"), first) for kind, pattern, first in _SCALARS
)
for _resolver in RESOLVERS:
    _Loader.add_implicit_resolver(*_resolver)
