"""A JSON Schema of each type of event, as events are delivered: `/schema/events`."""

from collections.abc import Mapping
from typing import Any

from core.event import Data, Event, kinds

from ..config.shapes import comments
from .schemas import schemas_of

#: The path of the schema of all types; that of one type is below it.
PATH = "/schema/events"
DIALECT = "https://json-schema.org/draft/2020-12/schema"

_ANY = "An event of any type. Types and fields are only ever added."
#: Attributes with a fixed value or form. They are never masked.
_ATTRIBUTES: Mapping[str, Mapping[str, Any]] = {
    "specversion": {"const": "1.0"},
    "id": {"format": "uuid"},
    "recordedtime": {"format": "date-time"},
    "datacontenttype": {"const": "application/json"},
    "erasedtime": {"format": "date-time"},
    "subject": {"type": ["string", "null"]},
}


def event_schemas() -> dict[str, dict[str, Any]]:
    """Return the schema of each type, each whole in itself."""
    schemas = {}
    for kind in kinds():
        [data], defs = schemas_of([kind], "#/$defs/{name}", sent=True)
        for schema in defs.values():
            schema["additionalProperties"] = False
        schemas[kind.type] = {
            "$schema": DIALECT,
            "$id": f"{PATH}/{kind.type}",
            **_event(kind, data),
            "$defs": defs,
        }
    return schemas


def any_event_schema() -> dict[str, Any]:
    """Return the schema of all types: a list of their schemas, and these in full."""
    schemas = event_schemas()
    return {
        "$schema": DIALECT,
        "$id": PATH,
        "title": "Event",
        "description": _ANY,
        "oneOf": [{"$ref": schema["$id"]} for schema in schemas.values()],
        "$defs": schemas,
    }


def event_components(ref_template: str) -> dict[str, dict[str, Any]]:
    """Return the component `Event` and those that it needs, by name."""
    every = kinds()
    data, components = schemas_of(every, ref_template, sent=True)
    refs = {}
    for kind, schema in zip(every, data, strict=True):
        name = f"{kind.__name__}Event"
        components[name] = _event(kind, schema)
        refs[kind.type] = ref_template.format(name=name)
    components["Event"] = {
        "title": "Event",
        "description": _ANY,
        "oneOf": [{"$ref": ref} for ref in refs.values()],
        "discriminator": {"propertyName": "type", "mapping": refs},
    }
    return components


def _event(kind: type[Data], data: Mapping[str, Any]) -> dict[str, Any]:
    said = comments(Event)
    properties: dict[str, Any] = {
        name: {"type": "string", "description": said[name]}
        for name in Event.__struct_fields__
        if name != "data"
    }
    for name, schema in _ATTRIBUTES.items():
        properties[name] |= schema
    properties["type"]["const"] = kind.type
    return {
        "title": kind.type,
        "description": kind.__doc__,
        "type": "object",
        "properties": properties | {"data": {**data, "description": said["data"]}},
        "required": [name for name in Event.__struct_fields__ if name != "erasedtime"],
        "additionalProperties": False,
    }
