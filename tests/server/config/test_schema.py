"""The JSON Schema that editors check the file with."""

import json
from pathlib import Path

import pytest
from config_files import values

from receiver.providers import PROVIDERS
from server.config.load import schema
from server.config.options import ApiKey, Options, Server
from server.config.shapes import comments, tag_of
from server.config.yaml import parse
from sinks.file.sink import File


def test_schema_is_json_and_has_every_section():
    found = schema()

    assert json.loads(json.dumps(found)) == found
    sections = {
        "sources",
        "sinks",
        "routes",
        "server",
        "journal",
        "api",
        "subscriptions",
        "alerts",
        "heartbeat",
        "console",
    } | {*("retention", "seal", "audit", "tracing")}
    assert set(found["properties"]) == sections
    assert (found["required"], found["additionalProperties"]) == (["server"], False)


def test_option_has_its_type_default_and_comment():
    server = schema()["properties"]["server"]

    assert server["required"] == ["secret"]
    assert server["properties"]["max_body"] == {
        "type": ["string", "integer"],
        "examples": ["64KiB", "10MiB"],
        "description": "Larger callbacks get 413. Change it for a provider that sends more.",
        "default": "64KiB",
    }
    assert server["properties"]["trusted_proxies"]["anyOf"] == [
        {"type": "array", "items": {"type": "string"}},
        {"type": "null"},
    ]


def test_source_has_the_options_of_its_provider():
    sources = schema()["properties"]["sources"]["anyOf"][0]
    source = sources["additionalProperties"]

    assert sources["propertyNames"] == {"pattern": "^[a-z0-9][a-z0-9_-]{0,62}$"}
    assert source["properties"]["provider"]["enum"] == [tag_of(each) for each in PROVIDERS]
    options = {
        case["if"]["properties"]["provider"]["const"]: set(case["then"]["properties"])
        for case in source["allOf"]
    }
    assert options["herosms"] - options["tellabot"] == {"timezone"}
    assert options["tellabot"] == {
        "provider", "tokens", "allow_from", "labels", "currency", "rate", "expect_every",
        "answer", "low_balance", "backfill",
    }  # fmt: skip


@pytest.mark.parametrize("struct", [Options, Server, ApiKey, File, *PROVIDERS])
def test_every_option_has_a_comment(struct):
    """Mutant: an option without its `#:` comment."""
    said = comments(struct)

    assert [name for name in struct.__struct_fields__ if not said.get(name)] == []


def _unknown(value: object, schema: dict, path: str = "") -> list[str]:
    """Return the keys that the schema does not know. An editor marks them."""
    schemas = [schema, *schema.get("anyOf", [])]
    for case in [case for each in schemas for case in each.get("allOf", [])]:
        ((key, of),) = case["if"]["properties"].items()
        schemas += [case["then"]] if value[key] == of["const"] else []
    if not isinstance(value, dict):
        return []
    found = []
    for key, item in value.items():
        below = [each["properties"][key] for each in schemas if key in each.get("properties", {})]
        below += [each["additionalProperties"] for each in schemas
                  if each.get("additionalProperties", False) is not False]  # fmt: skip
        found += _unknown(item, below[-1], f"{path}.{key}") if below else [f"{path}.{key}"]
    return found


def test_schema_has_every_option_of_the_example():
    example = values(parse((Path(__file__).parents[3] / "config.example.yaml").read_bytes()).value)
    example["sinks"]["log"]["rotate"]["keeep"] = 1

    assert _unknown(example, schema()) == [".sinks.log.rotate.keeep"]
