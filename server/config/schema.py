"""The JSON Schema of the configuration file, so that editors complete and check it.

msgspec's own generator stops at a default that is no JSON, such as a duration.
"""

import inspect
import re
from collections.abc import Iterable, Mapping
from typing import Any, Literal, get_args, get_origin

import msgspec
from msgspec.structs import FieldInfo, fields

from core.secret import Secret
from core.units import Duration, Rate, Size

from .convert import NAME, Choices, default_of, shape, tag_field_of, tag_of, wanted
from .show import plain

#: Any text may hold a `${NAME}`, so patterns would mark what is right as wrong.
_WRITTEN: Mapping[Any, dict[str, Any]] = {
    Duration: {"type": "string", "examples": ["200ms", "30s", "5m", "7d"]},
    Size: {"type": ["string", "integer"], "examples": ["64KiB", "10MiB"]},
    Rate: {"type": "string", "examples": ["10/s", "100/m"]},
    Secret: {"type": "string", "examples": ["${NAME}", "${file:/run/secrets/name}"]},
    # The service reads `${NAME}` as a number where it expects one.
    int: {"type": ["integer", "string"]},
    float: {"type": ["number", "string"]},
    bool: {"type": ["boolean", "string"]},
    str: {"type": "string"},
}
_COMMENT = re.compile(r"((?: *#:[^\n]*\n)+) *(\w+):")


def schema_of(type_: type[msgspec.Struct], choices: Choices) -> dict[str, Any]:
    schema = _Schema(choices)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "smshook.yaml",
        **schema.struct(type_),
    }


class _Schema:
    def __init__(self, choices: Choices) -> None:
        self.choices = choices

    def struct(self, type_: type[msgspec.Struct], tag_field: str | None = None) -> dict[str, Any]:
        notes = comments(type_)
        properties = {
            field.encode_name: self.option(field, notes.get(field.name, ""))
            for field in fields(type_)
        }
        if tag_field is not None:
            properties[tag_field] = {"const": tag_of(type_)}
        needed = [field.encode_name for field in fields(type_) if field.required]
        return {
            "type": "object",
            "properties": properties,
            "required": ([tag_field] if tag_field else []) + needed,
            "additionalProperties": False,
        }

    def option(self, field: FieldInfo, description: str) -> dict[str, Any]:
        schema = self.of(field.type, may_be_empty=not field.required)
        if description:
            schema["description"] = description
        if not field.required:
            schema["default"] = plain(default_of(field))
        return schema

    def of(self, type_: Any, *, may_be_empty: bool = False) -> dict[str, Any]:
        types, optional, _ = wanted(type_)
        schemas = [self.one(each) for each in types]
        # `routes:` with nothing below it is empty.
        emptied = may_be_empty and all(shape(each) in (dict, list) for each in types)
        if optional or emptied:
            schemas.append({"type": "null"})
        return schemas[0] if len(schemas) == 1 else {"anyOf": schemas}

    def one(self, type_: Any) -> dict[str, Any]:
        if type_ in self.choices:
            return self.tagged(self.choices[type_], tag_field_of(type_))
        if type_ in _WRITTEN:
            return dict(_WRITTEN[type_])
        if get_origin(type_) is Literal:
            return {"enum": list(get_args(type_))}
        if shape(type_) is dict:
            return self.mapping(type_)
        if shape(type_) is list:
            return {"type": "array", "items": self.of(get_args(type_)[0])}
        return {}

    def mapping(self, type_: Any) -> dict[str, Any]:
        if get_origin(type_) is None:
            return self.struct(type_)
        of = get_args(type_)[1]
        schema: dict[str, Any] = {"type": "object", "additionalProperties": self.of(of)}
        if shape(of) is dict:
            schema["propertyNames"] = {"pattern": f"^{NAME.pattern}$"}
        return schema

    def tagged(self, types: Iterable[type[msgspec.Struct]], tag_field: str) -> dict[str, Any]:
        # By condition, not `oneOf`: an editor then tells the option that is wrong, not that none
        # of six fits.
        types = list(types)
        return {
            "type": "object",
            "required": [tag_field],
            "properties": {tag_field: {"enum": [tag_of(type_) for type_ in types]}},
            "allOf": [
                {
                    "if": {"properties": {tag_field: {"const": tag_of(type_)}}},
                    "then": self.struct(type_, tag_field),
                }
                for type_ in types
            ],
        }


def comments(type_: type) -> dict[str, str]:
    """The `#:` comment of each option, its class's own before those that it inherits."""
    found: dict[str, str] = {}
    for base in reversed(type_.__mro__[:-1]):
        if base.__module__.startswith("msgspec"):
            continue
        for lines, name in _COMMENT.findall(inspect.getsource(base)):
            words = (line.strip().removeprefix("#:").strip() for line in lines.splitlines())
            found[name] = " ".join(words)
    return found
