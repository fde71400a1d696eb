"""Options from the environment and the command line."""

import pytest
from config_files import SERVER, complaints, written

from core.secret import Secret
from core.units import Rate
from server.config.load import load
from sinks.http.client import Tls

WHSEC = "whsec_Y3JtLXNlY3JldC0wMTIzNDU2Nzg5LTAxMjM0NTY3"
FILE = f"""\
sources:
  main-account: {{provider: tellabot, tokens: [0123456789abcdef]}}
  a: {{provider: tellabot, tokens: [0123456789abcdef]}}
  a_b: {{provider: tellabot, tokens: [0123456789abcdef]}}
  a__b: {{provider: herosms, tokens: [0123456789abcdef]}}
sinks:
  log: {{type: file, path: events.jsonl}}
  out: {{type: http, url: "http://127.0.0.1/"}}
routes:
  all: {{to: [log]}}
{SERVER}"""


@pytest.fixture
def path(tmp_path):
    return written(tmp_path, FILE)


@pytest.mark.parametrize(
    ("name", "text", "look", "value"),
    [
        ("SERVER__LISTEN", "0.0.0.0:1", lambda c: c.server.listen, "0.0.0.0:1"),
        ("SERVER__MAX_BODY", "128", lambda c: c.server.max_body, 128),
        ("SERVER__MAX_BODY", "1KiB", lambda c: c.server.max_body, 1024),
        ("SERVER__PUBLIC_URL", "null", lambda c: c.server.public_url, None),
        ("SERVER__SECRET", "1" * 32, lambda c: c.server.secret, Secret("1" * 32)),
        ("SERVER__TRUSTED_PROXIES", '["::1"]', lambda c: c.server.trusted_proxies, ("::1",)),
        ("SINKS__LOG__CONCURRENCY", "3", lambda c: c.sinks["log"].concurrency, 3),
        ("SINKS__LOG__REDACT", "people", lambda c: c.sinks["log"].redact, "people"),
        ("SINKS__LOG__REDACT", '["data.to"]', lambda c: c.sinks["log"].redact, ("data.to",)),
        ("SINKS__LOG__RETRY__ATTEMPTS", "2", lambda c: c.sinks["log"].retry.attempts, 2),
        ("SINKS__LOG__ROTATE__COMPRESS", "true", lambda c: c.sinks["log"].rotate.compress, True),
        ("SOURCES__MAIN_ACCOUNT__RATE", "9/s",
         lambda c: c.sources["main-account"].rate, Rate(9, 1)),
        ("SOURCES__A_B__CURRENCY", "USD", lambda c: c.sources["a_b"].currency, "USD"),
        ("SOURCES__A__B__CURRENCY", "EUR", lambda c: c.sources["a__b"].currency, "EUR"),
        ("SOURCES__A_B__LABELS", '{"T": "1"}', lambda c: c.sources["a_b"].labels, {"T": "1"}),
        ("SOURCES__A_B__LABELS__T", "1", lambda c: c.sources["a_b"].labels, {"t": "1"}),
        ("ROUTES__ALL__WHEN", '{"data.to": 1}', lambda c: c.routes["all"].when, {"data.to": 1}),
        ("SINKS__OUT__HEADERS", '{"X-A": "b"}',
         lambda c: c.sinks["out"].headers, {"X-A": Secret("b")}),
        ("SINKS__OUT__HEADERS__X", "b", lambda c: c.sinks["out"].headers, {"x": Secret("b")}),
        ("SINKS__OUT__SECRETS", f'["{WHSEC}"]',
         lambda c: c.sinks["out"].secrets, (Secret(WHSEC),)),
        ("SINKS__OUT__JSON", '{"a": "{data.code}"}',
         lambda c: c.sinks["out"].json, {"a": "{data.code}"}),
        ("SINKS__OUT__JSON", "is {data.code}",
         lambda c: c.sinks["out"].json, "is {data.code}"),
        ("SINKS__OUT__TLS__CA_FILE", "/a.pem",
         lambda c: c.sinks["out"].tls, Tls(ca_file="/a.pem")),
        ("SINKS__OUT__PROXY", "http://p", lambda c: c.sinks["out"].proxy, Secret("http://p")),
        ("API__KEYS__NEW__KEY", "k" * 20, lambda c: c.api.keys["new"].key, Secret("k" * 20)),
    ],
)  # fmt: skip
def test_variable_overrides_the_option_of_its_name(path, name, text, look, value):
    """Mutant: names are only lower-cased, so `MAIN_ACCOUNT` never finds `main-account`."""
    environ = {f"SMSHOOK_{name}": text, "SMSHOOK_API__KEYS__NEW__SCOPES": '["admin"]'}
    environ.setdefault("SMSHOOK_API__KEYS__NEW__KEY", "n" * 20)

    assert look(load(path, environ=environ).config) == value


def test_one_line_end_of_an_override_is_dropped_with_a_warning(path):
    """Mutant: a newline makes `SMSHOOK_SERVER__SECRET` differ from the journal's secret."""
    environ = {
        "SMSHOOK_SERVER__SECRET": "1" * 32 + "\r\n",
        "SMSHOOK_SERVER__TRUSTED_PROXIES": '["::1"]\n',
    }

    loaded = load(path, environ=environ)

    assert loaded.config.server.secret == Secret("1" * 32)
    assert loaded.config.server.trusted_proxies == ("::1",)
    assert [text for text in loaded.warnings if "newline" in text] == [
        (
            "SMSHOOK_SERVER__SECRET: server.secret: the variable SMSHOOK_SERVER__SECRET ends with "
            "a newline, which is dropped"
        )
    ]


def test_environment_gives_a_whole_source_and_its_options(path):
    environ = {
        "SMSHOOK_SOURCES__NEW__CURRENCY": "USD",
        "SMSHOOK_SOURCES__NEW": '{"provider": "herosms", "tokens": ["${T}"], "currency": "EUR"}',
        "T": "new-token-0123456789",
    }

    source = load(path, environ=environ).config.sources["new"]

    assert (source.tokens, source.currency) == ((Secret("new-token-0123456789"),), "USD")


def test_flags_win_over_environment_file_and_defaults(tmp_path):
    default = load(written(tmp_path, FILE), environ={}).config.server.listen
    path = written(tmp_path, FILE.replace("server: {", 'server: {listen: "file:1", '))
    environ = {"SMSHOOK_SERVER__LISTEN": "env:2"}

    listens = [
        load(path, environ={}).config.server.listen,
        load(path, environ=environ).config.server.listen,
        load(path, environ=environ, flags={"server.listen": "flag:3"}).config.server.listen,
    ]

    assert [default, *listens] == ["127.0.0.1:8080", "file:1", "env:2", "flag:3"]


def test_overridden_option_can_be_wrong_in_the_file(tmp_path):
    text = FILE.replace('"0123456789abcdef0123456789abcdef"', '"${UNSET}"')

    environ = {"SMSHOOK_SERVER__SECRET": "0123456789abcdef0123456789abcdef"}

    assert complaints(written(tmp_path, text), environ) == []


def test_other_variables_are_ignored(path):
    environ = {"SMSHOOK_CONFIG": "x", "SMSHOOK_URL": "y", "SMSHOOK_API_KEY": "z", "A__B": "c"}

    assert complaints(path, environ) == []


@pytest.mark.parametrize(
    ("name", "text", "complaint"),
    [
        ("SERVER__LISTNE", "x", "no such option: server.listne; did you mean 'listen'?"),
        ("SINK__LOG__PATH", "x", "no such option: sink; did you mean 'sinks'?"),
        ("SERVER__LISTEN__X", "x", "no such option: server.listen.x"),
        ("ROUTES__ALL__WHEN__X", "x", "no such option: routes.all.when.x"),
        ("SERVER__", "x", "names no option after its last __"),
        ("server__listen", "x", "options are in capitals; write SERVER for server"),
        ("SERVER__listen", "x", "options are in capitals; write LISTEN for listen"),
        ("_SERVER", "x", "no such option: _server; did you mean 'server'?"),
        ("SERVER__LISTEN", "nowhere",
         "server.listen: write host:port, such as 127.0.0.1:8080 or [::1]:8080"),
        ("SINKS__LOG__CONCURRENCY", "many",
         "sinks.log.concurrency: expected a whole number, got text"),
        ("SINKS__LOG__RETRY", "x", 'sinks.log.retry: not JSON; write it like {"a": "b"}'),
        ("SINKS__LOG__RETRY", '{"attempts": 1, "attempts": 2}',
         'sinks.log.retry: not JSON; write it like {"a": "b"}'),
        ("SERVER__TRUSTED_PROXIES", "[" * 9999,
         'server.trusted_proxies: not JSON; write it like ["a", "b"]'),
        ("SERVER__TRUSTED_PROXIES", "{}", "server.trusted_proxies: expected a list, got a mapping"),
        ("SINKS__NEW__TYPE", "file", "sinks.new.path: required but missing"),
        ("ROUTES__ALL__TO", '["lgo"]',
         "routes.all.to[0]: no sink is named 'lgo'; sinks: log, out; did you mean 'log'?"),
    ],
)  # fmt: skip
def test_complaint_of_an_override_names_the_variable(path, name, text, complaint):
    assert complaints(path, {f"SMSHOOK_{name}": text}) == [f"SMSHOOK_{name}: {complaint}"]


ALIKE = """\
sinks:
  my-x: {type: file, path: hyphen}
  my_x: {type: file, path: underscore}
  a-b-c: {type: file, path: a}
  a-b_c: {type: file, path: b}
"""


def test_exact_name_wins_over_one_with_a_hyphen(tmp_path):
    """Mutant: the first one in the file wins."""
    path = written(tmp_path, SERVER + ALIKE)

    config = load(path, environ={"SMSHOOK_SINKS__MY_X__PATH": "changed"}).config

    paths = {name: sink.path for name, sink in config.sinks.items()}
    assert (paths["my_x"], paths["my-x"]) == (f"{tmp_path}/changed", f"{tmp_path}/hyphen")


def test_ambiguous_name_is_a_complaint(tmp_path):
    path = written(tmp_path, SERVER + ALIKE)

    assert complaints(path, {"SMSHOOK_SINKS__A_B_C__PATH": "changed"}) == [
        (
            "SMSHOOK_SINKS__A_B_C__PATH: can be sinks.a-b-c or sinks.a-b_c; "
            "write it in the file, or rename one"
        )
    ]


def test_complaint_of_a_flag_names_the_command_line(path):
    assert complaints(path, flags={"server.listen": "x"}) == [
        "command line: server.listen: write host:port, such as 127.0.0.1:8080 or [::1]:8080"
    ]
