"""Commands that talk to a real running service."""

import json
import os
import re
import signal
import subprocess
import time
from pathlib import Path

import live
import pytest
from prompt import ID, cells, printed, read, run, sent
from serving import Handler, serving

from core.event import kinds
from server.cli.client import ApiClient

READER, DECODER = "reader-key-0123456789", "decoder-key-0123456789"
KEYS = (
    f'{{reader: {{key: "{READER}", scopes: ["events:read"]}}, '
    f'decoder: {{key: "{DECODER}", scopes: ["codes:read"]}}, '
    f'admin: {{key: "{live.KEY}", scopes: [admin]}}}}'
)
TYPES = ", ".join(kind.type for kind in kinds())
CONFIG = live.CONFIG.partition("api:")[0] + f"api: {{keys: {KEYS}}}\n"


pytestmark = pytest.mark.usefixtures("here")


def seen(event_id, **environment):
    return read("events", "show", event_id, **environment)


# send


@pytest.mark.parametrize(
    ("arguments", "content_type"),
    [
        (("tellabot",), "application/x-www-form-urlencoded"),
        (("tellabot", "--encoding", "json"), "application/json"),
        (("tellabot", "sms", "--encoding", "multipart"), "multipart/form-data; boundary="),
        (("smsactivate",), "application/json"),
        (("smsactivate", "rent"), "application/json"),
    ],
)
def test_sample_is_accepted_in_each_encoding_and_marked(arguments, content_type):
    """Mutant: a signature of another body, which the door rejects."""
    output = printed("send", *arguments)

    [event_id] = re.fullmatch(rf"accepted ({ID})\n", output).groups()
    whole = read("events", "show", event_id, "--raw")
    assert whole["event"]["data"]["sample"] is True
    assert dict(whole["raw"]["headers"])["content-type"].startswith(content_type)


@pytest.mark.parametrize(
    ("kind", "type_"),
    [
        ("sms", "sms.received"),
        ("rental-sms", "sms.received"),
        ("billing", "rental.billed"),
        ("renewal", "rental.renewed"),
        ("renewal-failed", "rental.renewal_failed"),
        ("assigned", "number.assigned"),
    ],
)
def test_each_kind_becomes_its_event(kind, type_):
    [event_id] = sent("tellabot", kind)

    assert seen(event_id)["event"]["type"] == type_


def test_samples_differ_and_a_second_copy_is_a_duplicate():
    """Mutant: one number for all, or a copy with another body."""
    output = printed("send", "smsactivate", "--times", "3", "--duplicate")

    answers = [line.split() for line in output.splitlines()]
    assert [status for status, _ in answers] == ["accepted", "duplicate"] * 3
    ids = [id_ for _, id_ in answers]
    assert ids[0::2] == ids[1::2]
    assert len(set(ids)) == 3


def test_rejected_sample_is_a_failure_with_its_reason(service, tmp_path):
    """The service reads its configuration when it starts."""
    changed = (service.folder / "smshook.yaml").read_text().replace(live.TOKEN, "another" * 4)
    (tmp_path / "smshook.yaml").write_text(changed)
    config = ("--config", str(tmp_path / "smshook.yaml"))

    result = run("send", "tellabot", *config, "--url", service.url)

    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == (
        "404 not_found: the service does not know this source or token; "
        "it reads its configuration at start\n"
    )


# events


def test_events_are_listed_newest_last():
    ids = sent("tellabot", "--times", "4")[1:]

    result = run("events", "list", "--limit", "3")

    table = result.stdout
    assert result.exit_code == 0
    assert table.splitlines()[0].split() == [
        *("recorded", "type", "source", "service", "to", "code", "id"),
    ]
    assert [row[-1] for row in cells(table)[1:]] == ids
    assert {tuple(row[1:4]) for row in cells(table)[1:]} == {("sms.received", "tellabot", "Google")}


def test_longer_list_ends_with_the_next_command():
    """Mutant: no hint, so that the list seems complete."""
    first, second, third = (sent("tellabot", "rental-sms", "--duplicate")[0] for _ in range(3))
    subjects = [word for id_ in (first, second, third) for word in ("--subject", subject_of(id_))]

    newest = run("events", "list", *subjects, "--limit", "2")
    every = run("events", "list", *subjects, "--limit", "3", "--output", "json")
    said = re.search(r"showing the newest 2; next: .* --order desc --after (\S+)\n", newest.stderr)
    older = run("events", "list", *subjects, "--order", "desc", "--after", said[1])
    oldest = run("events", "list", *subjects, "--order", "asc", "--limit", "1")
    said = re.search(r"showing 1 of more; next: .* --order asc --after (\S+)\n", oldest.stderr)
    later = run("events", "list", *subjects, "--after", said[1])

    assert [[row[-1] for row in cells(it.stdout)[1:]] for it in (newest, older, oldest, later)] == [
        [second, third],
        [first],
        [first],
        [second, third],
    ]
    assert every.stderr == older.stderr == later.stderr == ""


def subject_of(event_id):
    return seen(event_id)["event"]["subject"]


def test_json_of_events_is_that_of_the_api(service):
    """Mutant: JSON with the newest first."""
    sent("tellabot", "--times", "3")

    listed = json.loads(printed("events", "list", "--output", "json", "--limit", "1000"))
    answer = service.api("/events", key=READER, params={"limit": 1000}).json()

    assert listed == answer["data"]
    assert len(listed) >= 3


def test_pages_are_followed_up_to_the_limit(service):
    """Mutants: only the first page; a page too many."""
    sent("tellabot", "--times", "5")

    with ApiClient(service.admin_url, READER) as client:
        everything = list(client.pages("/v1/events", {}, limit=1000))
        client.page_size = 2
        followed = list(client.pages("/v1/events", {}, limit=1000))
        three = list(client.pages("/v1/events", {}, limit=3))

    assert followed == everything
    assert three == everything[:3]


def test_order_and_after_are_those_of_the_api():
    ids = sent("tellabot", "--times", "3")
    own = [word for id_ in ids for word in ("--subject", subject_of(id_))]
    oldest = read("events", "list", *own, "--order", "asc")

    newest = read("events", "list", *own, "--order", "desc")
    after = read("events", "list", *own, "--after", oldest[0]["cursor"])

    everything = read("events", "list", *own)
    assert [item["event"]["id"] for item in everything] == ids
    assert newest == everything[::-1]
    assert after == everything[1:]


def test_filters_are_those_of_the_api_and_can_repeat():
    [first], [second] = sent("tellabot", "rental-sms"), sent("smsactivate", "rent")
    subjects = [seen(id_)["event"]["subject"] for id_ in (first, second)]

    both = printed("events", "list", "--subject", subjects[0], "--subject", subjects[1])
    one = printed("events", "list", "--subject", subjects[0], "--source", "tellabot", "--code")
    none = run("events", "list", "--reference", "unknown")

    assert [row[-1] for row in cells(both)[1:]] == [first, second]
    assert [row[-1] for row in cells(one)[1:]] == [first]
    assert (none.exit_code, none.stdout, none.stderr) == (0, "", "no events\n")


@pytest.mark.parametrize(
    ("option", "value", "said"),
    [
        (
            "--source",
            "tellabto",
            (
                "no source is named 'tellabto'; sources: tellabot, smsactivate; "
                "did you mean 'tellabot'?\n"
            ),
        ),
        (
            "--type",
            "sms.recieved",
            (f"no type is named 'sms.recieved'; types: {TYPES}; did you mean 'sms.received'?\n"),
        ),
    ],
)
def test_filter_on_an_unknown_name_suggests_the_nearest(option, value, said):
    """Mutant: an empty list, as if there were no events."""
    result = run("events", "list", option, value)

    assert (result.exit_code, result.stdout, result.stderr) == (2, "", said)


def test_wrong_filter_is_a_usage_error():
    result = run("events", "list", "--since", "yesterday")

    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith("400 bad_parameter: since: ")


def test_first_key_with_the_scope_decides_what_is_seen():
    """Mutant: the first key of the file, with any scope."""
    [event_id] = sent("tellabot")

    masked = seen(event_id)["event"]["data"]
    clear = read("events", "show", event_id, "--raw")
    given = seen(event_id, SMSHOOK_API_KEY=DECODER)["event"]["data"]

    assert (masked["code"], masked["text"]) == ("***", "***")
    assert clear["event"]["data"] == given
    assert re.fullmatch(r"G-\d{6}", given["code"])


def test_event_is_shown_with_deliveries_and_routes():
    [event_id, _] = sent("tellabot", "--duplicate")
    live.eventually(lambda: seen(event_id)["deliveries"][0]["state"] == "delivered")

    text = printed("events", "show", event_id, "--raw")

    assert re.search(rf"(?m)^id +{event_id}$", text)
    assert re.search(r"(?m)^data\.code +G-\d{6}$", text)
    sections = [block.splitlines()[0] for block in text.split("\n\n")]
    assert sections[1:5] == ["duplicates", "deliveries", "attempts", "routes"]
    assert sections[5].startswith("callback from 127.0.0.1 at ")
    assert sections[6].startswith("event=incoming_message&id=")


def test_json_of_an_event_is_that_of_the_api(service):
    [event_id] = sent("tellabot")
    live.eventually(lambda: seen(event_id)["deliveries"][0]["state"] == "delivered")

    assert seen(event_id) == service.api(f"/events/{event_id}", key=READER).json()


@pytest.mark.parametrize("event_id", ["nothing", "../stats", "a b/c?d#e"])
def test_missing_event_is_a_failure(event_id):
    """Mutant: an id put into the path as it is."""
    result = run("events", "show", event_id)

    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == f"no event has an id that ends in {event_id!r}\n"


@pytest.mark.parametrize("command", [("events", "show"), ("quarantine", "delete")])
@pytest.mark.parametrize("nothing", ["", ".", ".."])
def test_invalid_id_is_a_usage_error(command, nothing):
    """Mutant: `.` in a path, which is the whole list."""
    result = run(*command, nothing)

    assert (result.exit_code, result.stdout) == (2, "")
    assert "write an id, or its last 6 characters or more" in result.stderr


@pytest.mark.parametrize(
    "arguments", [("list", "--request-id", "10000009"), ("show", "--raw")], ids=" ".join
)
def test_control_characters_are_shown_escaped(service, arguments):
    """Mutant: one cell printed as it is."""
    hostile = "\x1b]0;owned\x07\x1b[2J\u202e\x9b31m\r\nforged line"
    body = live.sms(9, text=f"code 123456 {hostile}", service=f"Goo{hostile}", at=1_700_000_000)
    [event_id] = service.post(body).json()["events"]
    show = [*arguments[:1], event_id, *arguments[1:]] if "show" in arguments else arguments

    for output in ("table", "json"):
        text = printed("events", *show, "--output", output, SMSHOOK_API_KEY=DECODER)

        assert event_id in text
        assert [line for line in text.splitlines() if not line.isprintable()] == []
        assert not any(line.startswith("forged line") for line in text.splitlines())


# quarantine, rejections, sources


def test_quarantine_commands_work_together(service):
    body = b"event=new_kind&id=77&note=\x1b[2J\xff"
    quarantine_id = service.post(body).json()["id"]

    [listed] = read("quarantine", "list")
    [row] = cells(printed("quarantine", "list"))[1:]
    shown = printed("quarantine", "show", quarantine_id)
    entry = read("quarantine", "show", quarantine_id)
    again = run("quarantine", "replay", quarantine_id)
    deleted = printed("quarantine", "delete", quarantine_id)
    gone = run("quarantine", "show", quarantine_id)

    assert listed["id"] == row[-1] == quarantine_id
    assert row[1:3] == ["tellabot", "unknown_event"]
    assert shown.splitlines()[-1] == r"event=new_kind&id=77&note=\u{1b}[2J\xff"
    assert entry["body"] == live.encoded(body)
    assert (again.exit_code, again.stderr) == (1, "still not understood: unknown_event\n")
    assert deleted == f"deleted {quarantine_id}\n"
    assert (gone.exit_code, gone.stderr) == (1, "404 not_found: no such callback in quarantine\n")
    assert run("quarantine", "list").stderr == "nothing in quarantine\n"


def test_rejections_are_counted_by_reason(service):
    live.exchange(
        service.address(), b"POST /in/x/y HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
    )

    [row] = [row for row in cells(printed("rejections"))[1:] if row[0] == "token" and row[1] == "-"]
    listed = read("rejections")

    assert row[2] == "127.0.0.1"
    assert int(row[3]) >= 1
    assert {"reason", "source", "peer", "count", "first_at", "last_at"} == set(listed[0])


def test_sources_are_listed_with_the_use_of_their_tokens():
    sent("tellabot")
    sent("smsactivate")

    names = [row[:3] for row in cells(printed("sources", "list"))[1:]]
    listed = read("sources", "list")

    assert names == [
        ["tellabot", "tellabot", "receiving"],
        ["smsactivate", "sms_activate", "receiving"],
    ]
    assert [source["name"] for source in listed] == ["tellabot", "smsactivate"]
    assert live.TOKEN not in json.dumps(listed)


def test_sources_url_is_that_of_the_running_service(service):
    assert printed("sources", "url", "tellabot") == f"{service.callback_url()}\n"


# Addresses and keys


@pytest.mark.parametrize("by", ["option", "variable"])
def test_url_and_key_need_no_configuration(service, tmp_path, monkeypatch, by):
    monkeypatch.chdir(tmp_path)
    options = ("--url", service.admin_url, "--key", live.KEY) if by == "option" else ()
    variables = {"SMSHOOK_URL": service.admin_url, "SMSHOOK_API_KEY": live.KEY}

    result = run("events", "list", *options, **(variables if by == "variable" else {}))

    assert result.exit_code == 0
    assert run("healthcheck", "--url", service.url).stdout == "ready\n"


def test_command_line_wins_over_variables(service):
    wrong = {"SMSHOOK_URL": "http://127.0.0.1:9", "SMSHOOK_API_KEY": "wrong"}

    result = run("events", "list", "--url", service.admin_url, "--key", live.KEY, **wrong)

    assert result.exit_code == 0


def test_unknown_key_is_a_failure_that_does_not_repeat_it():
    result = run("events", "list", "--key", "wr0ng-key-é-0123456789")

    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == ("401 unauthorized: unknown key; the key is from --key\n")


def test_refused_key_of_the_environment_is_named():
    """Mutant: the advice to set SMSHOOK_API_KEY, which is the cause."""
    result = run("events", "list", SMSHOOK_API_KEY="wr0ng-key")

    assert result.stderr == (
        "401 unauthorized: unknown key; the key is from SMSHOOK_API_KEY: unset it, or give --key\n"
    )


def test_proxy_of_the_environment_is_not_used(monkeypatch):
    """Mutant: the default of httpx, which sends the key to the proxy."""
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.delenv("NO_PROXY", raising=False)

    assert run("events", "list").exit_code == 0


@pytest.mark.parametrize("text", ["a: b: c", "sources: [nonsense]\n", None])
def test_broken_configuration_keeps_the_service_ready(service, text):
    """Mutant: it needs a valid configuration; the container manager would kill the service."""
    path = service.folder / "smshook.yaml"
    whole = path.read_text()
    try:
        path.unlink() if text is None else path.write_text(text)

        assert printed("healthcheck") == "ready\n"
    finally:
        path.write_text(whole)
        path.chmod(0o600)


def test_token_with_special_characters_works_in_its_url(tmp_path):
    """Mutant: the token is printed unquoted."""
    token = "a/b?c#d%2Fe é+ 0123456789"
    with live.Live(tmp_path, live.CONFIG.replace(live.TOKEN, token, 1)) as service:
        sending = service.run("send", "tellabot")
        url = service.run("sources", "url", "tellabot").stdout.strip()

    assert sending.stdout.startswith("accepted ")
    assert url.endswith("/in/tellabot/a%2Fb%3Fc%23d%252Fe%20%C3%A9%2B%200123456789")


def test_taken_port_is_named_with_its_option(service):
    """Mutant: only `Address already in use`."""
    other = service.folder / "other"
    other.mkdir()
    (other / "smshook.yaml").write_text(live.CONFIG)
    (other / "smshook.yaml").chmod(0o600)
    taken, admin = (url.partition("://")[2] for url in (service.url, service.admin_url))
    config, free = ("--config", str(other / "smshook.yaml")), "127.0.0.1:0"

    one = service.run("serve", *config, "--listen", taken, "--admin-listen", free, check=False)
    two = service.run("serve", *config, "--listen", free, "--admin-listen", admin, check=False)

    assert (one.returncode, two.returncode) == (1, 1)
    assert one.stderr == (
        f"cannot listen on {taken}: Address already in use; "
        "choose another: --listen 127.0.0.1:9000, or make run LISTEN=127.0.0.1:9000\n"
    )
    assert two.stderr.endswith(
        "choose another: --admin-listen 127.0.0.1:9001, or make run ADMIN_LISTEN=127.0.0.1:9001\n"
    )


def test_running_service_is_ready():
    assert printed("healthcheck") == "ready\n"


class Stranger(Handler):
    """Another server. Its answer depends on the path."""

    def respond(self, _body):
        if "slow" in self.path:
            time.sleep(1)
        status = 503 if "readyz" in self.path else 200
        self.answer(status, b'{"data": 1}' if "json" in self.path else b"<html>")


@pytest.fixture
def stranger():
    with serving(Stranger) as server:
        yield server.url


@pytest.mark.parametrize("path", ["/html", "/json"])
def test_foreign_server_is_recognized(stranger, path):
    result = run("events", "list", "--url", stranger + path, "--key", live.KEY)

    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == f"the server at {stranger} is not the API of smshook\n"


def test_unready_service_fails_the_healthcheck(stranger):
    result = run("healthcheck", "--url", stranger)

    assert (result.exit_code, result.stdout, result.stderr) == (1, "", "not ready: 503\n")


def test_no_answer_in_time_is_a_failure(stranger):
    with ApiClient(f"{stranger}/slow", timeout=0.1) as client, pytest.raises(Exception) as raised:
        client.get("")

    assert str(raised.value) == f"no answer from {stranger} in time"


# Pipes and processes


@pytest.mark.parametrize(
    "command",
    [
        ["events", "list", "--limit", "1000", "--output", "json"],
        ["events", "--help"],
        ["audit", "verify", "none"],  # prints what it found
        ["backup", "-"],
        ["mcp"],
    ],
    ids=" ".join,
)
def test_closed_pipe_ends_a_command_as_other_programs(service, command):
    """Mutants: a traceback; `Exception ignored` at the end; exit code 0 or 1; `except`."""
    sent("tellabot", "--times", "20")
    environment = service.environment() | {"COLUMNS": "200"}
    environment.pop("PYTHONUNBUFFERED", None)
    reading, writing = os.pipe()
    os.close(reading)

    listing = subprocess.run(
        [live.command(), *command],
        cwd=service.folder,
        input=b'{"jsonrpc": "2.0", "id": 1, "method": "ping"}\n',
        stdout=writing,
        stderr=subprocess.PIPE,
        env=environment,
        check=False,
    )
    os.close(writing)

    assert (listing.returncode, listing.stderr) == (-signal.SIGPIPE, b"")


@pytest.mark.parametrize("buffered", [True, False])
@pytest.mark.parametrize(
    "command",
    [
        ["events", "list", "--limit", "1000"],
        ["version"],
        ["--help"],
        ["events", "list", "--help"],
        ["config", "schema"],  # more than a buffer
    ],
    ids=" ".join,
)
def test_output_on_a_full_disk_is_a_failure(service, command, buffered):
    """Mutants: a traceback; exit code 120, of an interpreter that tries to write again."""
    service.run("send", "tellabot")
    environment = service.environment() | {"PYTHONUNBUFFERED": "" if buffered else "1"}

    with Path("/dev/full").open("wb") as full:
        written = subprocess.run(
            [live.command(), *command],
            cwd=service.folder,
            stdout=full,
            stderr=subprocess.PIPE,
            env=environment,
            check=False,
        )
        unsaid = subprocess.run(
            [live.command(), *command],
            cwd=service.folder,
            stdout=full,
            stderr=full,
            env=environment,
            check=False,
        )

    assert (written.returncode, written.stderr.splitlines()[-1]) == (1, b"No space left on device")
    assert b"Traceback" not in written.stderr
    assert unsaid.returncode == 1


def test_closed_stdout_is_no_failure(service):
    service.run("send", "tellabot")  # without an event, or with more, a list says so on stderr
    script = f"exec {live.command()} events list --limit 1000 >&-"

    listing = subprocess.run(
        ["sh", "-c", script],
        cwd=service.folder,
        stderr=subprocess.PIPE,
        env=service.environment(),
        check=False,
    )

    assert (listing.returncode, listing.stderr) == (0, b"")


def test_check_warns_of_deliveries_to_a_removed_sink(tmp_path):
    """`check` needs no lock, so the service may run. Mutant: it only reads the configuration."""
    failing = CONFIG.replace("path: events.jsonl", "path: missing/events.jsonl, redact: codes")
    with live.Live(tmp_path, failing) as service:
        service.run("send", "tellabot", "--times", "2")
        live.eventually(lambda: service.stats()["deliveries"]["pending"] == 2)
        (tmp_path / "renamed.yaml").write_text(
            failing.replace("log:", "renamed:").replace("[log]", "[renamed]")
        )
        (tmp_path / "renamed.yaml").chmod(0o600)

        named = service.run("check")
        forgotten = service.run("check", "--config", "renamed.yaml")

    no_folder = (
        f"warning: {{}}.yaml:6: sinks.{{}}.path: there is no folder {tmp_path}/missing: "
        "deliveries wait until you make it\n"
    )
    assert (named.returncode, named.stderr) == (0, no_folder.format("smshook", "log"))
    assert (forgotten.returncode, forgotten.stderr) == (
        0,
        no_folder.format("renamed", "renamed")
        + (
            "warning: smshook.db: 2 deliveries are pending for 'log', which is no longer a sink; "
            "they wait until a sink has that name\n"
        ),
    )
