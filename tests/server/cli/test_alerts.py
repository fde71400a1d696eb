"""`alerts list` and `alerts test`, with a real service."""

import json

import live
import pytest
from prompt import printed, read, run

pytestmark = pytest.mark.usefixtures("here")


def test_alerts_are_listed_and_tested():
    """Mutants: another call; a test that no route takes exits with 0."""
    assert printed("alerts", "list", stderr="no alert is raised\n") == ""
    printed("sinks", "pause", "log")
    live.eventually(lambda: read("alerts", "list"), within=10)
    head, row = printed("alerts", "list").splitlines()
    printed("sinks", "resume", "log")
    untaken = run("alerts", "test", "disk_low")

    assert head.split() == ["name", "subject", "severity", "since", "summary"]
    assert row.split()[:3] == ["sink_paused", "sink/log", "info"]
    assert untaken.exit_code == 1
    assert untaken.stderr.endswith("no route takes system.disk_low: add a route for system.*\n")
    assert json.loads(run("alerts", "test", "disk_low", "--output", "json").stdout)["sinks"] == []
