"""Configurations for tests."""

from collections.abc import Callable, Mapping
from pathlib import Path

from server.config.convert import tag_of
from server.config.load import ConfigError, load
from sinks import SINKS

#: What the variables of `config.example.yaml` stand for.
ENVIRON = {
    "TELLABOT_TOKEN": "tellabot-token-0123456789",
    "HEROSMS_TOKEN": "herosms-token-0123456789",
    "OTHER_TOKEN": "other-token-0123456789",
    "OTHER_SECRET": "other-secret-0123456789",
    "OTHER_PASSWORD": "other-password-0123456789",
    "OTHER_HEADER_SECRET": "other-header-secret-0123456789",
    "OTHER_WHSEC": "whsec_b3RoZXItc2VjcmV0LTAxMjM0NTY3ODktMDEyMzQ1Njc=",
    "TWILIO_AUTH_TOKEN": "twilio-token-0123456789",
    "HOOK_SECRET": "server-secret-0123456789-0123456789",
    "ADMIN_KEY": "admin-key-0123456789",
    "SLACK_WEBHOOK_URL": "https://hooks.slack.com/services/T0000/B0000/slack-0123456789",
    "DASHBOARD_KEY": "dashboard-key-0123456789",
    "CRM_SECRET": "whsec_Y3JtLXNlY3JldC0wMTIzNDU2Nzg5LTAxMjM0NTY3",
    "CRM_KEY": "crm-key-0123456789",
}
#: As complaints list them.
SINK_TYPES = ", ".join(sorted(map(tag_of, SINKS)))
SERVER = 'server: {secret: "0123456789abcdef0123456789abcdef"}\n'


def written(folder: Path, text: str) -> Path:
    path = folder / "smshook.yaml"
    path.write_text(text, encoding="utf-8")
    path.chmod(0o600)
    return path


def complaints(
    path: Path, environ: Mapping[str, str] = {}, flags: Mapping[str, str] = {}
) -> list[str]:
    """What is wrong with it, without the folder; nothing if nothing is."""
    return _without(path.parent, lambda: load(path, environ=environ, flags=flags))


def _without(folder: Path, call: Callable[[], object]) -> list[str]:
    try:
        call()
    except ConfigError as exc:
        return [complaint.replace(f"{folder}/", "") for complaint in exc.complaints]
    return []
