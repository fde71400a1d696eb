"""The settings that commands need to talk to the service."""

import json
import os

import live
import pytest
from prompt import be_in, printed, run, sent

CONFIG = live.CONFIG.replace(
    "sinks:\n",
    "sinks:\n"
    '  crm: {type: http, url: "${CRM_URL}", secrets: ["${CRM_SECRET}"]}\n'
    '  team: {type: slack, url: "${file:/run/secrets/nowhere}"}\n',
).replace(
    "sources:\n",
    "sources:\n"
    '  other: {provider: herosms, tokens: ["${OTHER_TOKEN}"]}\n'
    "  asked: {provider: tellabot, tokens: [0123456789abcdef-of-asked], "
    'backfill: {user: me, api_key: "${TELLABOT_API_KEY}"}}\n',
)
VARIABLES = {
    "CRM_URL": "https://crm.example.com/hooks",
    "CRM_SECRET": "whsec_Y3JtLXNlY3JldC0wMTIzNDU2Nzg5LTAxMjM0NTY3",
    "OTHER_TOKEN": "0123456789abcdef-of-other",
    "TELLABOT_API_KEY": "key-of-tellabot",
}
EDITED = "note: smshook.yaml changed after the service read it; apply this with: smshook reload\n"


class WithVariables(live.Live):
    """The service has the secrets; the operator's shell does not."""

    def environment(self):
        return super().environment() | VARIABLES


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    folder = tmp_path_factory.mktemp("service")
    secret = folder / "slack"
    secret.write_text("https://hooks.slack.com/services/T0/B0/x")
    config = CONFIG.replace("/run/secrets/nowhere", str(secret))
    with WithVariables(folder, config) as running:
        secret.unlink()
        yield running


@pytest.fixture(autouse=True)
def here(service, monkeypatch):
    be_in(service.folder, monkeypatch)
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize(
    "arguments",
    [
        ("events", "list"),
        ("deliveries", "list"),
        ("sinks", "list"),
        ("sinks", "pause", "log"),
        ("sources", "list"),
        ("sources", "url", "tellabot"),
        ("sources", "url", "asked"),
        ("send", "tellabot"),
        ("quarantine", "list"),
        ("rejections",),
        ("orders", "list"),
        ("orders", "add", "tellabot", "--request-id", "1"),
        ("report",),
        ("healthcheck",),
    ],
    ids=" ".join,
)
def test_command_needs_no_secret_of_sinks_or_sources(arguments):
    """Mutant: the whole configuration is loaded, and an unset variable is exit code 2."""
    result = run(*arguments)

    assert (result.exit_code, "CRM" in result.stderr) == (0, False)


def test_command_reports_only_the_settings_it_needs():
    """Mutant: an empty token in the URL."""
    url, sending = run("sources", "url", "other"), run("send", "other")

    for result in (url, sending):
        assert (result.exit_code, result.stdout) == (2, "")
        assert "sources.other.tokens[0]: OTHER_TOKEN is not set in the environment" in result.stderr
        assert "CRM_URL" not in result.stderr


def test_serve_and_check_need_every_secret():
    for command in ("check", "serve"):
        result = run(command)

        assert (result.exit_code, result.stdout) == (2, "")
        assert "sinks.crm.url: CRM_URL is not set" in result.stderr
        assert "sources.other.tokens[0]: OTHER_TOKEN is not set" in result.stderr


def test_unset_key_is_named_if_no_other_has_the_scope(service, tmp_path):
    config = (service.folder / "smshook.yaml").read_text().replace(f'"{live.KEY}"', '"${ADMIN}"')
    (tmp_path / "smshook.yaml").write_text(config)
    typed = ("--config", str(tmp_path / "smshook.yaml"))

    result = run("events", "list", *typed, "--url", service.admin_url)

    assert result.exit_code == 2
    assert "api.keys.admin.key: ADMIN is not set in the environment" in result.stderr
    assert "set SMSHOOK_API_KEY, or give --key" in result.stderr


def test_edited_configuration_is_noted_on_stderr(service):
    """Mutants: the time of the file instead of its text; a note on stdout."""
    path = service.folder / "smshook.yaml"
    text = path.read_text()
    try:
        path.write_text(text)
        os.utime(path, (1, 1))
        touched = run("events", "list", "--output", "json")
        path.write_text(f"{text}# edited\n")
        edited = run("events", "list", "--output", "json")
        sending = run("send", "tellabot")
        health = run("healthcheck")
        path.write_text(text)
        again = run("events", "list")
    finally:
        path.write_text(text)
        path.chmod(0o600)

    assert (touched.exit_code, touched.stderr) == (0, "")
    assert (edited.exit_code, edited.stderr) == (0, EDITED)
    assert isinstance(json.loads(edited.stdout), list)
    assert sending.stderr == EDITED
    assert (health.stdout, health.stderr) == ("ready\n", "")
    assert again.stderr == ""


def test_another_configuration_is_not_compared(service, tmp_path):
    (tmp_path / "smshook.yaml").write_text((service.folder / "smshook.yaml").read_text() + "# x\n")
    (tmp_path / "smshook.yaml").chmod(0o600)

    url = ("--url", service.admin_url)
    sent("tellabot", "--times", "1")

    assert printed("events", "list", "--config", str(tmp_path / "smshook.yaml"), *url)
