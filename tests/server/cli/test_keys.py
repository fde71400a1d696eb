"""Commands on keys, with a real service."""

import re

import live
import pytest
from prompt import cells, printed, read, run

READER = 'reader: {key: "reader-key-0123456789", scopes: ["events:read"]}'
CONFIG = live.CONFIG.replace("keys: {", f"keys: {{{READER}, ")

pytestmark = pytest.mark.usefixtures("here")


def test_created_key_is_alone_on_stdout(here):
    """So it can go into a file. Mutant: the hint on stdout."""
    result = run("keys", "create", "crm", "--scope", "events:read", "--scope", "codes:read")

    assert result.exit_code == 0
    assert re.fullmatch(r"smsk_[0-9a-f]{64}\n", result.stdout)
    assert re.fullmatch(
        r"crm works now\. Store the key: it is not shown again\. Its id: [0-9a-f-]{36}\n",
        result.stderr,
    )
    me = here.api("/me", key=result.stdout.strip()).json()
    assert (me["name"], me["scopes"]) == ("crm", ["events:read", "codes:read"])


def test_created_key_has_every_option():
    made = run(
        *("keys", "create", "all", "--scope", "codes:reveal", "--rate", "600/m"),
        *("--reads", "600/h", "--reason", "required"),
        *("--expires", "2099-01-01T00:00:00Z", "--when", '{"data.labels.team": "growth"}'),
        *("--output", "json"),
    )
    listed = {item["name"]: item for item in read("keys", "list")}

    assert '"key": "smsk_' in made.stdout
    assert "smsk_" not in made.stderr
    assert listed["all"]["when"] == {"data.labels.team": "growth"}
    assert listed["all"]["expires"] == "2099-01-01T00:00:00Z"
    assert listed["all"]["rate"] == "600/m"
    assert (listed["all"]["reads"], listed["all"]["reason"]) == ("600/h", "required")
    assert "key" not in listed["all"]


def test_keys_are_listed_with_their_origin():
    run("keys", "create", "listed", "--scope", "events:read")

    rows = {row[0]: row for row in cells(printed("keys", "list"))}

    assert rows["name"][:2] == ["name", "scopes"]
    assert "config" in rows["admin"]
    assert "made" in rows["listed"]


def test_key_is_revoked_by_name_or_end_of_its_id(here):
    keys = [run("keys", "create", name, "--scope", "events:read").stdout.strip() for name in "ab"]
    ids = {item["name"]: item["id"] for item in read("keys", "list")}

    assert printed("keys", "revoke", "a", ids["b"][-8:]) == (
        f"a is revoked\n{ids['b'][-8:]} is revoked\n"
    )
    assert [here.api("/me", key=key).status_code for key in keys] == [401, 401]


@pytest.mark.parametrize(
    ("arguments", "code", "text"),
    [
        (("revoke", "raeder"), 2, "no key is named 'raeder'"),
        (("revoke", "reader"), 1, "409 configured_key"),
        (("create", "reader", "--scope", "events:read"), 1, "409 name_taken"),
        (("create", "Crm", "--scope", "events:read"), 2, "400 bad_body: name"),
        (("create", "x", "--scope", "event:read"), 2, "did you mean 'events:read'"),
        (("create", "x", "--scope", "admin", "--when", "team"), 2, "--when: write JSON"),
        (("create", "x"), 2, "Missing option '--scope'"),
    ],
)
def test_wrong_command_on_keys_says_why(arguments, code, text):
    result = run("keys", *arguments)

    assert (result.exit_code, result.stdout) == (code, "")
    assert text in result.stderr
