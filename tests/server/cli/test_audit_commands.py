"""`audit list`, `audit key` and `audit export`, with a real service."""

import json
import os

import live
import pytest
from audit_logs import week
from prompt import printed, read, run

CONFIG = live.CONFIG + "audit: {checkpoint: 1s}\n"

#: The first key of another log.
STRANGER = str(week(owner="somebody else").first)

pytestmark = pytest.mark.usefixtures("here")


def newest(service):
    """Return the newest line, with its cursor."""
    [item] = service.api("/audit?order=desc&limit=1").json()["data"]
    return item


def signed(service, size):
    """Wait until a checkpoint covers that many lines."""
    live.eventually(
        lambda: int(service.api("/audit/log/checkpoint").text.splitlines()[1]) >= size, within=30
    )


def test_list_shows_who_did_what(here):
    """Mutants: another column; a filter that is not sent."""
    after = ("--after", newest(here)["cursor"])
    printed("sinks", "pause", "log")
    printed("sinks", "resume", "log")

    items = read("audit", "list", "--do", "sink.", "--by", "key/admin", "--since", "10m", *after)
    table = printed("audit", "list", "--do", "sink.paused", *after)
    rows = [line.split() for line in table.splitlines()]

    assert [item["leaf"]["do"] for item in items] == ["sink.paused", "sink.resumed"]
    assert rows[0] == ["n", "at", "do", "by", "about"]
    assert ("sink.paused" in rows[1], "sink=log" in rows[1]) == (True, True)
    assert printed("audit", "list", "--do", "key.made", stderr="no lines\n") == ""


def test_who_shows_who_got_an_event(here):
    """Mutants: a masked reading counts; the end of an id is not enough."""
    event = here.accept(4711)
    [item] = read("events", "list", "--request-id", "10004711")
    assert item["event"]["id"] == event

    found = read("audit", "who", event)
    rows = printed("audit", "who", event[-8:]).splitlines()

    assert found["event"] == event
    assert ("key/admin", "list", True) in [
        (one["by"], one["how"], one["clear"]) for one in found["readers"]
    ]
    assert rows[0].split()[:5] == ["who", "from", "how", "saw", "it"]
    assert any("key/admin" in row and "in clear" in row for row in rows)


def test_export_is_verified_with_the_shown_key(here):
    """The log names the key only once, when it was made. Mutant: the key of another epoch."""
    key = read("audit", "key")["first"]
    begun = [
        line["key"]
        for line in map(json.loads, here.log.read_text().splitlines())
        if line["event"] == "audit.begun"
    ]
    assert begun == [key]
    assert printed("audit", "key").split()[1] == key
    printed("sinks", "pause", "log")
    printed("sinks", "resume", "log")
    signed(here, newest(here)["leaf"]["n"] + 1)

    said = printed("audit", "export", "export", "--tiles", "--as", "ecs", "--as", "cef")

    entries = (here.folder / "export/entries.jsonl").read_text().splitlines()
    assert said.startswith("wrote export: smshook/")
    assert said.endswith(f", {len(entries)} lines\n")
    assert json.loads(entries[0])["do"] == "service.started"
    assert run("audit", "verify", "export", "--key", key).exit_code == 0
    names = {path.name for path in (here.folder / "export").iterdir()}
    assert {"tile", "entries.ecs.jsonl", "entries.cef"} <= names


@pytest.mark.parametrize("given", [("jsonl,ecs,cef",), ("ecs,cef", "ecs")])
def test_forms_of_an_export_take_commas(here, given):
    """A form that is given twice is written once.

    Mutants: each value is one form; a form is written as often as it is given.
    """
    folder = here.folder / f"forms{len(given)}"
    printed("audit", "export", str(folder), *(f"--as={forms}" for forms in given))

    assert {"entries.ecs.jsonl", "entries.cef"} <= {path.name for path in folder.iterdir()}
    wrong = run("audit", "export", "other", "--as", "ecs,cfe")
    assert (wrong.exit_code, "'cfe' is not one of" in wrong.stderr) == (2, True)
    assert not (here.folder / "other").exists()


def test_part_of_the_log_is_exported():
    printed("audit", "export", "part", "--since", "1h", "--until", "2020-01-01T00:00:00Z")

    key = read("audit", "key")["first"]
    assert run("audit", "verify", "part", "--key", key).exit_code == 0
    wrong = run("audit", "export", "other", "--since", "yesterday")
    assert (wrong.exit_code, "write a time" in wrong.stderr) == (2, True)


def test_export_says_with_which_line_it_begins(here):
    """It begins at a multiple of 256. Mutant: the lines before it count, too."""
    for number in range(130):
        here.accept(5_000 + number)
    signed(here, 257)

    said = printed("audit", "export", "newest", "--since", newest(here)["leaf"]["at"])

    entries = (here.folder / "newest/entries.jsonl").read_text().splitlines()
    first, last = (json.loads(line)["n"] for line in (entries[0], entries[-1]))
    assert first >= 256
    assert said.endswith(f", lines {first} to {last}\n")


def test_export_that_cannot_be_written_is_named():
    """Mutant: the error names the journal, which is whole."""
    result = run("audit", "export", "/dev/null/export")

    assert (
        result.exit_code,
        "/dev/null/export cannot be written: Not a directory" in result.stderr,
    ) == (
        1,
        True,
    )


def test_export_into_a_folder_in_use_is_refused(here):
    (here.folder / "used").mkdir()
    (here.folder / "used" / "file").touch()

    result = run("audit", "export", "used")

    assert (result.exit_code, "is not empty" in result.stderr) == (1, True)


def test_running_log_is_verified_over_the_api(here):
    """Mutants: an export without its end; the key is taken from the service; no line says it."""
    key, after = read("audit", "key")["first"], ("--after", newest(here)["cursor"])

    said = printed("audit", "verify", "--key", key, "--fresh", "10m")
    wrong = run("audit", "verify", "--key", STRANGER)
    without = run("audit", "verify")

    assert said.startswith("unchanged: smshook/")
    assert (wrong.exit_code, wrong.stdout.startswith("CHANGED: lines 0 to ")) == (1, True)
    assert (without.exit_code, "--key KEY" in without.stdout) == (2, True)
    lines = [one["leaf"] for one in read("audit", "list", "--do", "audit.verified", *after)]
    assert [(one["by"], one["outcome"]) for one in lines] == [
        (f"cli/{os.getuid()}", "unchanged"),
        (f"cli/{os.getuid()}", "changed"),
    ]
    assert f"lines 0 to {lines[0]['size'] - 1}, " in said


def test_line_is_erased():
    """Mutant: another line goes."""
    printed("sinks", "pause", "log")
    [*_, line] = read("audit", "list", "--do", "sink.paused")
    n = line["leaf"]["n"]

    said = printed("audit", "erase", str(n), "--reason", "request of a person")
    again = run("audit", "erase", str(n), "--reason", "request of a person")

    assert said == f"erased line {n}\n"
    assert (again.exit_code, "404 not_found" in again.stderr) == (1, True)
    [*_, erased] = read("audit", "list", "--do", "audit.erased")
    assert (erased["leaf"]["of"], erased["leaf"]["by"]) == (n, "key/admin")
    key = read("audit", "key")["first"]
    live.eventually(lambda: "  1 erased" in run("audit", "verify", "--key", key).stdout)
    printed("sinks", "resume", "log")
    assert read("audit", "erase", str(n - 1), "--reason", "a test") == {"n": n - 1}
