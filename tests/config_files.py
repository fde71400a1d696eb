"""Configurations for tests."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from server.config.load import ConfigError, load
from server.config.shapes import tag_of
from server.config.yaml import Scalar, Style, core
from sinks import SINKS

#: The variables of `config.example.yaml`.
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
    "SEAL_ROOT": "the-root-key-of-these-tests-0123456789",
    "ADMIN_KEY": "admin-key-0123456789",
    "SLACK_WEBHOOK_URL": "https://hooks.slack.com/services/T0000/B0000/slack-0123456789",
    "DASHBOARD_KEY": "dashboard-key-0123456789",
    "SUPPORT_KEY": "support-key-0123456789",
    "COLLECTOR_TOKEN": "collector-token-0123456789",
    "CRM_SECRET": "whsec_Y3JtLXNlY3JldC0wMTIzNDU2Nzg5LTAxMjM0NTY3",
    "CRM_KEY": "crm-key-0123456789",
}
#: In the order of complaints.
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
    """Return all complaints, without the folder of the file."""
    try:
        load(path, environ=environ, flags=flags)
    except ConfigError as exc:
        return [complaint.replace(f"{path.parent}/", "") for complaint in exc.complaints]
    return []


def values(written: Any) -> Any:
    """Return parsed YAML with scalars as the core schema reads them."""
    if isinstance(written, dict):
        return {key: values(item) for key, item in written.items()}
    if isinstance(written, list):
        return [values(item) for item in written]
    if isinstance(written, Scalar):
        return core(written.text) if written.style is Style.PLAIN else written.text
    return written
