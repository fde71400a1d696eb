"""The `smshook.yaml` that `smshook init` writes."""

import secrets
from collections.abc import Callable
from pathlib import Path

from .durable import write_new

NAME = "smshook.yaml"

# Options are commented out as `#option: default`, words about them as `# words`: a test takes the
# first kind's `#` away and finds the same configuration.
_TEXT = """\
# smshook. `smshook check` says whether this file is right; config.example.yaml has all there is.
# It holds secrets: keep it to yourself (mode 0600), or write ${NAME} or ${file:/run/secrets/name}
# in their place.

# The accounts that callbacks come from. `smshook sources url tellabot` prints the URL to paste
# into the provider's settings.
sources:
  tellabot:
    # herosms, sms_activate, smsbower, sms_online, daisysms or grizzlysms for the others.
    provider: tellabot
    # The secret part of the URL. To change it, put a new one before it: both are accepted until
    # you take the old one out.
    tokens: [TELLABOT_TOKEN]
    # Addresses or networks that callbacks may come from, if you know them. Empty: any.
    #allow_from: []
    # Copied to each event, to route and filter by: {team: growth}
    #labels: {}
    # What this account's prices are in, if you know it: USD
    #currency: null
    # More callbacks than this are answered 429: 10/s. For an account that floods the others.
    #rate: null
  herosms:
    provider: herosms
    tokens: [HEROSMS_TOKEN]
    # Of the times that it sends without an offset. Only if yours come hours off.
    #timezone: Europe/Moscow

# Where events go.
sinks:
  log:
    type: file
    # Relative to the folder of this file.
    path: events.jsonl
    # Texts, codes and links are masked here. `people`: both numbers too. null: all in clear.
    redact: codes
    # Set the file aside by size or age. Unset: it grows, and logrotate may rename it.
    #rotate: {size: 64MiB, every: null, keep: 10, compress: false}
    # For one whole attempt; longer on a disk that is slow to answer.
    #timeout: 30s
    # Lines that may share one fsync.
    #concurrency: 64
    # No more attempts than this, where the other side wants it so: 10/s
    #rate: null
    # One at a time, in the order of acceptance, for each value of a path: data.to
    #ordered_by: null
    # Other waits before the attempts ({schedule: [0s, 5s, 1m]}), or doubling ones ({attempts: 10,
    # first_wait: 1s, max_wait: 1h}). Unset: fifteen attempts over a day and a half.
    #retry: {}
    # What is not delivered this long after it was accepted is not delivered any more: 15m
    #expire_after: null
    # Leave it alone after this long without a success: {failing_for: 1h}. It resumes by itself.
    #pause_after: null
  # A service of your own, by signed POST. Then name it in a route:
  # crm: {type: http, url: "https://crm.example.com/hooks/sms", secrets: ["${CRM_SECRET}"]}
  # A Slack channel, by an incoming webhook:
  # team: {type: slack, url: "${SLACK_WEBHOOK_URL}", message: "{data.service.name}: {data.code}"}

# Which events go where. All routes are looked at; an event that none takes is kept.
routes:
  everything:
    to: [log]
    # Only events with this: {type: sms.received, data.service.key: google}
    #when: null

server:
  # Where callbacks come in. 0.0.0.0:8080 in a container.
  #listen: 127.0.0.1:8080
  # Where the API is. `same`: on `listen`, where there is one port only.
  #admin_listen: 127.0.0.1:8081
  # Names of a proxy for the API on this machine: [smshook-admin.example.com]
  #admin_hosts: []
  # What printed URLs begin with, once providers can reach you: https://hooks.example.com
  #public_url: null
  # Your own proxies, whose X-Forwarded-For is believed: [10.0.0.0/8]
  #trusted_proxies: []
  # Larger callbacks are answered 413.
  #max_body: 64KiB
  # How long an idle connection is kept: longer than your proxy or tunnel keeps it.
  #keep_alive: 180s
  # Open connections, at most. Unset: half of what the limit of open files allows.
  #connections: null
  # Do not change it: the journal belongs to it.
  secret: SERVER_SECRET

journal:
  # Another disk, by an absolute path: sqlite:////var/lib/smshook/smshook.db
  #url: sqlite:///smshook.db

# Who may use the API.
api:
  keys:
    admin:
      # Or sha256: and the hex digest of one, so that this file opens nothing.
      key: ADMIN_KEY
      # Of events:read, codes:read, deliveries:write, subscriptions:write and admin.
      scopes: [admin]
      # Hides all other events from this key: {data.labels.team: growth}
      #when: null
"""


def starter(chance: Callable[[int], str] = secrets.token_urlsafe) -> str:
    """The text of a fresh configuration. `chance` makes a text of so many random bytes."""
    text = _TEXT
    for name in ("SERVER_SECRET", "TELLABOT_TOKEN", "HEROSMS_TOKEN", "ADMIN_KEY"):
        # Quoted: a text of digits alone would be a number.
        text = text.replace(name, f'"{chance(32)}"')
    return text


def init(folder: Path, chance: Callable[[int], str] = secrets.token_urlsafe) -> Path:
    """Write it into `folder`, under its usual name, as `write` does."""
    return write(folder / NAME, chance)


def write(path: Path, chance: Callable[[int], str] = secrets.token_urlsafe) -> Path:
    """Write it there, for its owner alone; the folder is made if need be.

    It is on disk when this returns. Raises FileExistsError if there is one, and leaves it alone.
    """
    write_new(path, starter(chance))
    return path
