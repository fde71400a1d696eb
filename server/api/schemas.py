"""JSON Schemas (2020-12) of Structs, with the `#:` comments of their fields."""

from collections.abc import Iterable, Sequence
from typing import Any, get_origin

import msgspec
from msgspec import inspect

from core.instants import Instant

from ..config.shapes import comments
from .parameters import FewerItems, Limit, Scan, Wait

#: The types that `parameters` reads itself.
_SPELLED: dict[type, dict[str, Any]] = {
    Limit: {"type": "integer", "minimum": 1, "maximum": Limit.MOST},
    FewerItems: {"type": "integer", "minimum": 1, "maximum": FewerItems.MOST},
    Scan: {"type": "integer", "minimum": 1, "maximum": Scan.MOST},
    Wait: {"type": "number", "minimum": 0, "maximum": Wait.MOST, "multipleOf": 0.001},
    Instant: {
        "description": "A time (RFC 3339), or how long ago: `200ms`, `30s`, `10m`, `7d`.",
        "anyOf": [
            {"type": "string", "format": "date-time"},
            {"type": "string", "pattern": "^[0-9]{1,4}(ms|s|m|h|d)$"},
        ],
        "examples": ["2026-09-14T18:42:36Z", "10m"],
    },
}


def schemas_of(
    types: Iterable[Any], ref_template: str, *, sent: bool
) -> tuple[Sequence[dict[str, Any]], dict[str, dict[str, Any]]]:
    """Return the schemas of types, and the components that they need, by name.

    `sent`: smshook sends them, and sends every field that is not unset. Else it reads them.
    """
    wanted = list(types)
    structs: list[Any] = []
    for one in wanted:
        _collect(inspect.type_info(one), structs)
    schemas, components = msgspec.json.schema_components(
        [*wanted, *structs],
        schema_hook=lambda one: dict(_SPELLED[one]),
        ref_template=ref_template,
    )
    for struct, schema in zip(structs, schemas[len(wanted) :], strict=True):
        _complete(components[schema["$ref"].rpartition("/")[2]], struct, sent=sent)
    _translate([*schemas, components])
    return schemas[: len(wanted)], components


def parameters_of(
    type_: type[msgspec.Struct], ref_template: str
) -> tuple[dict[str, dict[str, Any]], dict[str, dict[str, Any]]]:
    """Return the schema of each query parameter by name, and the components that they need."""
    fields = msgspec.structs.fields(type_)
    schemas, components = schemas_of([field.type for field in fields], ref_template, sent=False)
    said = comments(type_)
    for field, schema in zip(fields, schemas, strict=True):
        _drop_null(schema)
        if field.name in said:
            schema["description"] = said[field.name]
        if isinstance(field.default, float | int | str):
            # A Limit or a Wait as a plain number.
            default = field.default
            schema["default"] = default if isinstance(default, str) else default + 0
    return {field.name: schema for field, schema in zip(fields, schemas, strict=True)}, components


def _collect(node: object, structs: list[Any]) -> None:
    """Append the Structs of a type and of its parts."""
    if isinstance(node, inspect.StructType):
        if node.cls not in structs:
            structs.append(node.cls)
            for field in node.fields:
                _collect(field.type, structs)
    elif isinstance(node, inspect.Type | inspect.Metadata):
        for part in msgspec.structs.astuple(node):
            _collect(part, structs)
    elif isinstance(node, tuple):
        for part in node:
            _collect(part, structs)


def _complete(schema: dict[str, Any], struct: Any, *, sent: bool) -> None:
    said = comments(get_origin(struct) or struct)
    fields = msgspec.structs.fields(struct)
    for field in fields:
        shape = schema["properties"][field.encode_name]
        if field.name in said:
            shape["description"] = said[field.name]
        if sent:
            shape.pop("default", None)
    if sent:
        schema["required"] = [
            field.encode_name for field in fields if field.default is not msgspec.UNSET
        ]


def _drop_null(schema: dict[str, Any]) -> None:
    """Change the schema of a parameter: it is a value, or is left out."""
    if "enum" in schema:
        schema |= {"type": "string", "enum": [word for word in schema["enum"] if word is not None]}
    values = [one for one in schema.get("anyOf", ()) if one != {"type": "null"}]
    if len(values) == 1:
        del schema["anyOf"]
        schema |= values[0]


def _translate(node: Any) -> None:
    """Write patterns as JavaScript does, and drop titles: those of Meta are texts of errors."""
    if isinstance(node, dict):
        if isinstance(node.get("title"), str):
            del node["title"]
        if isinstance(node.get("pattern"), str):
            node["pattern"] = node["pattern"].replace(r"\A", "^").replace(r"\Z", "$")
    if isinstance(node, dict | list):
        for part in node.values() if isinstance(node, dict) else node:
            _translate(part)
