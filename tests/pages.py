"""The pages of the documentation, and the rest of the configuration for their examples."""

import re
from pathlib import Path

DOCS = Path(__file__).parents[1] / "docs"
WHSEC = "whsec_Y3JtLXNlY3JldC0wMTIzNDU2Nzg5LTAxMjM0NTY3"
ENVIRONMENT = {
    name: name * 5
    for name in (
        "ADMIN_KEY",
        "CRM_KEY",
        "HEROSMS_API_KEY",
        "HEROSMS_TOKEN",
        "INFOBIP_TOKEN",
        "LISTED_SECRET",
        "LISTED_TOKEN",
        "ONLINESIM_TOKEN",
        "PHONE_SIGNING_KEY",
        "PHONE_TOKEN",
        "HEARTBEAT_ID",
        "OPSGENIE_KEY",
        "SEAL_ROOT",
        "SENDGRID_KEY",
        "SIGNUP_APP_KEY",
        "SMSMAN_API_KEY",
        "SMSMAN_TOKEN",
        "SMSPINS_API_KEY",
        "SMSPOOL_TOKEN",
        "SVIX_TOKEN",
        "TELEGRAM_TOKEN",
        "TELLABOT_API_KEY",
        "TELLABOT_TOKEN",
        "TELLABOT_TOKEN_OLD",
        "TELLABOT_USER",
        "TEXTVERIFIED_SECRET",
        "TEXTVERIFIED_TOKEN",
        "TWILIO_AUTH_TOKEN",
        "TWILIO_TOKEN",
    )
} | {
    "CRM_SECRET": WHSEC,
    # A weak one would cause a warning.
    "HOOK_SECRET": "nT2v8Qx4Lk9Zr1Wp6Yb3Hd7Mc5Jf0Gs8",
    "DISCORD_WEBHOOK_URL": "https://discord.com/api/webhooks/1/secret",
    "NTFY_TOKEN": "tk_secret",
    "NTFY_TOPIC": "sms-3f1c0d6a9b5e",
    "PAGERDUTY_ROUTING_KEY": "0123456789abcdef0123456789abcdef",
    "SVIX_WHSEC": WHSEC,
    "SLACK_WEBHOOK_URL": "https://hooks.slack.com/services/T0/B0/secret",
    "TEAMS_WORKFLOW_URL": "https://x.logic.azure.com/workflows/1/paths/invoke?sig=secret",
    "TELEGRAM_BOT_TOKEN": "123456789:AA-secret",
    "TELEGRAM_CHAT_ID": "-1001234567890",
}
#: The required sections of a configuration, for examples that lack them.
REST = {
    "server": 'server: {secret: "${HOOK_SECRET}"}\n',
    "sinks": "sinks: {log: {type: file, path: events.jsonl}}\n",
}


def blocks(page, language):
    # Match all blocks first: the end of another block must not look like a start.
    fenced = re.findall(r"(?ms)^```(\w*)\n(.*?)^```$", (DOCS / page).read_text())
    return [text for its_language, text in fenced if its_language == language]
