"""Commands on deliveries and sinks, with a real service and a failing sink."""

import json
import re
import shlex
import time

import live
import pytest
from prompt import cells, printed, read, run, sent
from serving import Handler, serving

from core.clock import rfc3339
from server.cli.deliveries import waits_for

READER, WRITER = "reader-key-0123456789", "writer-key-0123456789"
KEYS = (
    f'{{reader: {{key: "{READER}", scopes: ["events:read"]}}, '
    f'seeing: {{key: "seeing-key-0123456789", scopes: ["deliveries:write"], '
    "when: {source: tellabot}}, "
    f'writer: {{key: "{WRITER}", scopes: ["deliveries:write"]}}}}'
)
#: `lost` has no folder and gives up at once; no route names `spare`.
SINKS = (
    "sinks:\n"
    "  log: {type: file, path: events.jsonl}\n"
    "  lost: {type: file, path: missing/lost.jsonl, retry: {attempts: 1}}\n"
    "  spare: {type: file, path: spare.jsonl}\n"
    "  held: {type: file, path: held.jsonl, redact: people}\n"
    "routes: {everything: {to: [log]}, activations: {to: [lost], when: {source: smsactivate}}}\n"
)
CONFIG = "".join(
    (
        live.CONFIG.partition("sinks:")[0],
        SINKS,
        f"server:{live.CONFIG.partition('server:')[2].partition('api:')[0]}",
        f"api: {{keys: {KEYS}}}\n",
    )
)
AGO = re.compile(r"(?:now|\d+ (?:s|min) ago)")


pytestmark = pytest.mark.usefixtures("here")


def owed(event_id, sink):
    """Return the newest delivery of that event to that sink."""
    return read("deliveries", "list", "--event", event_id, "--sink", sink)[-1]


def ended(event_id, sink, state):
    """Return the delivery once it is in that state."""
    live.eventually(lambda: owed(event_id, sink)["state"] == state)
    return owed(event_id, sink)


def dead(*arguments):
    [event_id] = sent("smsactivate", *arguments)
    return event_id, ended(event_id, "lost", "dead")


# deliveries list, show


def test_deliveries_are_listed_newest_last():
    """Mutant: the oldest ones."""
    events = sent("tellabot", "--times", "4")
    for event_id in events:
        ended(event_id, "log", "delivered")

    result = run("deliveries", "list", "--sink", "log", "--limit", "3")

    header = re.split(r"  +", result.stdout.splitlines()[0].rstrip())
    assert header == ["accepted", "sink", "state", "waits for", "last attempt", "event", "id"]
    assert [row[1:6] for row in cells(result.stdout)[1:]] == [
        ["log", "delivered", "-", "delivered", event_id] for event_id in events[1:]
    ]
    assert all(AGO.fullmatch(row[0]) for row in cells(result.stdout)[1:])
    assert result.exit_code == 0
    assert re.fullmatch(
        r"showing the newest 3; next: smshook deliveries list --sink log --limit 3 "
        r"--order desc --after \S+\n",
        result.stderr,
    )


def test_hint_continues_the_list_of_deliveries():
    """The command below the table lists the next page. Mutant: the cursor of the item before."""
    events = sent("tellabot", "--times", "4")
    for event_id in events:
        ended(event_id, "log", "delivered")
    only = [word for event_id in events for word in ("--event", event_id)]

    first = run("deliveries", "list", *only, "--limit", "3")
    again = shlex.split(first.stderr.partition("next: smshook ")[2])
    second = run(*again)

    assert [row[5] for row in cells(first.stdout)[1:]] == events[1:]
    assert [row[5] for row in cells(second.stdout)[1:]] == events[:1]
    assert second.stderr == ""


def test_id_can_be_shortened_to_its_end():
    """Mutants: the beginning of an id; the first of two ids with the same end."""
    event_id, delivery = dead()

    shown = read("events", "show", event_id[-8:])
    listed = read("deliveries", "list", "--event", f"…{event_id[-6:]}", "--sink", "lost")
    absent = run("events", "show", "ffffffffffff")
    short = run("events", "show", event_id[-5:])

    assert shown["event"]["id"] == event_id
    assert [item["id"] for item in listed] == [delivery["id"]]
    assert (absent.exit_code, absent.stderr) == (
        1,
        "no event has an id that ends in 'ffffffffffff'\n",
    )
    assert short.exit_code == 2
    assert "write the last 6 characters of the id or more" in short.stderr


def test_json_of_deliveries_is_that_of_the_api(service):
    event_id, _ = dead()

    listed = read("deliveries", "list", "--event", event_id)

    answer = service.api("/deliveries", key=READER, params={"event": event_id}).json()
    assert listed == answer["data"]
    assert [item["sink"] for item in listed] == ["log", "lost"]


def test_filters_of_deliveries_can_repeat():
    """Mutant: only the last value."""
    (one, _), (two, _) = dead(), dead()
    ended(one, "log", "delivered")
    of_both = ("--event", one, "--event", two)

    both = cells(printed("deliveries", "list", *of_both, "--state", "dead", "--state", "expired"))[
        1:
    ]
    of_sinks = cells(
        printed("deliveries", "list", "--event", one, "--sink", "log", "--sink", "lost")
    )[1:]
    none = run("deliveries", "list", "--sink", "spare", "--state", "dead")
    unknown = run("deliveries", "list", "--sink", "lsot")
    state = run("deliveries", "list", "--state", "deda")

    assert [row[5] for row in both] == [one, two]
    assert [row[4] for row in both] == ["missing"] * 2
    assert [row[1:3] for row in of_sinks] == [["log", "delivered"], ["lost", "dead"]]
    assert (none.exit_code, none.stdout, none.stderr) == (0, "", "no deliveries\n")
    assert (unknown.exit_code, unknown.stdout, unknown.stderr) == (
        2,
        "",
        "no sink is named 'lsot'; sinks: log, lost, spare, held; did you mean 'lost'?\n",
    )
    assert state.exit_code == 2
    assert state.stderr.endswith("; did you mean 'dead'?\n")


@pytest.mark.parametrize(
    "arguments",
    [
        ("deliveries", "list", "--state", "done"),
        ("deliveries", "list", "--limit", "0"),
        ("deliveries", "list", "--sink", ""),
        ("deliveries", "retry"),
        ("deliveries", "retry", ".."),
        ("deliveries", "show", ""),
        ("events", "replay"),
        ("events", "replay", "."),
        ("sinks", "pause"),
        ("sinks", "test", ".."),
        ("sinks", "list", "--output", "yaml"),
    ],
    ids=" ".join,
)
def test_wrong_option_is_a_usage_error(arguments):
    """Mutant: `..` in a path, which is another call."""
    result = run(*arguments)

    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr


def test_delivery_is_shown_with_its_attempts(service):
    event_id, delivery = dead()

    text = printed("deliveries", "show", delivery["id"])

    fields, _, attempts = text.partition("\n\n")
    assert dict(re.split(r"  +", line) for line in fields.splitlines()) == {
        "id": delivery["id"],
        "event": event_id,
        "sink": "lost",
        "state": "dead",
        "waits_for": "-",
        "replay": "no",
        "next_at": "-",
        "accepted_at": delivery["accepted_at"],
    }
    [row] = cells(attempts)[1:]
    assert row[1:4] == ["failed", "-", "missing"]
    whole = service.api(f"/deliveries/{delivery['id']}", key=READER).json()
    assert read("deliveries", "show", delivery["id"]) == whole == delivery


@pytest.mark.parametrize(
    "arguments",
    [
        ("deliveries", "show", "9999999999999999999999"),
        ("deliveries", "show", "../stats"),
        ("deliveries", "retry", "999999999"),
        ("events", "replay", "01931c5e-0000-7000-8000-000000000000"),
    ],
    ids=" ".join,
)
def test_missing_delivery_is_a_failure(arguments):
    """Mutant: an id put into the path as it is."""
    result = run(*arguments)

    assert (result.exit_code, result.stdout) == (1, "")
    assert "404 not_found: no such " in result.stderr or "has an id that ends in" in result.stderr


@pytest.mark.parametrize("verb", ["test", "pause", "resume"])
@pytest.mark.parametrize("name", ["lgo", "a b/c?d#e"])
def test_unknown_sink_lists_the_known_names(verb, name):
    """Mutant: only the 404 of the API."""
    result = run("sinks", verb, name)

    near = "; did you mean 'log'?" if name == "lgo" else ""
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr == (f"no sink is named {name!r}; sinks: log, lost, spare, held{near}\n")


# deliveries retry, events replay


def test_dead_delivery_is_sent_again_after_a_retry(service):
    """Several ids, also after a failure. Mutant: the first failure ends the command."""
    (one, first), (two, second) = dead(), dead()
    ended(one, "log", "delivered")
    delivered = owed(one, "log")["id"]
    (service.folder / "missing").mkdir()
    try:
        result = run("deliveries", "retry", first["id"], delivered, "99999", second["id"])
        again = [ended(event_id, "lost", "delivered") for event_id in (one, two)]
    finally:
        for path in (service.folder / "missing").iterdir():
            path.unlink()
        (service.folder / "missing").rmdir()

    assert result.exit_code == 1
    assert result.stdout == (
        f"{first['id']} to lost is pending\n{second['id']} to lost is pending\n"
    )
    assert result.stderr == (
        f"{delivered}: 409 already_delivered: the sink has it; "
        "to send it again: POST /v1/events/ID/replay\n"
        "99999: 404 not_found: no such delivery\n"
    )
    assert [delivery["id"] for delivery in again] == [first["id"], second["id"]]
    assert [len(delivery["attempts"]) for delivery in again] == [2, 2]


def test_event_is_replayed_to_first_or_named_sinks(service):
    """Mutant: only the last `--sink` counts."""
    [event_id] = sent("tellabot")
    ended(event_id, "log", "delivered")

    [line] = printed("events", "replay", event_id).splitlines()
    named = read(
        "events", "replay", event_id, "--sink", "spare", "--sink", "log", "--sink", "spare"
    )

    made = read("deliveries", "list", "--event", event_id)
    assert [(item["sink"], item["replay"]) for item in made] == [
        ("log", False),
        ("log", True),
        ("spare", True),
        ("log", True),
    ]
    assert line == f"delivery {made[1]['id']}"
    assert named == {"deliveries": [made[2]["id"], made[3]["id"]]}
    live.eventually(lambda: [event["id"] for event in service.delivered()].count(event_id) == 3)


def test_replay_to_an_unknown_sink_makes_nothing():
    [event_id] = sent("tellabot")

    result = run("events", "replay", event_id, "--sink", "log", "--sink", "lgo")

    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr == (
        "no sink is named 'lgo'; sinks: log, lost, spare, held; did you mean 'log'?\n"
    )
    assert len(read("deliveries", "list", "--event", event_id)) == 1


# sinks


def test_sinks_are_listed_with_their_state():
    event_id, _ = dead()
    ended(event_id, "log", "delivered")

    listed = {row[0]: row[1:] for row in cells(printed("sinks", "list"))[1:]}

    assert list(listed) == ["log", "lost", "spare", "held"]
    assert listed["log"][:3] == ["file", "active", "0"]
    assert AGO.fullmatch(listed["log"][3])
    assert listed["lost"][:2] == ["file", "failing"]
    assert re.fullmatch(f"missing {AGO.pattern}", listed["lost"][-1])
    assert [sink["name"] for sink in read("sinks", "list", "--limit", "2")] == ["log", "lost"]


def test_sinks_test_shows_request_and_outcome(service):
    """Mutants: the sample is an event; it goes to another sink."""
    before = service.api("/stats", key=READER).json()

    text = printed("sinks", "test", "held")

    [line] = (service.folder / "held.jsonl").read_text().splitlines()
    request, result = text.splitlines()
    assert request == f"> {line}"
    assert json.loads(line)["data"]["sample"] is True
    assert json.loads(line)["data"]["text"] == "***"
    assert re.fullmatch(r"delivered, \d+ ms", result)
    assert service.api("/stats", key=READER).json() == before


@pytest.mark.parametrize("output", ["table", "json"])
def test_failed_sinks_test_is_a_failure(output):
    """In both outputs. Mutant: with JSON the exit code is 0."""
    result = run("sinks", "test", "lost", "--output", output)

    assert (result.exit_code, result.stderr) == (1, "lost: failed: missing\n")
    if output == "json":
        assert json.loads(result.stdout)["error"] == "missing"
    else:
        assert result.stdout.splitlines()[-1].startswith("failed: missing, ")


def test_sink_is_paused_and_resumed(service):
    paused = printed("sinks", "pause", "spare")
    [event_id] = sent("tellabot")
    printed("events", "replay", event_id, "--sink", "spare")
    listed = {row[0]: row[1:4] for row in cells(printed("sinks", "list"))[1:]}
    held = owed(event_id, "spare")
    resumed = printed("sinks", "resume", "spare")

    assert paused == "spare is paused, 0 pending\n"
    assert listed["spare"] == ["file", "paused (operator)", "1"]
    assert (held["state"], held["attempts"]) == ("pending", [])
    assert resumed == "spare is active, 1 pending\n"
    assert ended(event_id, "spare", "delivered")["id"] == held["id"]
    assert event_id in [event["id"] for event in service.delivered("spare.jsonl")]


# Keys


@pytest.mark.parametrize(
    "arguments",
    [
        ("deliveries", "retry", "01931c5e-0000-7000-8000-000000000000"),
        ("events", "replay", "01931c5e-0000-7000-8000-000000000000"),
        ("sinks", "test", "log"),
        ("sinks", "pause", "log"),
        ("sinks", "resume", "log"),
    ],
    ids=" ".join,
)
def test_key_without_the_scope_is_a_failure_naming_it(arguments):
    result = run(*arguments, "--key", READER)

    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == (
        "403 missing_scope: the key needs the scope deliveries:write; the key is from --key\n"
    )


def test_no_key_with_the_scope_is_a_configuration_error(service, tmp_path):
    """A key with a `when` does not count. Mutant: it is used, and the answer is 403."""
    (tmp_path / "smshook.yaml").write_text(
        CONFIG.replace(f', writer: {{key: "{WRITER}"', ', other: {key: "sha256:' + "0" * 64 + '"')
    )
    (tmp_path / "smshook.yaml").chmod(0o600)
    config = ("--config", str(tmp_path / "smshook.yaml"))

    pausing = run("sinks", "pause", "log", *config, "--url", service.admin_url)
    [event_id] = sent("tellabot")
    replaying = run("events", "replay", event_id, *config, "--url", service.admin_url)

    assert (pausing.exit_code, pausing.stdout) == (2, "")
    assert pausing.stderr == (
        "no API key in the configuration is in clear and has the scope deliveries:write; "
        "set SMSHOOK_API_KEY, or give --key\n"
    )
    assert replaying.exit_code == 0


# Control characters

ONE, TWO, NONE = (f"01931c5e-0000-7000-8000-00000000000{i}" for i in (1, 2, 3))
HOSTILE = "\x1b]0;owned\x07\x1b[2J\u202e\x9b31m\r\n\x85forged line\u2028"
ATTEMPT = {
    "at": HOSTILE,
    "outcome": HOSTILE,
    "status": 500,
    "error": HOSTILE,
    "took_ms": 1.5,
    "answer": HOSTILE,
}
DELIVERY = {
    "id": HOSTILE,
    "event": HOSTILE,
    "sink": HOSTILE,
    "state": HOSTILE,
    "replay": False,
    "attempts": [ATTEMPT],
    "next_at": HOSTILE,
    "accepted_at": HOSTILE,
}
SINK = {
    "name": HOSTILE,
    "type": HOSTILE,
    "state": "paused",
    "paused_by": HOSTILE,
    "owed": 1,
    "last_success_at": HOSTILE,
    "last_error": {"at": HOSTILE, "error": HOSTILE, "status": 500},
}
PROBLEM = {"code": HOSTILE, "detail": HOSTILE}
ANSWERS = {
    "/v1/deliveries": {"data": [DELIVERY], "next_cursor": "x", "has_more": False},
    "/v1/deliveries/1": DELIVERY,
    "/v1/deliveries/1/retry": DELIVERY,
    f"/v1/events/{ONE}/replay": {"deliveries": [HOSTILE]},
    f"/v1/events/{NONE}/replay": {"deliveries": []},
    "/v1/sinks": {"data": [SINK], "next_cursor": "x", "has_more": False},
    "/v1/sinks/a/test": ATTEMPT | {"request": HOSTILE},
    "/v1/sinks/a/pause": SINK,
}


class Hostile(Handler):
    """An API with control characters in every text."""

    def respond(self, _body):
        answer = ANSWERS.get(self.path.partition("?")[0])
        self.answer(200 if answer else 409, json.dumps(answer or PROBLEM).encode())


@pytest.fixture
def hostile():
    with serving(Hostile) as server:
        yield server.url


@pytest.mark.parametrize(
    "arguments",
    [
        ("deliveries", "list"),
        ("deliveries", "list", "--output", "json"),
        ("deliveries", "show", "1"),
        ("deliveries", "show", "1", "--output", "json"),
        ("deliveries", "retry", "1", "2"),
        ("events", "replay", ONE),
        ("events", "replay", ONE, "--output", "json"),
        ("events", "replay", TWO),
        ("sinks", "list"),
        ("sinks", "list", "--output", "json"),
        ("sinks", "test", "a"),
        ("sinks", "test", "a", "--output", "json"),
        ("sinks", "pause", "a"),
        ("sinks", "resume", "a"),
    ],
    ids=" ".join,
)
def test_control_characters_are_shown_escaped(hostile, arguments):
    """Mutant: an answer, an error or a state is printed unescaped."""
    result = run(*arguments, "--url", hostile, "--key", live.KEY)

    text = result.stdout + result.stderr
    assert "owned" in text
    assert [line for line in text.split("\n") if not line.isprintable()] == []
    assert not any(line.startswith("forged line") for line in text.split("\n"))


@pytest.mark.parametrize(
    ("output", "printed_"), [("table", ""), ("json", '{\n  "deliveries": []\n}\n')]
)
def test_replay_to_no_sink_is_a_failure(hostile, output, printed_):
    """For example of an unrouted event. Mutant: with JSON the exit code is 0."""
    connection = ("--url", hostile, "--key", live.KEY)

    result = run("events", "replay", NONE, "--output", output, *connection)

    assert (result.exit_code, result.stdout) == (1, printed_)
    assert result.stderr == "no sink of this event is still configured; name one with --sink\n"


@pytest.mark.parametrize("reason", ["pause", "retry"])
def test_pause_has_no_known_end(reason):
    """A removed sink makes no attempt at the time that its last one had set.

    Mutant: each reason has the time of the next attempt.
    """
    soon = rfc3339(time.time() + 500)

    text = waits_for({"waits_for": reason, "next_at": soon})

    assert text == {"pause": "pause", "retry": "retry in 8 min"}[reason]
