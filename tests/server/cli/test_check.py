"""The guarantees that `check` prints."""

import pytest
from click.testing import CliRunner
from config_files import SERVER, written
from witnesses import Witness

from server.cli.main import smshook
from server.cli.promises import IN_CLEAR, forgotten
from server.config.load import load
from server.config.starter import init

SINKS = "sinks: {log: {type: file, path: events.jsonl%s}}\n"
pytestmark = pytest.mark.usefixtures("folder")
ROUTES = "routes: {everything: {to: [log]}}\n"


NO_ANCHOR = "no anchor: nobody notices if today's lines are cut off or rewritten"


def check(folder, text):
    written(folder, text)
    return CliRunner().invoke(smshook, ["check"])


def line(result, name):
    """Return the line about that name; there must be no complaints."""
    assert (result.exit_code, result.stderr) == (0, "")
    [said] = [line for line in result.stdout.splitlines() if line.startswith(f"  {name}: ")]
    return said.removeprefix(f"  {name}: ")


def test_starter_configuration_guarantees_no_loss(folder):
    init(folder)

    result = CliRunner().invoke(smshook, ["check"])

    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout == (
        "sources\n"
        "  tellabot: tellabot; 1 token, from any address\n"
        "  herosms: herosms; 1 token, from any address\n"
        "routes\n"
        "  everything: every sms, call, rental, number and account event goes to log;"
        " delivered at least once, retried for about 36 h, then dead\n"
        "sinks\n"
        "  log: file events.jsonl; codes masked\n"
        "retention\n"
        "  events: erased after 90d\n"
        "  codes: erased after 1d\n"
        "  people: kept as long as the event\n"
        "  raw: erased after 7d; with the codes and numbers in them, after 1d\n"
        "  attempts: erased after 30d\n"
        "  quarantine: erased after 30d; they may hold codes, which are erased after 1d elsewhere\n"
        "audit\n"
        "  records acts only, no callbacks and deliveries, kept for 400d\n"
        f"  {NO_ANCHOR}\n"
        "alerts\n"
        "  nobody is told when a sink fails: add a route for system.*\n"
        "secrecy\n"
        "  smshook.db: texts, codes, numbers and callbacks encrypted, also in its backups;"
        " services, states and times in clear\n"
        "  smshook.keys: their keys, wrapped with the root key\n"
        "  keys are destroyed: codes within 25h, people with their events within 92d,"
        " raw within 25h, quarantine within 31d\n"
        "  the root key lies on the journal's disk: a stolen disk opens it\n"
    )


def test_anchors_are_named(folder):
    """Mutant: the warning about a missing anchor stays."""
    said = (
        "audit:\n  record: all\n  keep: null\n  file: audit.jsonl\n  anchors:\n"
        "    disk2: {file: notes}\n    disk3: {file: notes3, every: 5m}\n"
        "    chat: {sink: log}\n    git: {command: [anchor, it], every: 1d}\n"
        "  witnesses:\n    friend:\n      url: https://w.example/a-secret\n"
        f"      key: {Witness({}).key}\n"
    )
    result = check(folder, f"{SERVER}sinks: {{log: {{type: file, path: a.jsonl}}}}\n{said}")

    assert (result.exit_code, result.stderr) == (0, "")
    lines = result.stdout.splitlines()
    at = lines.index("audit")
    assert lines[at + 1 : lines.index("alerts")] == [
        "  records everything, kept forever",
        "  file audit.jsonl: the same lines",
        "  anchor disk2: a signed state to notes with each checkpoint",
        "  anchor disk3: a signed state to notes3 each 5m",
        "  anchor chat: a signed state to the sink log each 1h",
        "  anchor git: a signed state to anchor each 1d",
        "  witness friend: https://w.example/*** signs each state",
    ]


@pytest.mark.parametrize(
    ("when", "to", "said"),
    [
        ("null", "[log]", ["  nobody is told when a sink fails: add a route for system.*"]),
        (
            "{type: system.sink_recovered}",
            "[log]",
            ["  nobody is told when a sink fails: add a route for system.*"],
        ),
        (
            "{type: {$startsWith: system.}, data.severity: {$in: [warning, critical]}}",
            "[log]",
            ["  to log only: nobody is notified if it fails itself; add a second sink"],
        ),
        ("{type: system.sink_failing}", "[log, team]", ["  to log and team"]),
    ],
)
def test_check_says_who_gets_alerts(folder, when, to, said):
    """Mutants: a route without `when` counts; one sink is enough."""
    result = check(
        folder,
        f"{SERVER}sinks:\n  log: {{type: file, path: a.jsonl}}\n"
        "  team: {type: file, path: b.jsonl}\n"
        f"routes: {{oncall: {{when: {when}, to: {to}}}}}\n"
        "heartbeat: {url: https://hc-ping.com/a-secret-id}\n",
    )

    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    at = lines.index("alerts")
    assert lines[at + 1 : lines.index("secrecy")] == [*said, "  heartbeat each 1m"]


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ("heartbeat: {url: hc-ping.com/x}", "heartbeat.url: write a URL such as"),
        ("alerts: {owed_old: {older_than: 0s}}", "alerts.owed_old.older_than: write more than 0"),
        (
            "sources: {smshook: {provider: tellabot, tokens: [0123456789abcdef]}}",
            "sources.smshook: reserved for events of the service itself",
        ),
    ],
)
def test_options_of_alerts_are_checked(folder, options, complaint):
    """Mutant: a source may have the name of the service."""
    result = check(folder, f"{SERVER}{options}\n")

    assert result.exit_code == 2
    assert complaint in result.stderr


def test_empty_configuration_is_explained(folder):
    result = check(folder, SERVER)

    assert (result.exit_code, result.stderr) == (0, "")
    lines = result.stdout.splitlines()
    assert lines[:3] == [
        "sources: none, so no callback is accepted",
        "routes: none, so events are stored but not sent",
        "sinks: none",
    ]
    protects_little = (
        "  smshook.keys: the keys of the audit log, wrapped with server.secret;"
        " this does not protect them from anyone who has the configuration"
    )
    assert lines[-3:] == ["secrecy", f"  smshook.db: {IN_CLEAR}", protects_little]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ("retry: {schedule: [0s]}", "tried once, then dead"),
        ("retry: {schedule: [0s, 5s, 40s]}", "retried for about 45 s, then dead"),
        ("retry: {attempts: 4, first_wait: 1m}", "retried for about 7 min, then dead"),
        ("retry: {attempts: 100000}", "retried for 984 d or more"),
        (
            "expire_after: 15m",
            "retried until it expires, 15 min after acceptance",
        ),
        (
            "expire_after: 15m, retry: {schedule: [0s, 5s, 40s]}",
            "retried for about 45 s, then dead; expired if 15 min pass before that",
        ),
    ],
)
def test_retry_schedule_of_a_sink_is_explained(folder, options, said):
    """Mutant: the default schedule for every sink."""
    result = check(folder, SERVER + SINKS % f", {options}" + ROUTES)

    assert line(result, "everything").endswith(f"delivered at least once, {said}")


@pytest.mark.parametrize(
    ("redact", "said"),
    [
        ("null", "codes in clear"),
        ("codes", "codes masked"),
        ("people", "codes masked"),
        ("[data]", "codes masked"),
        ("[data.price]", "codes in clear"),
        ("[data.code, data.urls]", "codes in clear in data.text"),
        ("[data.text]", "codes in clear in data.code and data.urls"),
    ],
)
def test_check_says_whether_a_sink_sees_codes(folder, redact, said):
    """Mutant: any `redact` counts as masking codes."""
    result = check(folder, SERVER + SINKS % f", redact: {redact}" + ROUTES)

    assert line(result, "log") == f"file events.jsonl; {said}"


def test_check_names_private_networks_of_subscriptions(folder):
    """Mutant: nothing is said, and a way into a network is overlooked."""
    text = SERVER + "subscriptions: {allow_networks: [10.20.0.0/16, fd00::/8]}\n"

    shown = check(folder, text).stdout.partition("secrecy\n")[0]
    assert shown.splitlines()[-1] == (
        "subscriptions: endpoints may also be in private networks: 10.20.0.0/16, fd00::/8"
    )


@pytest.mark.parametrize(
    ("when", "always"),
    [
        ("{data.service.key: google}", False),
        ("{type: sms.received, data.text: {$regex: code}}", False),
        ("{data.text: {$regex: code}}", True),
        ("{data.service.key: {$ne: google}}", True),
    ],
)
def test_check_names_routes_tried_for_every_event(folder, when, always):
    """Mutant: a clause that is no equality counts."""
    routes = f"routes: {{some: {{to: [log], when: {when}}}, everything: {{to: [log]}}}}\n"

    result = check(folder, SERVER + SINKS % "" + routes)

    assert line(result, "some").endswith("; tried for every event") is always
    assert not line(result, "everything").endswith("; tried for every event")


def test_different_sinks_of_a_route_are_explained_each(folder):
    sinks = (
        "sinks: {a: {type: file, path: /tmp/a.jsonl}, "
        "b: {type: file, path: b.jsonl, retry: {schedule: [0s]}}}\n"
    )
    routes = "routes: {google: {to: [a, b], when: {data.service.key: google}}, kept: {to: []}}\n"

    result = check(folder, SERVER + sinks + routes)

    warning = "warning: smshook.yaml:3: routes.kept.to: empty: its events are sent nowhere\n"
    assert (result.exit_code, result.stderr) == (0, warning)
    said = dict(line.strip().split(": ", 1) for line in result.stdout.splitlines() if ": " in line)
    assert said["google"] == (
        'each event with {"data.service.key": "google"} goes to a and b; delivered at least '
        "once, a: retried for about 36 h, then dead; b: tried once, then dead"
    )
    kept = "every sms, call, rental, number and account event is stored but not sent"
    assert said["kept"] == kept
    assert said["a"] == "file /tmp/a.jsonl; codes in clear"


def test_check_says_who_may_call_each_source(folder):
    sources = (
        "sources: {tellabot: {provider: tellabot, rate: 100/m, "
        'tokens: ["0123456789abcdef", "fedcba9876543210"], allow_from: [192.0.2.0/24, "::1"]}}\n'
    )

    result = check(folder, SERVER + sources)

    assert line(result, "tellabot") == (
        "tellabot; 2 tokens, only from 192.0.2.0/24, ::1, at most 100/m"
    )


def test_probable_mistake_is_warned_of(folder):
    path = written(folder, SERVER + SINKS % "")
    path.chmod(0o644)

    result = CliRunner().invoke(smshook, ["check"])

    assert result.exit_code == 0
    assert result.stderr.splitlines() == [
        "warning: smshook.yaml: others can read it, secrets included; chmod 600 smshook.yaml",
        "warning: smshook.yaml:2: sinks.log: no route names it: it gets no events",
    ]


def test_unreadable_journal_is_warned_of(folder):
    """The configuration is valid, and the service keeps running."""
    (folder / "smshook.db").write_bytes(b"")
    (folder / "smshook.db").chmod(0o600)

    result = check(folder, SERVER)

    assert result.exit_code == 0
    assert result.stderr == (
        "warning: smshook.db: cannot read the pending deliveries: no such table: deliveries\n"
    )


def test_missing_journal_has_no_pending_deliveries(folder):
    path = written(folder, SERVER)

    warnings = list(forgotten(load(path, environ={}).config))

    assert warnings == []
    assert [path.name for path in folder.iterdir()] == ["smshook.yaml"]
