"""The JSON Schema of the configuration file. Editors complete and check the file with it.

msgspec's own generator stops at a default that is not JSON, such as a duration.
"""

from collections.abc import Mapping
from typing import Any

import msgspec

from core.secret import Secret
from core.units import Duration, Rate, Size

from .shapes import NAME, Group, Leaf, ListOf, MapOf, OneOf, Shape
from .show import plain

#: Any text can hold a `${NAME}`, so patterns would mark right values as wrong.
_LEAVES: Mapping[Any, dict[str, Any]] = {
    Duration: {"type": "string", "examples": ["200ms", "30s", "5m", "7d"]},
    Size: {"type": ["string", "integer"], "examples": ["64KiB", "10MiB"]},
    Rate: {"type": "string", "examples": ["10/s", "100/m"]},
    Secret: {"type": "string", "examples": ["${NAME}", "${file:/run/secrets/name}"]},
    # The service reads `${NAME}` as a number where it expects one.
    int: {"type": ["integer", "string"]},
    float: {"type": ["number", "string"]},
    bool: {"type": ["boolean", "string"]},
    str: {"type": "string"},
    Any: {},
}


def schema_of(type_: type[msgspec.Struct]) -> dict[str, Any]:
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "smshook.yaml",
        **_group(Group(type_)),
    }


def _group(group: Group, tag_field: str | None = None) -> dict[str, Any]:
    properties = {}
    for key, option in group.options.items():
        properties[key] = schema = _shape(option.shape, can_be_empty=not option.required)
        if option.comment:
            schema["description"] = option.comment
        if not option.required:
            schema["default"] = plain(option.default)
    if tag_field is not None:
        properties[tag_field] = {"const": group.tag}
    needed = [key for key, option in group.options.items() if option.required]
    return {
        "type": "object",
        "properties": properties,
        "required": ([tag_field] if tag_field else []) + needed,
        "additionalProperties": False,
    }


def _shape(shape: Shape, *, can_be_empty: bool = False) -> dict[str, Any]:
    schemas: list[dict[str, Any]] = []
    for kind in shape.kinds:
        match kind:
            case Leaf(type=type_, words=words):
                schemas.append({"enum": list(words)} if words else dict(_LEAVES[type_]))
            case ListOf(items=of):
                schemas.append({"type": "array", "items": _shape(of)})
            case MapOf(items=of):
                names = {"propertyNames": {"pattern": f"^{NAME.pattern}$"}} if kind.is_named else {}
                schemas.append({"type": "object", "additionalProperties": _shape(of), **names})
            case Group():
                schemas.append(_group(kind))
            case OneOf(tag_field=field):
                # By condition and not by `oneOf`: an editor then shows the wrong option, and not
                # that no type fits.
                choices = [
                    {"if": {"properties": {field: {"const": tag}}}, "then": _group(group, field)}
                    for tag, group in kind.groups.items()
                ]
                tags = {field: {"enum": list(kind.groups)}}
                schemas.append(
                    {"type": "object", "required": [field], "properties": tags, "allOf": choices}
                )
    # `routes:` with nothing below it is null.
    if shape.optional or (can_be_empty and not shape.has_leaf):
        schemas.append({"type": "null"})
    return schemas[0] if len(schemas) == 1 else {"anyOf": schemas}
