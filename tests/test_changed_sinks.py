"""Pending deliveries of a sink that is paused or changed: a real process and its restarts."""

import json

import live
import pytest

#: The folder is missing, so all deliveries fail.
FAILING = live.CONFIG.replace("path: events.jsonl", "path: missing/events.jsonl")


def configure(service, config):
    (service.folder / "smshook.yaml").write_text(config)


def restart_with(service, config):
    """Stop the service, and start it with another configuration."""
    assert service.stop() == 0
    configure(service, config)
    service.start()


def sinks(service):
    return {sink["name"]: sink for sink in service.api("/sinks").json()["data"]}


def switch(service, action):
    answer = service.api(f"/sinks/log/{action}", method="POST")
    assert answer.is_success, answer.text


def states(service):
    return {name: (sink["state"], sink["owed"]) for name, sink in sinks(service).items()}


def ids(events):
    return [event["id"] for event in events]


@pytest.mark.parametrize("end", ["stop", "kill"])
def test_paused_sink_stays_paused_after_a_restart(tmp_path, end):
    """After it is resumed, each pending delivery arrives once, from before and after the restart.

    Mutants: the pause is kept in memory; a start forgets it; deliveries from before the start are
    not taken after a resume.
    """
    with live.Live(tmp_path) as service:
        switch(service, "pause")
        before = [service.accept(number) for number in range(3)]
        paused_at = sinks(service)["log"]["paused_at"]

        getattr(service, end)()
        service.start()
        shown = sinks(service)["log"]
        after = service.accept(3)
        owed, arrived = service.stats()["deliveries"], service.delivered()
        tested = json.loads(service.run("sinks", "test", "log", "--output", "json").stdout)
        resumed = service.run("sinks", "resume", "log").stdout
        live.eventually(lambda: service.stats()["deliveries"]["delivered"] == 4)

        assert (shown["state"], shown["paused_by"], shown["owed"]) == ("paused", "operator", 3)
        assert shown["paused_at"] == paused_at
        assert (owed["pending"], owed["sending"], owed["delivered"]) == (4, 0, 0)
        assert arrived == []
        assert resumed == "log is active, 4 pending\n"
        sample = json.loads(tested["request"])["id"]
        assert sorted(ids(service.delivered())) == sorted([*before, after, sample])


def test_resumed_sink_stays_active_after_a_restart(tmp_path):
    with live.Live(tmp_path) as service:
        switch(service, "pause")
        switch(service, "resume")

        service.kill()
        service.start()
        event_id = service.accept(1)
        live.eventually(service.delivered)

        assert ids(service.delivered()) == [event_id]


def test_automatic_pause_ends_after_a_restart(tmp_path):
    """It also ends if `pause_after` was removed meanwhile.

    Mutant: an automatic pause that never ends.
    """
    # It fails for two seconds, so that a busy machine sees it fail, too.
    pausing = FAILING.replace(
        ".jsonl}", ".jsonl, pause_after: {failing_for: 2s, probe_every: 100ms}}"
    )
    with live.Live(tmp_path, pausing) as service:
        first = service.accept(1)
        live.eventually(lambda: states(service)["log"][0] == "failing")
        second = service.accept(2)
        live.eventually(lambda: sinks(service)["log"]["paused_by"] == "failing")

        service.kill()
        service.start()
        still = sinks(service)["log"]["paused_by"]
        restart_with(service, FAILING)
        without = sinks(service)["log"]
        restart_with(service, pausing)
        (tmp_path / "missing").mkdir()
        live.eventually(lambda: states(service)["log"] == ("active", 0), within=30)

        assert still == "failing"
        assert (without["state"], without["paused_by"]) == ("failing", None)
        assert sorted(ids(service.delivered("missing/events.jsonl"))) == sorted([first, second])


@pytest.mark.parametrize("change", ["renamed", "removed"])
def test_deliveries_of_a_removed_sink_wait_for_its_return(tmp_path, change):
    """Then they are sent with the sink's new options: another path, `redact` and `ordered_by`.

    Mutants: they are sent to the renamed sink; they are sent with the options at acceptance.
    """
    other = {
        "renamed": FAILING.replace(
            "log: {type: file, path: missing/", "kept: {type: file, path: "
        ).replace("[log]", "[kept]"),
        "removed": FAILING.replace("  log: {type: file, path: missing/events.jsonl}\n", "")
        .replace("sinks:\n", "sinks: {}\n")
        .replace("routes:\n  everything: {to: [log]}\n", "routes: {}\n"),
    }[change]
    back = live.CONFIG.replace(
        "path: events.jsonl", "path: back.jsonl, redact: codes, ordered_by: data.to"
    )
    with live.Live(tmp_path, FAILING) as service:
        owed = [service.accept(number, to="18503814729") for number in range(1, 6)]
        live.eventually(lambda: sinks(service)["log"]["last_error"])

        restart_with(service, other)
        (tmp_path / "missing").mkdir()
        new = service.accept(6, to="18503814729")
        shown = sinks(service)
        unknown = service.run("sinks", "pause", "log", check=False)
        checked = service.run("check")
        replayed = service.run("events", "replay", owed[0], "--sink", "log", check=False)
        restart_with(service, back)
        live.eventually(lambda: states(service)["log"][1] == 0, within=20)

        configured = {"renamed": ["kept"], "removed": []}[change]
        assert list(shown) == [*configured, "log"]
        log = shown["log"]
        assert (log["state"], log["type"], log["owed"]) == ("gone", None, 5)
        assert log["last_error"]["error"] == "missing"
        assert (unknown.returncode, unknown.stderr) == (1, "404 not_found: no such sink\n")
        assert checked.stderr == (
            "warning: smshook.db: 5 deliveries are pending for 'log', which is no longer a sink; "
            "they wait until a sink has that name\n"
        )
        assert replayed.stderr == "422 unknown_sink: sinks: no sink is named 'log'\n"
        assert ids(service.delivered()) == ([new] if change == "renamed" else [])
        assert list((tmp_path / "missing").iterdir()) == []
        arrived = service.delivered("back.jsonl")
        assert ids(arrived) == owed
        assert {event["data"]["text"] for event in arrived} == {"***"}
        assert states(service) == {"log": ("active", 0)}


def test_changed_sink_sends_pending_deliveries_its_new_way(tmp_path):
    """Mutant: the options are stored with the delivery."""
    with live.Live(tmp_path, FAILING) as service:
        owed = [service.accept(number) for number in range(1, 4)]
        live.eventually(lambda: service.stats()["deliveries"]["pending"] == 3)

        service.kill()
        configure(service, FAILING.replace("missing/events.jsonl", "new.jsonl, redact: people"))
        service.start()
        live.eventually(lambda: states(service)["log"][1] == 0, within=20)

        arrived = service.delivered("new.jsonl")
        assert sorted(ids(arrived)) == sorted(owed)
        assert {event["data"]["to"] for event in arrived} == {"***"}


def test_new_ordered_by_applies_to_pending_deliveries(tmp_path):
    """All wait for the first one. Mutant: only new deliveries are ordered."""
    with live.Live(tmp_path, FAILING) as service:
        for number in range(1, 4):
            service.accept(number, to="18503814729")
        live.eventually(lambda: service.stats()["deliveries"]["pending"] == 3)

        restart_with(service, FAILING.replace(".jsonl}", ".jsonl, ordered_by: data.to}"))
        held = service.api("/deliveries", params={"sink": "log"}).json()["data"][1:]

        assert [(item["state"], item["next_at"]) for item in held] == [("pending", None)] * 2


def test_new_expire_after_applies_to_pending_deliveries(tmp_path):
    """Old deliveries expire after the change."""
    with live.Live(tmp_path, FAILING) as service:
        event_id = service.accept(1)
        live.eventually(lambda: sinks(service)["log"]["last_error"])

        restart_with(
            service, FAILING.replace("missing/events.jsonl", "new.jsonl, expire_after: 10ms")
        )
        live.eventually(lambda: service.stats()["deliveries"]["expired"] == 1, within=20)
        [delivery] = service.api("/deliveries", params={"event": event_id}).json()["data"]

        assert delivery["state"] == "expired"
        assert service.delivered("new.jsonl") == []
