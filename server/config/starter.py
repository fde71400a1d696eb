"""The `smshook.yaml` that `smshook init` writes, and its root key."""

import base64
import contextlib
import secrets
from collections.abc import Callable
from pathlib import Path

from ..durable import write_new

NAME = "smshook.yaml"
#: The root key, beside the configuration.
ROOT_NAME = "smshook.root"
#: The section that uses it.
SEAL = """\
# Encrypts texts, codes and numbers in the journal: nobody can read them in a backup.
seal:
  # Root keys. Keep this file, and a copy of it elsewhere: without it, what is encrypted is lost. On
  # another disk or in a vault it also protects a stolen disk.
  root: ["${file:smshook.root}"]
  # In place of `root`, a program that prints it: [vault, kv, get, -field=key, secret/smshook]
  #command: null
  # The wrapped keys. smshook makes this file; it belongs to the journal.
  #file: smshook.keys
  # How exactly texts, codes and callbacks are erased, from 10m to 1d.
  #period: 1h
"""

# Options are commented out as `#option: default`, and explained by `# words`. A test removes the
# `#` before options and expects the same configuration.
_TEXT = """\
# smshook. `smshook check` validates this file. config.example.yaml, in the source code, lists
# every option.
# It holds secrets: keep it private (mode 0600), or replace them with ${NAME} or
# ${file:/run/secrets/name}.

# The accounts that callbacks come from. `smshook sources url tellabot` prints the URL to paste
# into the provider's settings.
sources:
  tellabot:
    # Others: herosms, sms_activate, smsbower, sms_online, daisysms, grizzlysms, smspins, generic.
    provider: tellabot
    # The secret part of the URL. To change it, put a new one before it: both are accepted until
    # you take the old one out.
    tokens: [TELLABOT_TOKEN]
    # Addresses or networks that callbacks may come from, if you know them. Empty: any.
    #allow_from: []
    # Copied to each event, to route and filter by: {team: growth}
    #labels: {}
    # Currency of this account's prices, if you know it: USD
    #currency: null
    # Answer more callbacks than this with 429: 10/s. For an account that floods the others.
    #rate: null
  herosms:
    provider: herosms
    tokens: [HEROSMS_TOKEN]
    # Time zone of times without an offset. Change it if yours are hours off.
    #timezone: Europe/Moscow

# Where events go.
sinks:
  log:
    type: file
    # Relative to the folder of this file.
    path: events.jsonl
    # Masks texts, codes, links and phone numbers, which the file would keep forever. `codes` masks
    # no numbers; null masks nothing.
    redact: people
    # Rotate the file by size or age. Unset: it grows, and logrotate may rename it.
    #rotate: {size: 64MiB, every: null, keep: 10, compress: false}
    # Time limit of one attempt. Raise it for a slow disk.
    #timeout: 30s
    # Lines that may share one fsync.
    #concurrency: 64
    # Limit of attempts, if the receiver has one: 10/s
    #rate: null
    # Deliver one at a time, in order of acceptance, for each value of this path: data.to
    #ordered_by: null
    # Waits before the attempts ({schedule: [0s, 5s, 1m]}), or waits that double ({attempts: 10,
    # first_wait: 1s, max_wait: 1h}). Unset: fifteen attempts over a day and a half.
    #retry: {}
    # Give up this long after the event was accepted: 15m
    #expire_after: null
    # Pause it after this long without a success: {failing_for: 1h}. It resumes automatically.
    #pause_after: null
  # A service of your own, by signed POST. Then name it in a route:
  # crm: {type: http, url: "https://crm.example.com/hooks/sms", secrets: ["${CRM_SECRET}"]}
  # A Slack channel, by an incoming webhook:
  # team: {type: slack, url: "${SLACK_WEBHOOK_URL}", message: "{data.service.name}: {data.code}"}

# Which events go where. Every route is checked; an event without a route is still stored.
routes:
  everything:
    to: [log]
    # Only matching events: {type: sms.received, data.service.key: google}
    #when: null
  # What smshook reports about itself: a sink that fails, a full disk. Name a sink that people read:
  # oncall:
  #   when: {type: {$startsWith: system.}, data.severity: {$in: [warning, critical]}}
  #   to: [team]

server:
  # Address for callbacks. 0.0.0.0:8080 in a container.
  #listen: 127.0.0.1:8080
  # Address of the API. `same` uses `listen`, if you have only one port.
  #admin_listen: 127.0.0.1:8081
  # Host names of a proxy on this machine for the API: [smshook-admin.example.com]
  #admin_hosts: []
  # Public address of `listen`, used in printed URLs: https://hooks.example.com
  #public_url: null
  # Your own proxies, whose X-Forwarded-For is trusted: [10.0.0.0/8]
  #trusted_proxies: []
  # Larger callbacks get 413.
  #max_body: 64KiB
  # Time to keep an idle connection: longer than your proxy or tunnel does.
  #keep_alive: 180s
  # Limit of open connections. Unset: half of the limit of open files.
  #connections: null
  # Do not change it: the journal cannot be opened with another.
  secret: SERVER_SECRET

journal:
  # An absolute path puts it on another disk: sqlite:////var/lib/smshook/smshook.db
  #url: sqlite:///smshook.db
  # Answer callbacks 503 while less than this is free on its disk: 1GiB
  #min_free: 0

# How long stored data is kept; null keeps it.
retention:
  # Texts, codes and links. You need a code for minutes only. Erased texts cannot be restored.
  codes: 24h
  # Phone numbers: 30d
  #people: null
  # Whole events.
  #events: 90d
  # Callbacks as they arrived; never longer than codes and people.
  #raw: 7d
  # Attempts of deliveries.
  #attempts: 30d
  # Callbacks that were not understood. They may hold codes, and can be replayed after an upgrade.
  #quarantine: 30d

SEAL

# What smshook reports about itself, and when: {sink_failing: {after: 5m}, disk_low: null}
#alerts: {}

# A request to a service that reports its absence, such as https://hc-ping.com/ and your id.
#heartbeat: {url: null, every: 1m}

# Who may use the API.
api:
  keys:
    admin:
      # Or `sha256:` and the key's hex digest, so that this file alone gives no access.
      key: ADMIN_KEY
      # events:read, codes:read, codes:reveal, deliveries:write, subscriptions:write, audit:read,
      # admin.
      scopes: [admin]
      # Limits this key to matching events: {data.labels.team: growth}
      #when: null
"""


def starter(chance: Callable[[int], str] = secrets.token_urlsafe) -> str:
    """Return the text of a new configuration. `chance(n)` makes a text of n random bytes."""
    text = _TEXT.replace("SEAL\n", SEAL)
    for name in ("SERVER_SECRET", "TELLABOT_TOKEN", "HEROSMS_TOKEN", "ADMIN_KEY"):
        # Quoted: a text can begin with `-`.
        text = text.replace(name, f'"{chance(32)}"')
    return text


def write_root(path: Path, chance: Callable[[int], bytes] = secrets.token_bytes) -> None:
    """Write a new root key that only its owner can read: 32 random bytes in base64.

    Raises FileExistsError if the file exists, and leaves it alone.
    """
    write_new(path, f"{base64.b64encode(chance(32)).decode()}\n")


def init(folder: Path, chance: Callable[[int], str] = secrets.token_urlsafe) -> Path:
    """Write a new configuration into `folder` under its usual name, as `write` does."""
    path = folder / NAME
    write(path, starter(chance))
    return path


def write(path: Path, text: str) -> None:
    """Write a configuration and its root key, which only their owner can read.

    The root key is ROOT_NAME beside it; an existing one is kept, as a journal may need it. Makes
    the folder if needed. Both are on disk when this returns. Raises FileExistsError if the
    configuration exists, and leaves it alone.
    """
    # First: a configuration without its root key could not start, and would stop the next `init`.
    with contextlib.suppress(FileExistsError):
        write_root(path.with_name(ROOT_NAME))
    write_new(path, text)
