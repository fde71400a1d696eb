"""The shape of every option, read from the Structs: accepted values, default and comment.

Reading, overriding, showing, the schema and the reference pages all walk these.
"""

import inspect
import re
import sys
from collections.abc import Callable, Mapping
from functools import cache
from typing import Annotated, Any, Literal, NamedTuple, Union, get_args, get_origin

import msgspec
from msgspec import NODEFAULT, UNSET, UnsetType
from msgspec.structs import fields

from core.secret import Secret
from core.units import Duration, Rate, Size
from receiver.providers import PROVIDERS
from receiver.source import Source
from sinks import SINKS
from sinks.sink import Sink

from .yaml import Scalar

#: The tagged Structs that stand for a base.
CHOICES: dict[type[msgspec.Struct], tuple[type[msgspec.Struct], ...]] = {
    Source: PROVIDERS,
    Sink: SINKS,
}
#: The spelling of names that people choose: of sources, sinks, routes and keys.
NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")
#: Types that read their own spelling.
SPELLED = (Duration, Size, Rate, Secret)
_UNIONS = (Union, type(int | str))  # `X | Y` has an origin of its own in Python 3.11
_COMMENT = re.compile(r"((?: *#:[^\n]*\n)+) *(\w+):")


class Check(NamedTuple):
    """An annotation that checks a value: `Annotated[str, Check(listen)]`."""

    #: Returns the value to keep. Raises ValueError with a remedy and without the value.
    function: Callable[[Any], Any]


class Leaf(msgspec.Struct, frozen=True):
    """A scalar; any value if the type is Any."""

    type: Any
    #: The words of a Literal.
    words: tuple[str, ...] = ()


class ListOf(msgspec.Struct, frozen=True):
    items: "Shape"


class MapOf(msgspec.Struct, frozen=True):
    """A mapping with names or keys that the user chooses."""

    items: "Shape"

    @property
    def is_named(self) -> bool:
        """Whether its keys are names of parts of the configuration."""
        return any(isinstance(kind, Group | OneOf) for kind in self.items.kinds)

    @property
    def is_free(self) -> bool:
        """Whether its content is free, as in a `when`."""
        return Leaf(Any) in self.items.kinds


class Group(msgspec.Struct, frozen=True):
    """A mapping of options."""

    struct: type[msgspec.Struct]

    @property
    def options(self) -> "Mapping[str, Option]":
        """By key."""
        return options_of(self.struct)

    @property
    def tag(self) -> str:
        """The word that selects it from a OneOf."""
        return tag_of(self.struct)


class OneOf(msgspec.Struct, frozen=True):
    """A mapping of options that a tag selects, such as a sink by its `type`."""

    base: type[msgspec.Struct]

    @property
    def tag_field(self) -> str:
        return str(self.base.__struct_config__.tag_field)

    @property
    def groups(self) -> Mapping[str, Group]:
        """By tag."""
        return {tag_of(struct): Group(struct) for struct in CHOICES[self.base]}

    def chosen(self, written: Mapping[str, Any]) -> Group | None:
        """Return the options that the written tag selects; None if it selects none."""
        tag = written.get(self.tag_field)
        return self.groups.get(tag.text) if isinstance(tag, Scalar) else None


Kind = Leaf | ListOf | MapOf | Group | OneOf


class Shape(msgspec.Struct, frozen=True):
    """The values that one place accepts."""

    #: Several for `str | tuple[str, ...]`.
    kinds: tuple[Kind, ...]
    #: Whether null is accepted.
    optional: bool = False
    checks: tuple[Check, ...] = ()

    @property
    def has_leaf(self) -> bool:
        return any(isinstance(kind, Leaf) for kind in self.kinds)

    def kind_for(self, value: Any) -> Kind:
        """Return the kind that a dict, a list or a scalar is meant for."""
        below: dict[type, Any] = {dict: MapOf | Group | OneOf, list: ListOf}
        wanted = below.get(type(value), Leaf)
        fitting = (kind for kind in self.kinds if isinstance(kind, wanted) or kind == Leaf(Any))
        return next(fitting, self.kinds[0])


class Option(msgspec.Struct, frozen=True):
    """One option of a Group."""

    #: As written.
    key: str
    #: The attribute of the Struct.
    name: str
    shape: Shape
    #: UNSET if the option is required.
    default: Any
    struct: type[msgspec.Struct]

    @property
    def required(self) -> bool:
        return self.default is UNSET

    @property
    def comment(self) -> str:
        """The `#:` comment."""
        return comments(self.struct).get(self.name, "")


def tag_of(struct: type[msgspec.Struct]) -> str:
    return str(struct.__struct_config__.tag)


@cache
def shape_of(type_: Any) -> Shape:
    origin = get_origin(type_)
    if origin is Annotated:
        inner = shape_of(get_args(type_)[0])
        checks = tuple(item for item in type_.__metadata__ if isinstance(item, Check))
        return msgspec.structs.replace(inner, checks=inner.checks + checks)
    if origin in _UNIONS:
        parts = [shape_of(part) for part in get_args(type_) if part not in (type(None), UnsetType)]
        return Shape(
            kinds=tuple(kind for part in parts for kind in part.kinds),
            optional=type(None) in get_args(type_),
            checks=tuple(check for part in parts for check in part.checks),
        )
    kind: Kind = Leaf(type_)
    if type_ in CHOICES:
        kind = OneOf(type_)
    elif origin is Literal:
        kind = Leaf(type_, get_args(type_))
    elif origin is not None and issubclass(origin, Mapping):
        kind = MapOf(shape_of(get_args(type_)[1]))
    elif origin is not None:
        kind = ListOf(shape_of(get_args(type_)[0]))
    elif type_ not in SPELLED and isinstance(type_, type) and issubclass(type_, msgspec.Struct):
        kind = Group(type_)
    return Shape((kind,))


@cache
def options_of(struct: type[msgspec.Struct]) -> Mapping[str, Option]:
    """Return the options of a Struct by key."""
    found = {}
    for field in fields(struct):
        default = UNSET if field.required else field.default
        if field.default_factory is not NODEFAULT:
            default = field.default_factory()
        shape = shape_of(field.type)
        found[field.encode_name] = Option(field.encode_name, field.name, shape, default, struct)
    return found


@cache
def comments(struct: type) -> Mapping[str, str]:
    """Return the `#:` comment of each option. Those of the class override those of its bases."""
    found: dict[str, str] = {}
    for base in reversed(struct.__mro__):
        # Others have no options, and Generic has no source since Python 3.12.
        if base is msgspec.Struct or not issubclass(base, msgspec.Struct):
            continue
        source = _source(base.__module__)
        # `inspect.getsource` of a class would parse the whole module each time.
        body = re.search(rf"(?ms)^class {base.__name__}\b.*?(?=^[\w@]|\Z)", source)
        for lines, name in _COMMENT.findall(body[0] if body else inspect.getsource(base)):
            words = (line.strip().removeprefix("#:").strip() for line in lines.splitlines())
            found[name] = " ".join(words)
    return found


@cache
def _source(module: str) -> str:
    return inspect.getsource(sys.modules[module])
