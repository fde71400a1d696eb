"""The rules, the dashboard and the queries that are shipped name what the service has."""

import importlib.util
import json
import re
import subprocess
from pathlib import Path

import pytest
import tools
import yaml

from server.metrics import METRICS

ROOT = Path(__file__).parents[2]
RULES = ROOT / "packaging" / "prometheus" / "alerts.yaml"
GRAFANA = ROOT / "packaging" / "grafana"
PAGE = (ROOT / "docs" / "monitoring.md").read_text()
ALERTS = yaml.safe_load(RULES.read_text())["groups"][0]["rules"]
SERVICES = yaml.safe_load((ROOT / "compose.yaml").read_text())["services"]
#: Prometheus itself has the first one. The second one comes with the alerts of the service.
OTHERS = {"up"}
#: Other names of that form on the pages: a package, files, and a setting of another program.
NO_METRICS = {"smshook_client", "smshook_root", "smshook_key", "smshook_audit"}
#: The ends of names of histograms.
_PARTS = re.compile(r"_(bucket|sum|count)$")


def dashboard():
    spec = importlib.util.spec_from_file_location("dashboard", GRAFANA / "dashboard.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def promtool(*arguments, cwd=RULES.parent):
    tools.require([f"{lacks}: apt install prometheus" for lacks in tools.missing("promtool")])
    return subprocess.run(
        ["promtool", *arguments], cwd=cwd, capture_output=True, text=True, check=False
    )


def metrics_in(text):
    """The metrics that a text names. A name without its last part is a prefix, and no metric."""
    histograms = {metric.name for metric in METRICS if metric.kind == "histogram"}
    found = set()
    for name in re.findall(r"\b(?:smshook|process|python_gc)_[a-z_]+[a-z]\b|\bup\b(?={)", text):
        whole = _PARTS.sub("", name)
        found.add(whole if whole in histograms else name)
    return found


def test_rules_pass_their_tests():
    """Each has a series for which it fires, and one for which it is quiet.

    Mutants: another threshold; another label in an expression; `for` is longer, or shorter.
    """
    for command in ("check", "test"):
        file = "alerts.yaml" if command == "check" else "alerts_test.yaml"
        done = promtool(command, "rules", file)
        assert done.returncode == 0, done.stdout + done.stderr


def test_each_rule_has_both_tests():
    """Mutant: a new rule without a quiet series."""
    cases = yaml.safe_load((RULES.parent / "alerts_test.yaml").read_text())["tests"]
    fires, quiet = set(), set()
    for case in cases:
        for one in case["alert_rule_test"]:
            (fires if one["exp_alerts"] else quiet).add(one["alertname"])

    assert fires == quiet == {rule["alert"] for rule in ALERTS}


@pytest.mark.parametrize("rule", ALERTS, ids=lambda rule: rule["alert"])
def test_rule_has_a_severity_a_summary_and_a_section(rule):
    """Mutant: a runbook that was renamed."""
    page, _, anchor = rule["annotations"]["runbook"].partition("#")
    sections = {title.lower() for title in re.findall(r"(?m)^### (\w+)$", PAGE)}

    assert rule["labels"]["severity"] in ("warning", "critical")
    assert rule["annotations"]["summary"]
    assert (page, anchor) == ("docs/monitoring.md", rule["alert"].lower())
    assert anchor in sections


def test_alerts_are_thirteen():
    assert len(ALERTS) == len({rule["alert"] for rule in ALERTS}) == 13


def test_dashboard_is_made_by_its_program():
    """Mutant: a change of one of them only."""
    assert (GRAFANA / "smshook.json").read_text() == dashboard().dashboard()


def test_dashboard_has_thirteen_panels_and_three_variables():
    made = json.loads(dashboard().dashboard())
    places = [(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in made["panels"]]

    assert len(made["panels"]) == len(set(places)) == 13
    names = {one["name"] for one in made["templating"]["list"]}
    assert names == {"datasource", "instance", "source", "sink"}
    used = set(re.findall(r"\$\{?(\w+)", json.dumps(made)))
    assert names | {"__rate_interval", "__all"} == used


def test_expressions_of_the_dashboard_are_valid(tmp_path):
    """Mutant: a bracket less."""
    written = [expr for panel in dashboard().PANELS for expr in panel.series.values()]
    rules = [
        {"record": f"a:b{number}", "expr": expr.replace("$__rate_interval", "5m")}
        for number, expr in enumerate(written)
    ]
    (tmp_path / "rules.yaml").write_text(
        yaml.safe_dump({"groups": [{"name": "dashboard", "rules": rules}]})
    )

    done = promtool("check", "rules", "rules.yaml", cwd=tmp_path)

    assert (0, f"{len(written)} rules found") == (
        done.returncode,
        done.stdout.split(": ")[-1].strip(),
    )


def test_each_series_has_the_unit_of_its_panel():
    """Or is a count with an axis of its own. Mutant: waiting writes are shown as seconds."""
    ends = {"s": ("_seconds", "_seconds_bucket"), "bytes": ("_bytes",)}
    wrong = [
        legend
        for panel in dashboard().PANELS
        for legend, expr in panel.series.items()
        if panel.unit in ends and legend != panel.counted
        if not re.search(r"smshook_\w+", expr)[0].endswith(ends[panel.unit])
    ]

    assert wrong == []


@pytest.mark.parametrize(
    "text",
    [
        RULES.read_text(),
        json.dumps([panel.series for panel in dashboard().PANELS]),
        " ".join(dashboard().VARIABLES.values()),
        *(path.read_text() for path in sorted((ROOT / "docs").glob("*.md"))),
    ],
    ids=lambda text: text[:20].strip(),
)
def test_named_metrics_are_those_of_the_service(text):
    """Mutants: a metric renamed in the code; a metric misspelt in a rule, a panel or a page."""
    assert metrics_in(text) - OTHERS - NO_METRICS <= {metric.name for metric in METRICS}


def test_prometheus_reads_the_service_of_compose():
    """Mutants: another port; the rules are not read; Grafana looks in another folder."""
    config = yaml.safe_load((RULES.parent / "prometheus.yml").read_text())
    [job] = config["scrape_configs"]
    [source] = yaml.safe_load((GRAFANA / "provisioning/datasources/prometheus.yaml").read_text())[
        "datasources"
    ]
    [provider] = yaml.safe_load((GRAFANA / "provisioning/dashboards/smshook.yaml").read_text())[
        "providers"
    ]

    assert [RULES.name] == config["rule_files"]
    assert 'up{job="smshook"}' in ALERTS[0]["expr"]
    assert ("smshook", ["smshook:8081"]) == (job["job_name"], job["static_configs"][0]["targets"])
    assert "8081" in SERVICES["smshook"]["ports"][1]
    assert "http://prometheus:9090" == source["url"]
    mounted = [volume.split(":")[1] for volume in SERVICES["grafana"]["volumes"]]
    assert mounted == ["/etc/grafana/provisioning", f"{provider['options']['path']}/smshook.json"]
    for name in ("prometheus", "grafana"):
        assert SERVICES[name]["profiles"] == ["observe"]
        assert all(port.startswith("127.0.0.1:") for port in SERVICES[name]["ports"])
        for volume in SERVICES[name]["volumes"]:
            assert (ROOT / volume.split(":")[0]).exists()


# --- queries ------------------------------------------------------------------------------------


def accepted(event_id, *sinks, ts, service=None):
    return {"event": "callback.accepted", "ts": ts, "event_id": event_id} | {
        "service": service,
        "sinks": sinks,
    }


def attempted(event_id, sink, since_ms, outcome="delivered"):
    its = {"event_id": event_id, "sink": sink, "outcome": outcome, "since_ms": since_ms}
    return {"event": "delivery.attempted"} | its


def rejected(peer, reason, **fields):
    return {"event": "callback.rejected", "peer": peer, "reason": reason} | fields


LOG = [
    accepted("a", "x", "y", ts="t1", service="Go"),
    accepted("b", "x", ts="t2"),
    attempted("a", "x", 9.5),
    attempted("a", "y", 9.5, "failed"),
    attempted("a", "y", 60_000),
    attempted("b", "x", 60_001),
    rejected("192.0.2.1", "token"),
    rejected("192.0.2.1", "token", unlogged=7),
    rejected("192.0.2.2", "path"),
    {"event": "code.read", "key": "ana", "how": "list", "count": 3, "leaf": 7},
    {"event": "code.read", "key": "ana", "how": "list", "count": 2, "leaf": 9},
    {"event": "code.read", "how": "reveal", "count": 1, "leaf": 10},
]
AUDIT = [
    {"do": "code.read", "by": "key/ana", "how": "list"},
    {"do": "code.read", "by": "key/ana", "how": "list"},
    {"do": "code.read", "by": "key/crm", "how": "wait"},
    {"do": "code.wait", "by": "key/crm"},
]
ANSWERS = {
    "Codes that were late or lost": [{"ts": "t2", "event_id": "b", "service": None, "sink": "x"}],
    "Who read codes": [
        {"by": "key/ana", "how": "list", "lines": 2},
        {"by": "key/crm", "how": "wait", "lines": 1},
    ],
    "Codes read by key": [
        {"key": None, "how": "reveal", "events": 1},
        {"key": "ana", "how": "list", "events": 5},
    ],
    "Rejected requests by address": [
        {"peer": "192.0.2.1", "reason": "token", "requests": 9},
        {"peer": "192.0.2.2", "reason": "path", "requests": 1},
    ],
    "Time to a delivery, by sink": [{"sink": "x", "p95": 60001}, {"sink": "y", "p95": 60000}],
}


@pytest.mark.parametrize("title", ANSWERS)
def test_query_of_the_page_finds_the_lines(title, tmp_path):
    """Mutants: 60 seconds count as late; `unlogged` is left out; the median; lines are
    counted, not events.
    """
    tools.require(tools.missing("jq"))
    for name, lines in (("log", LOG), ("audit", AUDIT)):
        text = "".join(f"{json.dumps(line)}\n" for line in lines)
        (tmp_path / f"{name}.jsonl").write_text(text)
    section = PAGE.split(f"### {title}\n")[1].split("\n### ")[0]
    [query] = re.findall(r"(?s)```sh\n(.*?)```", section)

    done = subprocess.run(
        ["sh", "-ec", query], cwd=tmp_path, capture_output=True, text=True, check=True
    )

    assert [json.loads(line) for line in done.stdout.splitlines()] == ANSWERS[title]
    for tool in ("Loki", "Splunk", "Elasticsearch"):
        assert f"\n| {tool} | `" in section
