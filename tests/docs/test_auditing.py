"""The commands and queries of the page about auditing, on an export and on a real log."""

import json
import os
import re
import shlex
import subprocess
import sys

import live
import pytest
from audit_logs import HonestLog, continued
from pages import DOCS, blocks
from prompt import be_in, printed
from tools import missing, require

from journal.audit.export import encode_event_proof, encode_proof
from journal.audit.lines import Fact, commitment, commitment_key
from journal.audit.tree import prove_inclusion
from server.cli.audit_export import FORMS

PAGE = "auditing.md"
EVENT = "019ad0e0-0000-7000-8000-000000000001"
BODY = '{"id":"019ad0e0-0000-7000-8000-000000000001","data":{"text":"G-804036 é"}}'.encode()
KEY = commitment_key(b"k" * 32, EVENT)

#: What the ordinary log has for the queries of Loki and Splunk.
_FIELD = re.compile(r'\b(\w+)=~?"')
#: Words of LogQL: no field of a query can have such a name (pkg/logql/syntax/lex.go of Loki).
_LOGQL = {"and", "bool", "by", "ignoring", "ip", "of", "offset", "on", "or", "unless", "without"}


@pytest.fixture(scope="module")
def log():
    """A log in which ana, bob and a stream read one event."""
    log = HonestLog()
    log.add(Fact("service.started"))
    log.add(
        Fact(
            "callback.accepted",
            {"event": EVENT, "place": 1_000_017, "c": commitment(KEY, BODY)},
        )
    )
    log.add(Fact("code.read", {"by": "key/ana", "event": EVENT, "fields": ["code"]}))
    log.add(Fact("code.read", {"by": "key/eve", "event": "another", "fields": ["code"]}))
    log.add(Fact("code.read", {"by": "key/bob", "places": "1000000-1000003,1000017"}))
    log.add(Fact("code.read", {"by": "key/dan", "places": "1000000-1000016,1000018-1000099"}))
    log.add(Fact("code.read", {"by": "key/cem", "places": "1000010-1000020"}))
    log.end_epoch()
    log.grow(20)
    return log


@pytest.fixture
def folder(log, tmp_path, monkeypatch):
    """The folder of an auditor: an export of the log, and of the one that continues it."""
    be_in(tmp_path, monkeypatch)
    log.export(tmp_path / "old")
    log.export(tmp_path / "export")
    (tmp_path / "entries.jsonl").write_bytes((tmp_path / "old/entries.jsonl").read_bytes())
    return tmp_path


def block_with(text, language="sh"):
    [block] = [block for block in blocks(PAGE, language) if text in block]
    return block


def shell(block, folder, **environment):
    """Run commands of the page; return the lines that they print."""
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", block],
        cwd=folder,
        env={"PATH": os.environ["PATH"], **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (0, "") == (done.returncode, done.stderr)
    return done.stdout.splitlines()


def test_auditor_verifies_an_export(folder, log):
    """Mutant: the page names another option."""
    (folder / "audit_verify.py").write_text(printed("audit", "verifier"))
    commands = block_with("audit verifier >").splitlines()[1:]

    [first, _] = shell("\n".join(commands), folder, KEY=str(log.first))

    assert first.startswith("unchanged: smshook/")


def test_auditor_verifies_the_logs_of_a_restore(folder, log):
    new = continued(log)
    new.export(folder / "new")
    (folder / "audit_verify.py").write_text(printed("audit", "verifier"))

    lines = shell(block_with("old new"), folder, KEY=str(log.first), KEY_OF_NEW=str(new.first))

    assert 2 == sum(line.startswith("unchanged: ") for line in lines)


def test_auditor_finds_who_read_a_code(folder):
    """Also in lists and streams. Mutant: a range does not include its last number."""
    require(missing("jq"))

    about = shell(block_with("'select(.event == $id)'"), folder, ID=EVENT)
    read = shell(block_with("PLACE="), folder, ID=EVENT)

    assert ["callback.accepted", "code.read"] == [json.loads(line)["do"] for line in about]
    assert ["key/ana", "key/bob", "key/cem"] == [json.loads(line)["by"] for line in read]


def test_auditor_finds_the_line_behind_a_line_of_the_log(folder):
    """Mutant: the page names another field."""
    require(missing("jq"))

    [line] = shell(block_with(".n == $leaf"), folder, LEAF="2")

    assert "key/ana" == json.loads(line)["by"]


def test_query_of_readers_works_if_the_event_has_no_place(folder):
    """Its line was pruned. Mutant: jq gets an empty argument, and fails."""
    require(missing("jq"))
    lines = (folder / "entries.jsonl").read_text().splitlines(keepends=True)
    (folder / "entries.jsonl").write_text(
        "".join(line for line in lines if ".accepted" not in line)
    )

    read = shell(block_with("PLACE="), folder, ID=EVENT)

    assert ["key/ana"] == [json.loads(line)["by"] for line in read]


def test_auditor_finds_the_acts_of_a_key(folder, log):
    require(missing("jq"))

    lines = shell(block_with('"key/ana"'), folder)

    assert [n for n, line in enumerate(log.lines) if b"key/ana" in line] == [
        json.loads(line)["n"] for line in lines
    ]


@pytest.mark.parametrize(
    ("event", "key", "verdict"),
    [
        (BODY, KEY, "proved"),
        (BODY.replace(b"804036", b"804037"), KEY, "NOT proved"),
        (BODY, commitment_key(b"k" * 32, "another"), "NOT proved"),
    ],
)
def test_auditor_proves_an_event(folder, log, event, key, verdict):
    """Mutant: the program compares the event without its key."""
    proof = encode_proof(1, prove_inclusion(1, len(log.lines), log.hash_at), log.newest)
    (folder / "proof.json").write_text(encode_event_proof(log.lines[1], proof, event, key))
    [program] = blocks(PAGE, "python")

    done = subprocess.run(
        [sys.executable, "-c", program, "proof.json", "export/entries.jsonl"],
        cwd=folder,
        capture_output=True,
        text=True,
        check=True,
    )

    assert verdict == done.stdout.strip()


def test_page_lists_the_forms_of_exports():
    page = (DOCS / PAGE).read_text()

    assert [*FORMS[1:]] == re.findall(r"(?m)^\| `(\w+)` \| `entries\.\1", page)


# The ordinary log


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    """A service with an event, a rejection, a quarantined callback and a new key."""
    with live.Live(tmp_path_factory.mktemp("service")) as running:
        assert 200 == running.post(live.sms(1)).status_code
        assert 404 == live.client().post(f"{running.url}/in/tellabot/wrong").status_code
        assert 200 == running.post(b"nonsense=1").status_code
        key = {"name": "new", "scopes": ["events:read"]}
        assert running.api("/keys", method="POST", json=key).is_success
        wanted = {"delivery.attempted", "callback.quarantined", "key.created"}
        live.eventually(lambda: wanted <= {line["event"] for line in running.logged()})
        yield running


@pytest.fixture
def logged(service, tmp_path):
    (tmp_path / "log.jsonl").write_bytes(service.log.read_bytes())
    return tmp_path


def accepted(service):
    [line] = service.logged("callback.accepted")
    return line


def test_ordinary_log_finds_the_events_of_a_number(service, logged):
    """Mutant: the mask of the log has another form than on the page."""
    require(missing("jq"))
    command = shlex.split(block_with("events list"))

    shown = json.loads(service.run(*command[1:]).stdout)
    [found] = map(json.loads, shell(block_with("+1850***0001"), logged))

    ids = [one["event"]["id"] for one in shown]
    assert ids == [accepted(service)["event_id"]] == [found["event_id"]]


def test_ordinary_log_finds_the_deliveries_of_an_event(service, logged):
    require(missing("jq"))

    lines = shell(block_with("delivery."), logged, ID=accepted(service)["event_id"])

    assert [("log", 1, "delivered")] == [
        (line["sink"], line["attempt"], line["outcome"]) for line in map(json.loads, lines)
    ]


@pytest.mark.usefixtures("service")
def test_ordinary_log_finds_what_a_key_made(logged):
    require(missing("jq"))

    [line] = map(json.loads, shell(block_with('.by == "admin"'), logged))

    assert ("key.created", "new") == (line["event"], line["key"])


@pytest.mark.usefixtures("service")
def test_ordinary_log_counts_rejected_callbacks(logged):
    require(missing("jq"))

    counts = json.loads("".join(shell(block_with("callback.rejected"), logged)))

    assert {"reason": "token", "peer": "127.0.0.1", "count": 1} == counts


def test_queries_of_other_tools_name_fields_that_exist(service, log):
    """Loki and Splunk do not run here. Mutants: a field of a query is misspelt; `by` in Loki."""
    page = (DOCS / PAGE).read_text()
    found = re.findall(r"(?m)^\| (Loki|Splunk) \| `(.*?)`(?: \(.*\))? \|$", page)
    queries = [query for _, query in found]
    fields = {name for line in service.logged() for name in line}
    fields |= {name for line in log.lines for name in json.loads(line)}

    named = {name for query in queries for name in _FIELD.findall(query)} - {"job", "sourcetype"}
    in_loki = {name for tool, query in found if tool == "Loki" for name in _FIELD.findall(query)}

    assert 8 == len(queries)
    assert {"event", "to", "event_id", "by", "who"} == named
    assert 'json who="by"' in page
    assert named - {"who"} <= fields
    assert in_loki.isdisjoint(_LOGQL)
