"""The options of traces, and the variables of OpenTelemetry."""

import pytest
from config_files import SERVER, complaints, written

from core.secret import Secret
from server.config.load import load

VARIABLES = {
    "OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318/",
    "OTEL_EXPORTER_OTLP_HEADERS": "x-api-key=a%20b, x-team = growth",
    "OTEL_SERVICE_NAME": "sms",
    "OTEL_TRACES_SAMPLER_ARG": "0.25",
}


def loaded(folder, text, environ):
    return load(written(folder, SERVER + text), environ=environ).config.tracing


MISSING = "missing; write it here or in OTEL_EXPORTER_OTLP_ENDPOINT, or leave out `tracing`"


def test_without_the_section_the_variables_are_not_read(tmp_path):
    """Mutant: a service sends traces because its machine has the variables."""
    assert loaded(tmp_path, "", VARIABLES | {"OTEL_TRACES_SAMPLER_ARG": "often"}) is None


def test_variables_fill_what_is_not_written(tmp_path):
    """Mutants: the variable wins; a value stays escaped."""
    found = loaded(tmp_path, "tracing: {}\n", VARIABLES)
    assert found.traces_url == "http://collector:4318/v1/traces"
    assert (found.fraction, found.name) == (0.25, "sms")
    assert found.headers == {"x-api-key": Secret("a b"), "x-team": Secret("growth")}

    text = (
        "tracing: {endpoint: 'https://traces.example/otlp', sample: 0, service_name: mine,"
        " headers: {A: b}}\n"
    )
    found = loaded(tmp_path, text, VARIABLES)
    assert found.traces_url == "https://traces.example/otlp/v1/traces"
    assert (found.fraction, found.name, found.headers) == (0.0, "mine", {"A": Secret("b")})


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        (
            "{}",
            f"endpoint: {MISSING}",
        ),
        ("{endpoint: 'http://c', sample: 1.5}", "sample: write a number from 0 to 1, such as 0.1"),
        (
            "{endpoint: 'http://c?key=1'}",
            "endpoint: write http:// or https://, a host and maybe a path, and nothing after it",
        ),
    ],
)
def test_wrong_options_are_named(tmp_path, text, complaint):
    found = complaints(written(tmp_path, f"{SERVER}tracing: {text}\n"))

    assert [one.partition("tracing.")[2] for one in found] == [complaint]


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("OTEL_TRACES_SAMPLER_ARG", "2", "write a number from 0 to 1, such as 0.1"),
        ("OTEL_TRACES_SAMPLER_ARG", "often", "could not convert"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "collector:4318", "not a URL to send to"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "x-api-key=a%0Ab", "headers"),
    ],
)
def test_wrong_variable_is_named(tmp_path, name, value, says):
    """Mutant: it is dropped, and nobody knows why no trace comes."""
    [found] = complaints(
        written(tmp_path, f"{SERVER}tracing: {{}}\n"), environ=VARIABLES | {name: value}
    )

    assert "tracing: " in found
    assert says in found
