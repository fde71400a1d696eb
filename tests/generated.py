"""Calls that Schemathesis generates from the document of the API: allowed ones and others."""

import requests
import schemathesis
from hypothesis import HealthCheck, given, settings
from live import KEY
from schemathesis import GenerationMode, checks

CHECKS = [
    checks.not_a_server_error,
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_headers_conformance,
    checks.response_schema_conformance,
]


def operations(live):
    """Return the calls but the stream, which does not end."""
    schema = schemathesis.openapi.from_url(f"{live.admin_url}/schema/openapi.json")
    ending = schema.exclude(operation_id="stream_events")
    return [result.ok() for result in ending.get_all_operations()]


def attempt_all(live, mode, examples):
    """Make each call of the document with that many requests; `mode` is positive or negative."""
    mode = GenerationMode(mode)
    with requests.Session() as session:
        session.trust_env = False
        for operation in operations(live):
            # Any text is right in a path.
            if mode is GenerationMode.POSITIVE or operation.query or operation.body:
                attempt(operation, mode, session, examples)


def attempt(operation, mode, session, examples):
    sent = {"Authorization": f"Bearer {KEY}"}
    waits = {one.name for one in operation.query} & {"timeout", "wait"}

    is_list = mode is GenerationMode.POSITIVE and operation.label.startswith("GET /v1/")
    accepted = [checks.positive_data_acceptance] if is_list and "{" not in operation.path else []

    @settings(
        max_examples=examples,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        database=None,
    )
    @given(case=operation.as_strategy(generation_mode=mode))
    def answer_is_described(case):
        # At most a moment: 0 where a number is given, or the default.
        for name in waits:
            if not isinstance(case.query.get(name), str):
                case.query[name] = 0
        if accepted:
            # No cursor of the service; perhaps before `since`.
            for name in ("after", "until"):
                case.query.pop(name, None)
            if waits:
                case.query["since"] = "10m"
        response = case.call(session=session, headers=sent, timeout=10)
        case.validate_response(response, headers=sent, checks=CHECKS + accepted)

    answer_is_described()
