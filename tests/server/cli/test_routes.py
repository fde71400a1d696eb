"""`routes test`: the routes that match an event, and the reason of the others."""

import json

import live
import prompt
import pytest
from prompt import cells

READER, DECODER = "reader-key-0123456789", "decoder-key-0123456789"
ROUTES = """\
routes:
  everything: {to: [log]}
  google: {to: [log], when: {data.service.key: google, data.price.amount: {$gte: 1.5}}}
  either: {to: [], when: {$or: [{data.country: GB}, {data.request_id: {$exists: false}}]}}
  long-numbers: {to: [log], when: {$not: {data.from: {$regex: "^[0-9]{1,7}$"}}}}
  renamed: {to: [log], when: {data.rental_id: "7", data.code: "1"}}
"""
CONFIG = (
    live.CONFIG.replace("routes:\n  everything: {to: [log]}\n", ROUTES).partition("api:")[0]
    + f'api: {{keys: {{reader: {{key: "{READER}", scopes: ["events:read"]}}, '
    f'decoder: {{key: "{DECODER}", scopes: ["codes:read"]}}}}}}\n'
)
EVENT = {
    "id": "01748ded-0dc3-774b-8123-456789abcdef",
    "type": "sms.received",
    "data": {
        "from": "22000",
        "country": "US",
        "service": {"id": "Google", "name": "Google", "key": "google"},
        "price": {"amount": "1.20", "currency": None},
        "code": "G-804036",
        "rental_id": None,
        "request_id": "10000001",
    },
}
EDITED = "note: smshook.yaml changed after the service read it; apply this with: smshook reload\n"
HEADERS = ["route", "matches", "sinks", "first clause that fails", "wanted", "saw"]


def run(*arguments, **rest):
    return prompt.run("routes", "test", *arguments, **rest)


def printed(*arguments, **rest):
    return prompt.printed("routes", "test", *arguments, **rest)


@pytest.fixture
def configured(folder):
    return write(folder, CONFIG)


def write(folder, config):
    (folder / "smshook.yaml").write_text(config)
    (folder / "smshook.yaml").chmod(0o600)
    return folder


def event_file(folder, event=EVENT, **layout):
    (folder / "event.json").write_text(json.dumps(event, **layout))
    return "event.json"


# Events of a file, without a service


def test_failing_clause_is_shown_for_each_route(configured):
    """Mutant: null and a missing path look alike."""
    name = event_file(configured, indent=2)

    table = cells(printed(name))

    assert table == [
        HEADERS,
        ["everything", "yes", "log", "-", "-", "-"],
        ["google", "no", "log", "data.price.amount.$gte", "1.5", '"1.20"'],
        [
            *("either", "no", "-", "$or"),
            *('[{"data.country": "GB"}, {"data.request_id": {"$exists": fa…', "none holds"),
        ],
        ["", "$or[0].data.country", '"GB"', '"US"'],
        ["", "$or[1].data.request_id.$exists", "false", '"10000001"'],
        ["long-numbers", "no", "log", "$not", '{"data.from": {"$regex": "^[0-9]{1,7}$"}}', "holds"],
        ["", "$not.data.from.$regex", '"^[0-9]{1,7}$"', '"22000"'],
        ["renamed", "no", "log", "data.rental_id", '"7"', "null"],
    ]


def test_missing_path_is_shown(configured):
    name = event_file(configured, {"type": "sms.received", "data": {}})

    seen = {row[0]: row[-1] for row in cells(printed(name))}

    assert seen["google"] == seen["renamed"] == "missing"


def test_result_is_printed_as_json(configured):
    """Mutant: `saw` is null for a missing path, without `missing`."""
    config = (
        CONFIG.partition("routes:")[0]
        + (
            "routes:\n"
            "  everything: {to: [log]}\n"
            "  never: {to: [], when: {$not: {data.country: US}}}\n"
            '  gone: {to: [log], when: {data.telephone_id: "1"}}\n'
        )
        + "server:"
        + CONFIG.partition("server:")[2]
    )
    write(configured, config)
    name = event_file(configured)

    [judged] = json.loads(printed(name, "--output", "json"))

    inner = {"clause": "$not.data.country", "holds": True, "wanted": "US", "saw": "US"}
    outer = {"clause": "$not", "holds": False, "wanted": {"data.country": "US"}, "saw": None}
    gone = {"clause": "data.telephone_id", "holds": False, "wanted": "1", "saw": None}
    assert judged == {
        "id": EVENT["id"],
        "type": "sms.received",
        "routes": [
            {"name": "everything", "matches": True, "sinks": ["log"], "fails": None},
            {
                "name": "never",
                "matches": False,
                "sinks": [],
                "fails": {
                    **outer,
                    "missing": False,
                    "below": [{**inner, "missing": False, "below": []}],
                },
            },
            {
                "name": "gone",
                "matches": False,
                "sinks": ["log"],
                "fails": {**gone, "missing": True, "below": []},
            },
        ],
        "matched_when_accepted": None,
        "deliveries": [],
    }


def test_file_of_a_sink_is_read_line_by_line(configured):
    other = {**EVENT, "id": "another", "type": "order.expired"}
    (configured / "events.jsonl").write_text(f"{json.dumps(EVENT)}\n{json.dumps(other)}\n\n")

    table = cells(printed("events.jsonl"))
    judged = json.loads(printed("events.jsonl", "--output", "json"))

    assert table[0] == ["event", *HEADERS]
    assert [row[:3] for row in table[1:] if "everything" in row] == [
        [EVENT["id"], "everything", "yes"],
        ["another", "everything", "no"],
    ]
    assert [(each["id"], each["type"]) for each in judged] == [
        (EVENT["id"], "sms.received"),
        ("another", "order.expired"),
    ]


@pytest.mark.parametrize(
    "written",
    [
        EVENT,
        [EVENT],
        {"event": EVENT, "deliveries": []},
        [{"cursor": "c", "event": EVENT}],
    ],
    ids=["event", "list", "events show", "events list"],
)
@pytest.mark.parametrize("indent", [None, 2])
@pytest.mark.usefixtures("configured")
def test_output_of_other_commands_is_read_from_a_pipe(written, indent):
    judged = json.loads(printed("-", "--output", "json", stdin=json.dumps(written, indent=indent)))

    assert [each["id"] for each in judged] == [EVENT["id"]]


def test_control_characters_are_shown_escaped(configured):
    """Mutant: the value that a clause saw, or an event's id, printed as it is."""
    hostile = "\x1b[2J\u202e\x9b31m\r\nforged line"
    event = {**EVENT, "id": hostile, "data": {"from": "1", "rental_id": hostile}}
    (configured / "events.jsonl").write_text(f"{json.dumps(event)}\n" * 2)

    for output in ("table", "json"):
        text = printed("events.jsonl", "--output", output)

        assert [line for line in text.splitlines() if not line.isprintable()] == []
        assert not any(line.startswith("forged line") for line in text.splitlines())


def test_masked_event_is_warned_of(configured):
    """Mutant: no warning, and a condition on the text seems wrong."""
    event = {**EVENT, "data": {**EVENT["data"], "code": "***", "urls": ["***"], "text": None}}

    result = run(event_file(configured, event))

    assert result.exit_code == 0
    assert result.stderr == (
        "warning: data.code, data.urls: masked, so that conditions on them are misjudged; "
        "`smshook routes test ID` with a key that has codes:read sees them in clear\n"
    )


def test_configuration_without_routes_says_so(configured):
    write(configured, CONFIG.replace(ROUTES, "routes: {}\n"))

    result = run(event_file(configured))

    assert (result.exit_code, result.stdout, result.stderr) == (0, "", "no routes\n")


# Complaints


@pytest.mark.usefixtures("configured")
def test_missing_file_is_a_usage_error():
    result = run("event.json")

    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr == (
        "event.json: no such file; write a file of events, `-`, or an event's id\n"
    )


@pytest.mark.parametrize(
    ("written", "complaints"),
    [
        ("", ["events: there is no event in it"]),
        (" \n\n", ["events: there is no event in it"]),
        ("[]", ["events: there is no event in it"]),
        ("type: sms\n", ["events:1: not JSON: Expecting value"]),
        ('{\n "type": "x",\n', [
            "events:3: not JSON: Expecting property name enclosed in double quotes",
        ]),
        (f"{json.dumps(EVENT)}\n\n{json.dumps(EVENT)[:40]}", [
            "events:3: not JSON: Unterminated string starting at",
        ]),
        ('{"type": "x", "data": {"a": NaN}}', ["events:1: not JSON that an event could be"]),
        ("[" * 100_000, ["events:1: not JSON that an event could be"]),
        ("[7]", ["events:1: not an event: it needs a type and data"]),
        ('{"type": 7, "data": {}}\n{"type": "x"}\n{"event": 1}', [
            "events:1: not an event: it needs a type and data",
            "events:2: not an event: it needs a type and data",
            "events:3: not an event: it needs a type and data",
        ]),
    ],
)  # fmt: skip
def test_invalid_event_is_reported_with_its_line(configured, written, complaints):
    """Mutants: only the first complaint; the line of the value, not of the mistake."""
    (configured / "events").write_text(written)

    result = run("events")

    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.splitlines() == complaints


def test_complaints_about_a_wrong_file_are_limited(configured):
    (configured / "events").write_text("7\n" * 500)

    result = run("events")

    assert result.exit_code == 1
    assert len(result.stderr.splitlines()) == 11
    assert result.stderr.endswith("\nand 490 more\n")


@pytest.mark.usefixtures("configured")
def test_folder_is_refused():
    result = run(".")

    assert (result.exit_code, result.stderr) == (1, ".: Is a directory\n")


def test_wrong_configuration_is_reported_first(configured):
    write(configured, CONFIG.replace("data.country: GB", "data.contry: GB"))

    result = run("nothing")

    assert (result.exit_code, result.stdout) == (2, "")
    assert "no event has 'data.contry'; did you mean data.country?" in result.stderr


# Events of a running service


@pytest.fixture
def here(here):
    """Restore the service's configuration at the end of each test."""
    yield here
    write(here.folder, CONFIG)


def test_event_of_the_service_is_tested_in_clear(here):
    """Mutant: the first key with events:read, which sees `***` as the code."""
    write(here.folder, CONFIG.replace("data.country: GB", 'data.code: "1"'))
    event_id = here.accept(1)

    for typed in (event_id, event_id.upper(), event_id[-8:]):
        [judged] = json.loads(printed(typed, "--output", "json", stderr=EDITED))

        assert judged["id"] == event_id
        assert judged["routes"][2]["fails"]["below"][0]["saw"] == live.code(1)
        assert judged["matched_when_accepted"] == ["everything"]


def test_edited_routes_are_compared_with_acceptance(here):
    """Mutant: the routes of the running service."""
    event_id = here.accept(2)
    before = printed(event_id)
    write(here.folder, CONFIG.replace("$gte: 1.5", "$gte: 1"))

    after = printed(event_id, stderr=EDITED)

    assert "accepted" not in before
    assert ["google", "yes", "log", "-", "-", "-"] in cells(after)
    assert after.endswith("\n\nmatched when it was accepted: everything\n")


def test_removed_route_is_shown(here):
    event_id = here.accept(3)
    write(
        here.folder,
        CONFIG.replace("everything:", "rentals:").replace("[log]}", "[log], when: {type: x}}", 1),
    )

    after = printed(event_id, stderr=EDITED)

    assert after.endswith("\n\nmatched when it was accepted: everything\n")


def test_key_without_codes_read_is_warned_of(here):
    result = run(here.accept(4), "--key", READER)

    assert result.exit_code == 0
    assert result.stderr.startswith("warning: data.text, data.code: masked, so that ")


@pytest.mark.usefixtures("here")
def test_missing_event_is_a_failure():
    result = run("01748ded-0dc3-774b-8123-456789abcdef")

    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == "404 not_found: no such event\n"


@pytest.mark.usefixtures("configured")
def test_id_needs_a_running_service():
    result = run("01748ded-0dc3-774b-8123-456789abcdef")

    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith("smshook is not running here (no process has smshook.db)")


def test_no_key_with_codes_read_is_a_configuration_error(configured):
    write(configured, CONFIG.replace('"codes:read"', '"events:read"'))

    result = run("01748ded-0dc3-774b-8123-456789abcdef")

    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr == (
        "no API key in the configuration is in clear and has the scope codes:read; "
        "set SMSHOOK_API_KEY, or give --key\n"
    )
