"""`/schema`: the document has every call, and is right about each; `/schema/events`."""

import ast
import hashlib
import json
import re
from pathlib import Path

import jsonschema_rs
import pytest
from callbacks.recorded import RECORDED

from core.event import Event, kinds
from server.api import schema
from server.api.app import create_api
from server.api.errors import CODES
from server.api.operation import calls_of
from sinks.redact import mask, masked_paths

API = Path(schema.__file__).parent
#: Pages for people, and the description.
UNDESCRIBED = {
    "/",
    "/schema",
    "/schema/openapi.json",
    "/schema/redoc.js",
    "/schema/events",
    "/schema/events/{event_type}",
    "/mcp",  # the Model Context Protocol describes its tools to the caller
}
#: SHA-512.
REDOC = (
    "674d1a00370f190be71614d812213f9b152a5dee7f8eca26532d249a80123c2b"
    "79241200d48935b69164d55eec5f52d9639606675121a59c8b5348a351aa2862"
)
ID = "01931c5e-0000-7000-8000-000000000000"
TYPES = [kind.type for kind in kinds()]


@pytest.fixture
def app(service):
    return create_api(service.parts)


@pytest.fixture
async def document(service):
    return (await service.ask("/schema/openapi.json", None)).json()


# The document


def test_every_route_is_described(app):
    """Mutant: a call without an Operation."""
    described = {call.path for call in calls_of(app)}

    assert {route.path_format for route in app.routes} - described == UNDESCRIBED
    assert {call.path for call in calls_of(app) if not call.needs_key} == {
        "/healthz",
        "/readyz",
        "/metrics",
    }


def test_every_method_is_described(app):
    described = {(call.path, call.method) for call in calls_of(app)}
    there = {
        (route.path_format, method)
        for route in app.routes
        for method in getattr(route, "methods", {"GET"}) or {"GET"}
    }

    others = {method for path, method in there - described if path not in UNDESCRIBED}
    assert others <= {"HEAD", "OPTIONS"}


def test_document_follows_its_specification(document):
    """Mutant: a reference to a component that does not exist."""
    found = re.findall(r'"#/components/schemas/([^"]+)"', json.dumps(document))

    assert set(found) <= set(document["components"]["schemas"])
    for named in document["components"]["schemas"].values():
        jsonschema_rs.meta.validate(
            {"$schema": "https://json-schema.org/draft/2020-12/schema", **named}
        )
    ids = [one["operationId"] for calls in document["paths"].values() for one in calls.values()]
    assert len(ids) == len(set(ids))
    assert all(re.fullmatch("[a-z_]+", one) for one in ids)


async def test_parameters_are_those_that_the_service_takes(service, document):
    """Mutant: an Operation names another Struct than its handler reads."""
    for path, method, operation in calls(document):
        answer = await service.ask(f"{path}?_=1", method=method)

        assert (answer.status_code, answer.json()["code"]) == (400, "bad_parameter")
        there = re.search("there are (.*)", answer.json()["detail"])
        named = there[1].split(", ") if there else []
        assert [one["name"] for one in operation["parameters"] if one["in"] == "query"] == named


async def test_fields_are_those_that_the_service_takes(service, document):
    """Mutant: an Operation names another Struct than its handler reads."""
    with_body = [one for one in calls(document) if "requestBody" in one[2]]
    for path, method, operation in with_body:
        answer = await service.ask(path, method=method, json={"_": 1})
        empty = await service.ask(path, method=method, json={})

        sent = operation["requestBody"]["content"]["application/json"]["schema"]["$ref"]
        described = document["components"]["schemas"][sent.rpartition("/")[2]]
        assert (answer.status_code, answer.json()["code"]) == (400, "bad_body")
        there = re.search("there are (.*)", answer.json()["detail"])
        if there:
            assert list(described["properties"]) == there[1].split(", ")
        for name in described["required"][:1]:
            assert empty.json()["detail"].startswith(f"{name}: ")
    assert len(with_body) > 3


async def test_scopes_are_those_that_the_service_asks_for(service, document):
    """Mutant: the document names the scope of another call."""
    for path, method, operation in calls(document):
        scopes = [scope for each in operation["security"] for scope in each["key"]]
        answer = await service.ask(path, "nothing", method=method)
        without = await service.ask(path, None, method=method)

        assert answer.json()["detail"] == f"the key needs the scope {' or '.join(scopes)}"
        assert without.status_code == 401


def calls(document):
    """Yield path, method and description of each call that needs a key."""
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            if operation["security"]:
                yield re.sub("{.*?}", ID, path), method.upper(), operation


def test_codes_are_those_of_the_source():
    """Mutants: a code in no table; a code in the table that no call answers."""
    found = set()
    for path in API.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "Problem":
                status, code, *_ = node.args
                if isinstance(status, ast.Constant) and isinstance(code, ast.Constant):
                    found.add((code.value, status.value))

    table = {(code, status) for code, (statuses, _) in CODES.items() for status in statuses}
    readers = {
        (f"too_many_{kind}s", status) for kind in ("stream", "wait") for status in (429, 503)
    }
    assert table == found | readers | {("bad_request", 400)}


async def test_every_error_code_is_described(document):
    described = {
        code
        for _, _, operation in calls(document)
        for answer in operation["responses"].values()
        for part in answer.get("content", {}).values()
        for limits in part["schema"].get("allOf", [{}, {}])[1:]
        for code in limits.get("properties", {}).get("code", {}).get("enum", [])
    }

    assert described == set(CODES) - {"internal", "method_not_allowed"}


# The pages


PAGES = [
    ("/schema", "*/*", "application/json"),
    ("/schema", "application/json", "application/json"),
    ("/schema", "text/html,application/xhtml+xml,*/*;q=0.8", "text/html; charset=utf-8"),
    ("/schema/openapi.json", "text/html", "application/json"),
    ("/schema/redoc.js", "*/*", "text/javascript; charset=utf-8"),
    ("/schema/events", "text/html", "application/schema+json"),
    ("/schema/events/sms.received", "text/html", "application/schema+json"),
]


async def test_page_needs_no_key(service):
    for path, accept, media_type in PAGES:
        answer = await service.ask(path, None, headers={"Accept": accept})
        head = await service.ask(path, None, method="HEAD", headers={"Accept": accept})

        assert (answer.status_code, answer.headers["content-type"]) == (200, media_type)
        assert (head.status_code, head.content) == (200, b"")


async def test_unknown_type_of_event_is_404(service):
    answer = await service.ask("/schema/events/sms.sent", None)

    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")


async def test_reader_runs_its_own_scripts_only(service):
    """Mutant: a policy that allows inline scripts or another host."""
    page = await service.ask("/schema", None, headers={"Accept": "text/html"})
    again = await service.ask("/schema", None, headers={"Accept": "text/html"})

    policy = page.headers["content-security-policy"]
    nonce = re.search("'nonce-(.*?)'", policy)[1]
    assert len(nonce) > 20
    assert nonce not in again.text
    assert policy.startswith("default-src 'none'; ")
    assert "unsafe" not in policy
    assert set(re.findall(r'(?:src|href)="(.*?)"', page.text)) == {
        "/schema/openapi.json",
        "/schema/redoc.js",
    }


def test_reader_is_the_released_file():
    """The digest is that of package/bundles/redoc.standalone.js in redoc 2.5.4 of npm."""
    content = (API / "redoc" / "redoc.standalone.js").read_bytes()

    assert hashlib.sha512(content).hexdigest() == REDOC


# The schemas of events


@pytest.fixture
async def validators(service):
    """The validator of each type, as the service serves the schemas."""
    every = (await service.ask("/schema/events", None)).json()
    served = {type_: (await service.ask(f"/schema/events/{type_}", None)).json() for type_ in TYPES}
    assert [one["$ref"] for one in every["oneOf"]] == [one["$id"] for one in served.values()]
    assert [one["$id"] for one in served.values()] == [f"/schema/events/{one}" for one in TYPES]
    return {"any": jsonschema_rs.Draft202012Validator(every)} | {
        type_: jsonschema_rs.Draft202012Validator(one) for type_, one in served.items()
    }


def envelope(event):
    """Return the recorded event with the attributes that smshook adds."""
    return {
        "specversion": "1.0",
        "id": ID,
        "source": "tellabot",
        "recordedtime": "2026-09-21T14:13:20.250000Z",
        "dedupekey": "00",
        "datacontenttype": "application/json",
        **event,
        "time": event["time"] or "2026-09-21T14:13:20.250000Z",
        "data": {"reference": None, "sample": False} | event["data"],
    }


def test_recorded_events_follow_their_schemas(validators):
    """Mutants: a field that is not in the schema; one that is required and not sent."""
    for callback in RECORDED:
        for event in map(envelope, callback.events):
            validators[event["type"]].validate(event)
            validators["any"].validate(event)


async def test_delivered_events_follow_their_schemas(service, validators):
    await service.sms()
    await service.hero()
    items = await service.data("/v1/events", "admin")

    for event in [item["event"] for item in items]:
        for hidden in ((), masked_paths("codes"), masked_paths("people")):
            shown = mask(event, hidden)
            assert validators[event["type"]].is_valid(shown)
            assert validators["any"].is_valid(shown)
            for name in Event.__struct_fields__:
                assert not validators["any"].is_valid(without(shown, name))
            for name in shown["data"]:
                assert not validators["any"].is_valid(
                    shown | {"data": without(shown["data"], name)}
                )
            assert not validators["any"].is_valid(shown | {"data": shown["data"] | {"x": 1}})
    assert len(items) == 2


def without(fields, name):
    return {key: value for key, value in fields.items() if key != name}
