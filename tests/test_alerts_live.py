"""Alerts of a real service: a sink that carries its own alert, a heartbeat, calls and commands."""

import json
import signal
import time
from collections import defaultdict

import live
import pytest
from serving import Handler, serving

#: Words of a URL that no log may have.
SECRET_ID = "b5c8e1d0-secret-id"


class Receiver:
    """An HTTP server with a sink, which answers as it is told, and a heartbeat."""

    def __init__(self):
        self.status = defaultdict(lambda: 200)
        #: The bodies that were accepted, and the number of requests, by path.
        self.accepted, self.asked = defaultdict(list), defaultdict(int)

    def types(self, path):
        return [event["type"] for event in self.accepted[path]]


@pytest.fixture
def receiver():
    found = Receiver()

    class Answers(Handler):
        def respond(self, body):
            path = self.path.split("/")[1]
            status = found.status[path]
            found.asked[path] += 1
            if status == 200:
                found.accepted[path].append(body and json.loads(body))
            self.answer(status)

    with serving(Answers) as server:
        found.url = server.url
        yield found


@pytest.fixture
def service(receiver, tmp_path):
    config = live.CONFIG.replace(
        "sinks:\n",
        f'sinks:\n  team: {{type: http, url: "{receiver.url}/team",'
        " retry: {schedule: [0s, 1s]}}\n",
    ).replace(
        "  everything: {to: [log]}\n",
        "  everything: {to: [team]}\n"
        "  oncall: {when: {type: {$startsWith: system.}}, to: [team]}\n",
    )
    config += (
        "alerts: {sink_failing: {after: 0s, clear: 0s}, delivery_dead: {quiet: 0s}, quiet: 0s}\n"
        f'heartbeat: {{url: "{receiver.url}/beat/{SECRET_ID}", every: 200ms}}\n'
    )
    with live.Live(tmp_path, config) as service:
        yield service


def events(service, type_):
    found = service.api("/events", params={"type": f"system.{type_}"}).json()["data"]
    return [item["event"] for item in found]


def test_sink_carries_its_own_alert(service, receiver):
    """The event and the alert about it die. When the sink is back, it gets the end.

    Mutants: the death of an alert raises another; the sink's own alert is not sent to it.
    """
    receiver.status["team"] = 503
    service.post(live.sms(1))
    live.eventually(lambda: events(service, "sink_failing"), within=10)
    live.eventually(lambda: service.stats()["deliveries"]["dead"] == 3, within=20)
    raised = service.api("/alerts").json()["data"]
    assert [(one["name"], one["subject"]) for one in raised] == [("sink_failing", "sink/team")]
    assert raised[0]["summary"].startswith("no delivery to the sink team succeeds (status 503)")
    metrics = service.metrics().decode()

    receiver.status["team"] = 200
    service.post(live.sms(2))
    live.eventually(lambda: "system.sink_recovered" in receiver.types("team"), within=10)

    [dead] = events(service, "delivery_dead")
    [failing], [recovered] = events(service, "sink_failing"), events(service, "sink_recovered")
    assert (dead["data"]["count"], dead["subject"]) == (1, "sink/team")
    assert recovered["data"]["id_raised"] == failing["id"]
    assert service.api("/alerts").json()["data"] == []
    assert 'smshook_alerts{name="sink_failing"} 1\n' in metrics
    assert 'smshook_alerts{name="sink_failing"} 0\n' in service.metrics().decode()
    # They count in no statistics, and lists have them only by their types.
    assert service.stats()["events"] == 2
    types = {item["event"]["type"] for item in service.api("/events").json()["data"]}
    assert types == {"sms.received"}


def test_alert_is_tested_by_command(service, receiver):
    """Mutants: the sample goes to no sink; an unknown name is 200."""
    said = service.run("alerts", "test", "disk_low").stdout
    live.eventually(lambda: "system.disk_low" in receiver.types("team"))
    [sample] = [one for one in receiver.accepted["team"] if one["type"] == "system.disk_low"]

    assert said.startswith("sent to team as event ")
    assert sample["data"]["sample"] is True
    assert service.run("alerts", "list").stderr == "no alert is raised\n"
    unknown = service.run("alerts", "test", "disk_lwo", check=False)
    assert (unknown.returncode, "no such alert" in unknown.stderr) == (1, True)


def test_heartbeat_comes_while_the_service_is_ready(service, receiver):
    """Mutants: sent while it is not ready; a failure is logged with the URL, or each time."""
    live.eventually(lambda: receiver.asked["beat"] > 2)
    receiver.status["beat"], before = 500, receiver.asked["beat"]
    live.eventually(lambda: receiver.asked["beat"] > before + 3)
    receiver.status["beat"] = 200
    live.eventually(lambda: service.logged("heartbeat.recovered"))

    failed = service.logged("heartbeat.failed")
    assert [one["error"] for one in failed] == ["status 500"]
    assert SECRET_ID not in service.log.read_text()
    shown = service.run("config", "show").stdout
    assert SECRET_ID not in shown
    # While it stops, it is not ready, and lives for a second.
    service.process.send_signal(signal.SIGTERM)
    live.eventually(lambda: "service.stopping" in service.log.read_text())
    time.sleep(0.3)
    sent = receiver.asked["beat"]
    assert service.process.wait(30) == 0
    assert receiver.asked["beat"] == sent
