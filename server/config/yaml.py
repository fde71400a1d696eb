"""A YAML file as mappings, lists and scalars. The type of an option gives a scalar its type."""

import enum
import math
import re
from collections.abc import Callable, Mapping
from typing import Any

import msgspec
import yaml

from .breaks import no_break
from .yaml_errors import mistake

#: The place of a value: ("sinks", "log", "redact", 0). A tuple, because keys can hold dots.
Path = tuple[str | int, ...]

#: People write configurations by hand. A larger file is another file by mistake.
MAX_BYTES = 1024 * 1024
_MAX_DEPTH = 32
# Aliases of aliases grow without limit from a few lines.
_MAX_VALUES = 100_000

_TAG = "tag:yaml.org,2002:"
# YAML's own name for the tag of a plain scalar, before its schema decides.
_PLAIN_TAG = "?"
# YAML's core schema, but phone numbers, times and PINs stay text, even if they look like a number:
# `07`, `+18503814729`, `12:30`. So do `NO` and `True`.
_SCHEMA = (
    ("null", re.compile(r"~|null|Null|NULL|"), ["~", "n", "N", ""]),
    ("bool", re.compile(r"true|false"), list("tf")),
    ("int", re.compile(r"-?(?:0|[1-9][0-9]*)|0x[0-9a-fA-F]+|0o[0-7]+"), list("-0123456789")),
    (
        "float",
        re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?"),
        list("-0123456789"),
    ),
)
#: The schema for PyYAML: (tag, pattern, first characters).
RESOLVERS = tuple(
    (_TAG + kind, re.compile(f"(?:{pattern.pattern})$"), first) for kind, pattern, first in _SCHEMA
)
_PATTERNS = {kind: pattern for kind, pattern, _ in _SCHEMA}


class Style(enum.Enum):
    """How a scalar was written."""

    PLAIN = "plain"
    QUOTED = "quoted"
    #: It holds the value of an environment variable.
    VARIABLE = "variable"
    #: It holds the content of a secret file.
    FILE = "file"


class Scalar(msgspec.Struct, frozen=True):
    """A value as it was written."""

    text: str
    style: Style

    @property
    def is_null(self) -> bool:
        return self.style is Style.PLAIN and _PATTERNS["null"].fullmatch(self.text) is not None

    @property
    def is_replaced(self) -> bool:
        """Whether it comes from a variable or a secret file. Such a text is never shown."""
        return self.style in (Style.VARIABLE, Style.FILE)


class Written(msgspec.Struct, frozen=True, kw_only=True):
    """The readable part of a text."""

    #: Dicts, lists and Scalars. None: empty or unreadable.
    value: Any
    #: From 1. For a key's value, the line of the key. The root has no line.
    lines: Mapping[Path, int]
    #: (line, path, problem).
    complaints: tuple[tuple[int, Path, str], ...]


def core(text: str) -> str | float | bool | None:
    """Read a plain scalar by YAML 1.2's core schema. Raises ValueError if a number is too large."""
    kind = next((kind for kind, pattern, _ in _SCHEMA if pattern.fullmatch(text)), "str")
    match kind:
        case "null":
            return None
        case "bool":
            return text == "true"
        case "int" | "float":
            try:
                number = int(text, 0) if kind == "int" else float(text)  # base 0 reads 0x and 0o
            except ValueError:
                number = math.inf
            if number in (math.inf, -math.inf):
                raise ValueError("a number that is too large; write it in quotes if it is a text")
            return number
    return text


def parse(data: bytes, rest: Callable[[], None] = no_break) -> Written:
    """Parse a text. `rest` is called often, and may take a break."""
    if len(data) > MAX_BYTES:
        return _unread(1, f"larger than {MAX_BYTES} bytes; is it the right file?")
    try:
        text = data.decode("utf-8")
        tree, root = _Tree(), _Loader(text, rest).get_single_node()
        value = None if root is None else tree.value((), root)
        return Written(value=value, lines=tree.lines, complaints=tuple(tree.complaints))
    except _TooMuch as exc:
        line, problem = 1, str(exc)
    except UnicodeDecodeError as exc:
        line = data.count(b"\n", 0, exc.start) + 1
        problem = "not UTF-8 text; save the file as UTF-8"
    except yaml.MarkedYAMLError as exc:
        line, problem = mistake(text, exc)
    except yaml.reader.ReaderError as exc:
        line = text.count("\n", 0, exc.position) + 1
        problem = f"the character #x{exc.character:04x} is not allowed in YAML"
    return _unread(line, problem)


def _unread(line: int, problem: str) -> Written:
    return Written(value=None, lines={}, complaints=((line, (), problem),))


class _TooMuch(Exception):
    """The text goes beyond a limit that keeps memory and recursion small."""


class _Loader(yaml.SafeLoader):
    depth = 0

    def __init__(self, text: str, rest: Callable[[], None]) -> None:
        super().__init__(text)
        self.rest = rest

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        self.rest()
        self.depth += 1
        if self.depth > _MAX_DEPTH:
            raise _TooMuch(f"nested more than {_MAX_DEPTH} deep")
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node

    def resolve(self, kind: type[yaml.Node], _value: Any, implicit: Any) -> str:
        # PyYAML would read numbers and booleans here. The types of the options decide that.
        if kind is yaml.ScalarNode and implicit[0]:
            return _PLAIN_TAG
        return _TAG + {yaml.ScalarNode: "str", yaml.SequenceNode: "seq"}.get(kind, "map")


class _Tree:
    """One text's nodes, and the values made from them."""

    def __init__(self) -> None:
        self.lines: dict[Path, int] = {}
        self.complaints: list[tuple[int, Path, str]] = []
        self.within: set[int] = set()
        self.count = 0

    def value(self, path: Path, node: yaml.Node) -> Any:
        """Return the value; None if it has a complaint."""
        self.count += 1
        if self.count > _MAX_VALUES:
            raise _TooMuch(f"its aliases make more than {_MAX_VALUES} values")
        if id(node) in self.within:
            return self.complain(path, node, "an alias that contains itself")
        kind = node.tag.removeprefix(_TAG)
        value: Any = None
        self.within.add(id(node))
        if isinstance(node, yaml.MappingNode) and kind == "map":
            value = self.mapping(path, node)
        elif isinstance(node, yaml.SequenceNode) and kind == "seq":
            self.lines |= {(*path, i): _line(item) for i, item in enumerate(node.value)}
            value = [self.value((*path, i), item) for i, item in enumerate(node.value)]
        elif isinstance(node, yaml.ScalarNode) and kind == "str":
            value = Scalar(node.value, Style.QUOTED)
        elif not isinstance(node, yaml.ScalarNode) or kind not in (_PLAIN_TAG, *_PATTERNS):
            text = "a value that begins with ! is a YAML tag; leave it out, or use quotes"
            self.complain(path, node, text)
        elif kind == _PLAIN_TAG or _PATTERNS[kind].fullmatch(node.value):
            value = Scalar(node.value, Style.PLAIN)
        else:
            text = f"not a value of the YAML tag before it ({kind}); leave the tag out"
            self.complain(path, node, text)
        self.within.remove(id(node))
        return value

    def mapping(self, path: Path, node: yaml.MappingNode) -> dict[str, Any]:
        items: dict[str, Any] = {}
        for key, value in node.value:
            is_text = isinstance(key, yaml.ScalarNode) and key.tag in (_PLAIN_TAG, _TAG + "str")
            if not is_text or (key.tag == _PLAIN_TAG and _PATTERNS["null"].fullmatch(key.value)):
                self.complain(path, key, "a key that is not a text; write it in quotes")
            elif key.value == "<<" and key.style is None:
                self.complain(path, key, "`<<` does not merge mappings here; write the options out")
            elif key.value in items:
                first = self.lines[*path, key.value]
                text = f"given twice, first in line {first}; remove one"
                self.complain((*path, key.value), key, text)
            else:
                self.lines[*path, key.value] = _line(key)
                items[key.value] = self.value((*path, key.value), value)
        return items

    def complain(self, path: Path, node: yaml.Node, text: str) -> None:
        self.complaints.append((_line(node), path, text))


def _line(node: yaml.Node) -> int:
    return int(node.start_mark.line) + 1
