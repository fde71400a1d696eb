"""Lines in the words of ECS, OCSF and CEF."""

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from journal.audit.formats import FORMATS, to_cef, to_ecs, to_ocsf
from journal.audit.lines import ACTIONS

ORIGIN = "smshook/7f3a9c52e1d04b6c"
AT = "2026-11-30T06:12:01.532104Z"
READ = {
    "n": 48122,
    "at": AT,
    "do": "code.read",
    "by": "key/ana",
    "from": "10.0.0.7",
    "event": "0193",
    "sink": "crm",
    "source": "tellabot",
    "fields": ["code"],
    "reason": "ticket 4711",
}
#: The types of each category: elastic.co/docs/reference/ecs/ecs-allowed-values-event-category.
ECS_TYPES = {
    "authentication": {"start", "end", "info"},
    "configuration": {"access", "change", "creation", "deletion", "info"},
    "database": {"access", "change", "info", "error"},
    "iam": {"admin", "change", "creation", "deletion", "group", "info", "user"},
    "network": {"access", "allowed", "connection", "denied", "end", "info", "protocol", "start"},
    "process": {"access", "change", "end", "info", "start"},
}


def leaf(do, **fields):
    return {"n": 7, "at": AT, "do": do, **fields}


def test_ecs_has_the_fields_of_the_schema():
    """Mutant: `event.sequence` is missing."""
    assert {
        "@timestamp": AT,
        "ecs": {"version": "8.11.0"},
        "event": {
            "action": "code.read",
            "kind": "event",
            "category": ["database"],
            "type": ["access"],
            "outcome": "success",
            "sequence": 48122,
            "dataset": "smshook.audit",
            "reason": "ticket 4711",
        },
        "user": {"name": "key/ana"},
        "source": {"ip": "10.0.0.7"},
        "smshook": {
            "origin": ORIGIN,
            "event": {"id": "0193"},
            "sink": "crm",
            "source": "tellabot",
            "fields": ["code"],
        },
    } == json.loads(to_ecs(READ, ORIGIN))


def test_ocsf_has_the_fields_of_the_schema():
    """Mutant: `type_uid` is not the class times 100 and the activity."""
    assert {
        "time": 1_796_019_121_532,
        "category_uid": 6,
        "class_uid": 6005,
        "activity_id": 1,
        "activity_name": "Read",
        "type_uid": 600501,
        "severity_id": 1,
        "status_id": 1,
        "status": "Success",
        "metadata": {
            "version": "1.4.0",
            "product": {"name": "smshook", "vendor_name": "smshook"},
            "event_code": "code.read",
            "sequence": 48122,
            "log_name": ORIGIN,
        },
        "actor": {"user": {"name": "key/ana"}},
        "src_endpoint": {"ip": "10.0.0.7"},
        "message": "ticket 4711",
        "resources": [
            {"uid": "0193", "type": "event"},
            {"uid": "crm", "type": "sink"},
            {"uid": "tellabot", "type": "source"},
        ],
        "unmapped": {"fields": ["code"]},
    } == json.loads(to_ocsf(READ, ORIGIN))


def test_cef_has_the_fields_of_the_format():
    assert (
        "CEF:0|smshook|smshook|1|code.read|code.read|3|rt=1796019121532 externalId=48122 "
        f"deviceExternalId={ORIGIN} outcome=success suser=key/ana src=10.0.0.7 reason=ticket 4711 "
        "cs1Label=event cs1=0193 cs2Label=sink cs2=crm cs3Label=source cs3=tellabot"
    ) == to_cef(READ, ORIGIN)


@pytest.mark.parametrize(
    ("do", "category", "type_", "type_uid"),
    [
        ("session.opened", "authentication", "start", 300201),
        ("session.closed", "authentication", "end", 300202),
        ("session.refused", "authentication", "start", 300201),
        ("stream.opened", "database", "access", 600501),
        ("key.made", "iam", "creation", 300101),
        ("key.revoked", "iam", "deletion", 300106),
        ("subscription.deleted", "iam", "deletion", 300106),
        ("config.loaded", "configuration", "change", 600303),
        ("seal.made", "configuration", "change", 600301),
        ("seal.destroyed", "configuration", "change", 600304),
        ("callback.accepted", "network", "connection", 600399),
        ("delivery.attempted", "network", "connection", 600399),
        ("order.placed", "database", "change", 600399),
        ("audit.epoch", "process", "info", 600399),
    ],
)
def test_action_has_its_class(do, category, type_, type_uid):
    event = json.loads(to_ecs(leaf(do), ORIGIN))["event"]

    assert ([category], [type_]) == (event["category"], event["type"])
    assert type_uid == json.loads(to_ocsf(leaf(do), ORIGIN))["type_uid"]


@pytest.mark.parametrize("do", sorted(ACTIONS))
def test_action_has_values_that_the_schemas_allow(do):
    event = json.loads(to_ecs(leaf(do), ORIGIN))["event"]
    ocsf = json.loads(to_ocsf(leaf(do), ORIGIN))

    assert set(event["type"]) <= ECS_TYPES[event["category"][0]]
    assert ocsf["class_uid"] // 1000 == ocsf["category_uid"]
    assert ocsf["class_uid"] * 100 + ocsf["activity_id"] == ocsf["type_uid"]


@pytest.mark.parametrize(
    ("line", "failed"),
    [
        (leaf("session.refused"), True),
        (leaf("key.refused"), True),
        (leaf("callback.rejected"), True),
        (leaf("delivery.attempted", outcome="failed"), True),
        (leaf("delivery.attempted", outcome="refused"), True),
        (leaf("delivery.attempted", outcome="delivered"), False),
        (leaf("session.opened"), False),
        (leaf("delivery.expired"), True),
        (leaf("audit.verified", outcome="changed"), True),
        (leaf("audit.verified", outcome="unchanged"), False),
        (leaf("subscription.changed"), False),
    ],
)
def test_outcome_tells_failure_from_success(line, failed):
    """Mutant: the outcome of an attempt is not looked at."""
    word = "failure" if failed else "success"

    assert word == json.loads(to_ecs(line, ORIGIN))["event"]["outcome"]
    assert (2 if failed else 1) == json.loads(to_ocsf(line, ORIGIN))["status_id"]
    assert f" outcome={word}" in to_cef(line, ORIGIN)


@pytest.mark.parametrize("peer", ["*", "", "unix"])
def test_only_an_address_is_in_a_field_for_addresses(peer):
    """Elastic refuses others, and the line is lost. Mutant: `*` is the IP of several peers."""
    line = leaf("callback.rejected", **{"from": peer, "count": 3})
    ecs, ocsf = json.loads(to_ecs(line, ORIGIN)), json.loads(to_ocsf(line, ORIGIN))

    assert ("source" in ecs, ecs["smshook"]["from"]) == (False, peer)
    assert ("src_endpoint" in ocsf, ocsf["unmapped"]["from"]) == (False, peer)
    assert " src=" not in to_cef(line, ORIGIN)


@given(
    st.text(max_size=40) | st.text("a=\\\r\n\v\x1c\x85\u2028", max_size=9),
    st.sampled_from(sorted(FORMATS)),
)
def test_text_cannot_break_a_line_or_a_field(reason, form):
    """Mutants: `=` and backslashes of a reason are not escaped; U+2028 stays as it is."""
    written = FORMATS[form](leaf("code.read", reason=reason), ORIGIN)

    assert [written] == written.splitlines()
    if form == "cef":
        _, _, value = written.partition(" reason=")
        read = re.sub(r"\\(.)", lambda m: {"n": "\n", "r": "\r"}.get(m[1], m[1]), value)
        assert re.sub(r"[\v\f\x1c-\x1e\x85\u2028\u2029]", "\n", reason) == read
        assert not re.search(r"(?<!\\)(\\\\)*=", value)
