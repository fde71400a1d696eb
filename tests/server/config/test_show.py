"""The effective configuration for people: complete, and without its secrets."""

import msgspec
import pytest
import yaml
from config_files import ENVIRON, SERVER, SINK_TYPES, written

from core.units import Duration, Rate, Size
from server.config.load import load, shown
from server.config.show import plain
from sinks.http.sink import Http
from sinks.retry import Retry
from sinks.sink import Sink

#: The last sections, if they are not written.
ALERTS = """\
alerts:
  sink_failing:
    after: 1m
    clear: 1m
  delivery_dead:
    quiet: 1m
  owed_old:
    older_than: 5m
  source_silent: {}
  quarantine_growing:
    more_than: 5
    within: 15m
  disk_low:
    free: 1GiB
    days: 3
  clock_off:
    by: 5s
  key_expiring:
    before: 7d
  backfill_failing:
    after: 3
  rejections_growing:
    more_than: 20
    within: 15m
  reads_unusual:
    more_than: 100
    within: 15m
  audit_not_anchored:
    after: 1h
  erasure_late:
    after: 2h
  quiet: 15m
heartbeat:
  url: null
  every: 1m
"""


def test_shown_configuration_has_defaults_and_no_secrets(tmp_path):
    """Mutants: `reveal()` anywhere; the text of a secret file shown at another option."""
    (tmp_path / "team").write_text("from-a-secret-file\n")
    path = written(
        tmp_path,
        """\
sources:
  a:
    provider: tellabot
    tokens: ["${TELLABOT_TOKEN}", 0123456789abcdef]
    labels: {team: "${file:team}", pasted: "x ${ADMIN_KEY}", plain: "NO"}
sinks:
  log: {type: file, path: events.jsonl, retry: {first_wait: 1500ms}}
routes:
  r: {to: [log], when: {data.code: {$ne: null}}}
server: {secret: "${HOOK_SECRET}"}
api: {keys: {k: {key: "${ADMIN_KEY}", scopes: [admin]}}}
""",
    )

    text = shown(path, ENVIRON | {"SMSHOOK_SINKS__LOG__CONCURRENCY": "3"})

    assert (
        text
        == """\
sources:
  a:
    provider: tellabot
    tokens:
    - '***'
    - '***'
    allow_from: []
    labels:
      team: '***'
      pasted: '***'
      plain: 'NO'
    currency: null
    rate: null
    expect_every: null
    answer: null
    low_balance: null
    backfill: null
sinks:
  log:
    type: file
    timeout: 30s
    concurrency: 3
    rate: null
    ordered_by: null
    retry:
      schedule: null
      attempts: null
      first_wait: 1500ms
      max_wait: null
    expire_after: null
    pause_after: null
    redact: null
    path: events.jsonl
    rotate: null
routes:
  r:
    to:
    - log
    when:
      data.code:
        $ne: null
server:
  listen: 127.0.0.1:8080
  admin_listen: 127.0.0.1:8081
  admin_hosts: []
  public_url: null
  trusted_proxies: []
  max_body: 64KiB
  keep_alive: 3m
  connections: null
  secret: '***'
journal:
  url: sqlite:///smshook.db
  min_free: 0KiB
retention:
  events: 90d
  codes: null
  people: null
  raw: 7d
  attempts: 30d
  quarantine: 30d
seal:
  root: []
  command: null
  file: smshook.keys
  period: 1h
audit:
  record: access
  checkpoint: 1m
  epoch: 1d
  keep: 400d
  file: null
  rotate: null
  anchors: {}
  witnesses: {}
tracing: null
api:
  keys:
    k:
      key: '***'
      scopes:
      - admin
      when: null
      expires: null
      rate: null
      reads: null
      reason: null
  streams: 2000
  waits: 20000
subscriptions:
  allow_networks: []
  per_key: 100
console:
  enabled: true
  session:
    idle: 30m
    longest: 12h
  hosts: []
  user_header: null
  user_scopes:
  - events:read
  - codes:reveal
  ask_reason: false
"""
        + ALERTS
    )


def test_secrets_of_an_http_sink_are_masked(tmp_path):
    """Mutant: `url: str`, `headers: Mapping[str, str]`."""
    path = written(
        tmp_path,
        SERVER
        + "sinks: {a: {type: http, url: 'https://u:canary1@h/canary2', secrets: ['${CRM_SECRET}'], "
        "headers: {Authorization: canary3}, proxy: 'http://u:canary4@p', json: {t: '{data.code}'}, "
        "tls: {ca_file: ca.pem}}}\n",
    )

    text = shown(path, ENVIRON)

    [sink] = yaml.safe_load(text)["sinks"].values()
    assert "canary" not in text
    assert {
        name: sink[name] for name in Http.__struct_fields__ if name not in Sink.__struct_fields__
    } == {
        "url": "***",
        "secrets": ["***"],
        "format": "json",
        "json": {"t": "{data.code}"},
        "path": None,
        "headers": {"Authorization": "***"},
        "tls": {"ca_file": "ca.pem", "cert_file": None, "key_file": None},
        "proxy": "***",
    }


def test_invalid_file_is_shown_with_its_complaints(tmp_path):
    """Unknown and wrong values are masked, since they may be misplaced tokens."""
    path = written(
        tmp_path,
        "sources: [a-token-0123456789]\n"
        "sinks: {a: {type: a-token-0123456789, path: a-token-0123456789}, b: null}\n"
        "routes: {r: {to: a-token-0123456789, when: [a-token-0123456789]}}\n"
        "server: {sceret: a-token-0123456789, public_url: a-token-0123456789}\n",
    )

    text = shown(path, {})

    assert (
        text.replace(str(path), "smshook.yaml")
        == f"""\
sources: '***'
sinks:
  a:
    type: '***'
    path: '***'
  b: null
routes:
  r:
    to: '***'
    when: '***'
server:
  listen: 127.0.0.1:8080
  admin_listen: 127.0.0.1:8081
  admin_hosts: []
  public_url: '***'
  trusted_proxies: []
  max_body: 64KiB
  keep_alive: 3m
  connections: null
  sceret: '***'
journal:
  url: sqlite:///smshook.db
  min_free: 0KiB
retention:
  events: 90d
  codes: null
  people: null
  raw: 7d
  attempts: 30d
  quarantine: 30d
seal:
  root: []
  command: null
  file: smshook.keys
  period: 1h
audit:
  record: access
  checkpoint: 1m
  epoch: 1d
  keep: 400d
  file: null
  rotate: null
  anchors: {{}}
  witnesses: {{}}
tracing: null
api:
  keys: {{}}
  streams: 2000
  waits: 20000
subscriptions:
  allow_networks: []
  per_key: 100
console:
  enabled: true
  session:
    idle: 30m
    longest: 12h
  hosts: []
  user_header: null
  user_scopes:
  - events:read
  - codes:reveal
  ask_reason: false
{ALERTS}# smshook.yaml:1: sources: expected a mapping, got a list
# smshook.yaml:2: sinks.a.type: 'a-token-0123456789' is not one of {SINK_TYPES}
# smshook.yaml:2: sinks.b: expected a mapping, got nothing
# smshook.yaml:3: routes.r.to: expected a list, got text; write it in [ ]
# smshook.yaml:3: routes.r.when: expected a mapping, got a list
# smshook.yaml:4: server.sceret: unknown option; did you mean 'secret'?
# smshook.yaml:4: server.public_url: write http:// or https://, a host and maybe a path, and \
nothing after it
# smshook.yaml:4: server.secret: required but missing
"""
    )


@pytest.mark.parametrize("content", [None, "a: b: c", "[a]"])
def test_unreadable_file_shows_complaints_alone(tmp_path, content):
    path = tmp_path / "smshook.yaml" if content is None else written(tmp_path, content)

    text = shown(path, {})

    assert text.startswith(f"# {path}")
    assert text.count("\n") == 1


def test_shown_configuration_loads_as_the_same(tmp_path):
    text = f"""\
{SERVER}sinks: {{a: {{type: file, path: "07", timeout: 90s, rotate: {{size: 1500}}}}}}
routes: {{r: {{to: [a], when: {{type: "1e3", data.to: "NO", data.code: [1.5, "null"]}}}}}}
"""
    path = written(tmp_path, text)
    before = load(path, environ={}).config
    again = shown(path, {}).replace("'***'", "0123456789abcdef0123456789abcdef")

    after = load(written(tmp_path, again), environ={}).config

    # The defaults are written in it.
    changed = {"digest": before.digest, "retention_is_set": False}
    assert msgspec.structs.replace(after, **changed) == before


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (Duration(0), "0s"),
        (Duration(0.2), "200ms"),
        (Duration(90), "90s"),
        (Duration(300), "5m"),
        (Duration(7 * 86400), "7d"),
        (Size(100), 100),
        (Size(65536), "64KiB"),
        (Rate(10, 1), "10/s"),
        (Rate(1.5, 3600), "1.5/h"),
        (Retry(attempts=3), {"schedule": None, "attempts": 3,
                                                   "first_wait": None, "max_wait": None}),
        ((Duration(1),), ["1s"]),
        ({"a": None}, {"a": None}),
    ],
)  # fmt: skip
def test_default_is_shown_as_people_write_it(value, text):
    assert plain(value) == text
