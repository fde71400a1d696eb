"""The OpenAPI document of the service, as a judge of the answers that tests get."""

import json
import re

import jsonschema_rs


class Described:
    """The document of an app, and the answers that it allows."""

    def __init__(self, document):
        self.document = document
        self._paths = {
            path: re.compile(re.sub(r"{\w+}", "[^/]+", path)) for path in document["paths"]
        }
        self._validators = {}

    def named(self, path):
        """Return the described path of a call; None: it is not described."""
        found = [one for one, pattern in self._paths.items() if pattern.fullmatch(path)]
        # `/v1/events/wait` looks like the path of an event.
        return min(found, key=lambda one: one.count("{"), default=None)

    def validator(self, *place):
        """Return the validator of the schema at a place of the document."""
        if place not in self._validators:
            schema = self.document
            for key in place:
                schema = schema[key]
            whole = schema | {"components": self.document["components"]}
            self._validators[place] = jsonschema_rs.Draft202012Validator(whole)
        return self._validators[place]

    def check(self, method, path, status, headers, body):
        """Raise AssertionError if the document does not describe such an answer to this call."""
        path = self.named(path.rstrip("/"))
        method, status = method.lower(), str(status)
        if path is None or method not in self.document["paths"][path]:
            return
        call = f"{method} {path}: {status}"
        responses = self.document["paths"][path][method]["responses"]
        assert status in responses, f"{call} is not described"
        for name in responses[status]["headers"]:
            assert name in headers, f"{call} without {name}"
        content = responses[status].get("content", {})
        media_type = headers.get("content-type", "").partition(";")[0]
        assert media_type in content or not (content or media_type), f"{call} is {media_type}"
        if media_type.endswith("json"):
            place = ("paths", path, method, "responses", status, "content", media_type, "schema")
            errors = self.validator(*place).iter_errors(json.loads(body))
            found = [f"{error.instance_path}: {error.message}" for error in errors]
            assert not found, f"{call}: {found}"
