"""The OpenAPI document of the API, made from the calls of the app."""

import http
import itertools
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from importlib.resources import files
from types import UnionType
from typing import Any, get_args

import msgspec
from litestar import Litestar

from .. import __version__
from .errors import CODES, Document
from .event_schemas import event_components
from .operation import DescribedCall, calls_of
from .schemas import parameters_of, schemas_of

_REF = "#/components/schemas/{name}"
_TEXT = """\
smshook receives callbacks of SMS-number providers, and keeps each message as one event.

A call of `/v1` needs an API key: `Authorization: Bearer KEY`. Each call names its scope; `admin`
includes all scopes. An unknown parameter or field is an error. Errors are problem documents
(RFC 9457) with a `code` that never changes.

Lists have pages: `after` takes the `next_cursor` of the page before. Cursors are opaque.
"""
_SECURITY = {
    "type": "http",
    "scheme": "bearer",
    "description": "An API key. Its scopes are listed with each call.",
}
_IDEMPOTENCY = "Idempotency-Key"
_REPEATS = "A text of your own. For 24 hours, the same call with the same text is done only once."
_REQUEST_ID = "The id of the request, as in the log."
_PROBLEM_HEADERS: Mapping[int, Mapping[str, str]] = {
    401: {"WWW-Authenticate": "Always `Bearer`."},
    429: {"Retry-After": "Seconds to wait."},
    503: {"Retry-After": "Seconds to wait."},
}


def document(app: Litestar) -> dict[str, Any]:
    """Return the document of the app."""
    pages = _Pages()
    paths: dict[str, dict[str, Any]] = defaultdict(dict)
    calls = list(calls_of(app))
    for call in calls:
        paths[call.path][call.method.lower()] = pages.operation(call)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "smshook",
            "version": __version__,
            "description": _TEXT,
            "license": {"name": "Apache License 2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "tags": [{"name": tag} for tag in dict.fromkeys(map(_tag, calls))],
        "paths": paths,
        "components": {
            "schemas": pages.components | event_components(_REF),
            "securitySchemes": {"key": _SECURITY},
        },
    }


class _Pages:
    """Describes each call, and collects the components that the descriptions need."""

    def __init__(self) -> None:
        self.components: dict[str, dict[str, Any]] = {}
        self._examples = msgspec.json.decode((files(__package__) / "examples.json").read_bytes())
        self._problem = self._schema(Document, sent=True)

    def operation(self, call: DescribedCall) -> dict[str, Any]:
        example = self._examples.get(call.id, {})
        scopes = list(dict.fromkeys(guard.scopes for guard in call.guards))
        needs = [f"Needs the scope `{'` or `'.join(each)}`." for each in scopes]
        if any(guard.whole for guard in call.guards):
            needs.append("Not for keys with a `when`.")
        text = [call.text.partition("\n")[2].strip(), " ".join(needs)]
        return {
            "operationId": call.id,
            "summary": call.summary,
            "description": "\n\n".join(part for part in text if part),
            "tags": [_tag(call)],
            "security": [{"key": each} for each in itertools.product(*scopes)]
            if call.needs_key
            else [],
            "parameters": list(self._parameters(call, example.get("parameters", {}))),
            **self._body(call, example),
            "responses": dict(
                sorted([*self._answers(call, example.get("answers", {})), *self._problems(call)])
            ),
        }

    def _parameters(
        self, call: DescribedCall, examples: Mapping[str, Any]
    ) -> Iterator[dict[str, Any]]:
        text = {"schema": {"type": "string"}}
        found: list[dict[str, Any]] = [
            {"name": name, "in": "path", "required": True, **text}
            for name in re.findall(r"{(\w+)}", call.path)
        ]
        query, components = parameters_of(call.operation.query, _REF)
        self.components |= components
        for name, schema in query.items():
            said = {"description": schema.pop("description")} if "description" in schema else {}
            found.append({"name": name, "in": "query", **said, "schema": schema})
        repeatable = {_IDEMPOTENCY: _REPEATS} if call.needs_key and call.method == "POST" else {}
        for name, header in {**repeatable, **call.operation.headers}.items():
            found.append({"name": name, "in": "header", "description": header, **text})
        for parameter in found:
            if parameter["name"] in examples:
                parameter["example"] = examples[parameter["name"]]
            yield parameter

    def _body(self, call: DescribedCall, example: Mapping[str, Any]) -> dict[str, Any]:
        if call.operation.body is None:
            return {}
        required = list(call.operation.required)
        schema = self._schema(call.operation.body, sent=False)
        self.components[_name(schema)] |= {"required": required, "additionalProperties": False}
        said = {"example": example["body"]} if "body" in example else {}
        content = {"application/json": {"schema": schema, **said}}
        return {"requestBody": {"required": bool(required), "content": content}}

    def _answers(
        self, call: DescribedCall, examples: Mapping[str, Any]
    ) -> Iterator[tuple[str, dict[str, Any]]]:
        for status, type_ in call.answers.items():
            answer: dict[str, Any] = {
                "description": http.HTTPStatus(status).phrase,
                "headers": _headers(call.operation.answer_headers),
            }
            if type_ is not None:
                example = {"example": examples[str(status)]} if str(status) in examples else {}
                schema = self._schema(type_, sent=True)
                answer["content"] = {call.operation.media_type: {"schema": schema, **example}}
            yield str(status), answer

    def _problems(self, call: DescribedCall) -> Iterator[tuple[str, dict[str, Any]]]:
        codes = defaultdict(list)
        for code in sorted(call.errors):
            for status in CODES[code][0]:
                codes[status].append(code)
        for status, named in codes.items():
            phrase = http.HTTPStatus(status).phrase
            example = {
                "type": "about:blank",
                "title": phrase,
                "status": status,
                "code": named[0],
                "detail": CODES[named[0]][1],
                "request_id": "5f2b1c9a7d3e4f60",
            }
            limits = {"status": {"const": status}, "code": {"enum": named}}
            schema = {"allOf": [self._problem, {"properties": limits}]}
            yield (
                str(status),
                {
                    "description": "\n".join(f"* `{code}`: {CODES[code][1]}" for code in named),
                    "headers": _headers(_PROBLEM_HEADERS.get(status, {})),
                    "content": {"application/problem+json": {"schema": schema, "example": example}},
                },
            )

    def _schema(self, type_: Any, *, sent: bool) -> dict[str, Any]:
        # msgspec reads no union of Structs without tags.
        parts = get_args(type_) if isinstance(type_, UnionType) else (type_,)
        schemas, components = schemas_of(parts, _REF, sent=sent)
        self.components |= components
        return schemas[0] if len(schemas) == 1 else {"anyOf": schemas}


def _headers(named: Mapping[str, str]) -> dict[str, Any]:
    return {
        name: {"description": text, "schema": {"type": "string"}}
        for name, text in {"X-Request-Id": _REQUEST_ID, **named}.items()
    }


def _name(ref: Mapping[str, str]) -> str:
    return ref["$ref"].rpartition("/")[2]


def _tag(call: DescribedCall) -> str:
    first, *others = call.path.strip("/").split("/")
    return others[0] if first == "v1" else "service"
