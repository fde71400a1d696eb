"""The state of the audit log over the API: its verification, proofs and exports."""

import asyncio
import base64
import json

import pytest
from contracts.audit import numbered

from journal.audit.lines import Fact, leaf_of
from journal.audit.note import Algorithm, Checkpoint, Note, SigningKey
from journal.audit.tree import is_included
from journal.reads import LeavesAt
from journal.writes import EraseLine, PackLog, RecordFacts, SignCheckpoint

KEY = SigningKey("smshook/log/epoch", Algorithm.COSIGNATURE, bytes(32))
KEYS = (str(KEY.verifier), str(KEY.verifier))


async def sign(service):
    """Sign the log; return the state."""
    write = SignCheckpoint(lambda state, at: str(state.sign([KEY], at)), keys=KEYS)
    return Note.parse(await service.journal.submit(write))


async def state(service):
    return (await service.ask("/v1/audit/state")).json()


async def test_state_names_the_log_and_its_verdict(service):
    """Mutants: the counted lines are those of a signed state; the verdict is an old one."""
    await service.journal.submit(RecordFacts(numbered(7)))
    before = await state(service)
    assert (before["lines"], before["signed"], before["key"]) == (7, 0, None)
    assert before["verification"] == {
        "outcome": "unchecked",
        "lines": 0,
        "at": None,
        "whole_at": None,
        "error": None,
        "running": False,
        "done": None,
    }
    note = await sign(service)
    await service.journal.submit(RecordFacts(numbered(2)))

    asked = await asyncio.create_task(service.ask("/v1/audit/verify", "admin", method="POST"))
    assert (asked.status_code, asked.json()["verification"]["running"]) == (202, True)
    await service.parts.audit_verifier.look()
    await service.journal.submit(RecordFacts(()))

    after = await state(service)
    found = after["verification"]
    assert (after["origin"], after["lines"], after["signed"], after["key"]) == (
        *(Checkpoint.parse(note.text).origin, 10, 7, KEYS[0]),
    )
    assert (found["outcome"], found["lines"], found["running"]) == ("unchanged", 7, False)
    answer = await service.ask("/v1/audit?do=audit.verified")
    [line] = [item["leaf"] for item in answer.json()["data"]]
    assert (line["by"], line["outcome"], line["size"]) == ("key/admin", "unchanged", 7)


async def test_verdict_is_a_metric(service):
    """Mutant: a log that was not checked is unchanged."""
    name = "smshook_audit_verified"
    assert f"\n{name} " not in (await service.ask("/metrics")).text
    await service.journal.submit(RecordFacts(numbered(7)))
    await sign(service)
    service.parts.audit_verifier.start()
    await service.parts.audit_verifier.look()

    assert f"\n{name} 1\n" in (await service.ask("/metrics")).text


@pytest.mark.parametrize("n", [0, 255, 256, 299])
async def test_line_is_proved(service, n):
    """Mutants: the proof is of another size, of another line, or of another state."""
    await service.journal.submit(RecordFacts(numbered(300)))
    await service.journal.submit(PackLog())
    note = await sign(service)
    state = Checkpoint.parse(note.text)
    [line] = await service.journal.ask(LeavesAt(0, n, 1))

    answer = await service.ask(f"/v1/audit/lines/{n}/proof")

    assert answer.headers["content-type"] == "text/plain; charset=utf-8"
    head, found = answer.text.split("\n\n", 1)
    version, index, *hashes = head.split("\n")
    assert (version, index, found) == ("c2sp.org/tlog-proof@v1", f"index {n}", str(note))
    proof = [base64.b64decode(one) for one in hashes]
    assert is_included(leaf_of(line), n, state.size, state.root, proof)


async def test_line_without_a_signed_state_has_no_proof(service):
    await service.journal.submit(RecordFacts(numbered(3)))
    first = await service.ask("/v1/audit/lines/0/proof")
    await sign(service)
    await service.journal.submit(RecordFacts(numbered(1)))

    assert (first.status_code, first.json()["code"]) == (409, "not_signed")
    assert (await service.ask("/v1/audit/lines/2/proof")).status_code == 200
    assert (await service.ask("/v1/audit/lines/3/proof")).status_code == 409
    for wrong in ("4", "-1", "x", "\u0663", "9" * 19):
        assert (await service.ask(f"/v1/audit/lines/{wrong}/proof")).status_code == 404


async def test_export_has_the_lines_and_leaves_one(service):
    """Mutants: the lines are encoded again; the export leaves no line; erased ones are in ECS."""
    await service.journal.submit(RecordFacts(numbered(4)))
    await service.journal.submit(EraseLine(1, "the address of a person"))
    lines = await service.journal.ask(LeavesAt(0, 0, 5))

    plain = await asyncio.create_task(service.ask("/v1/audit/export"))
    as_ecs = await service.ask("/v1/audit/export?form=ecs&do=code.&since=1h")
    as_cef = await service.ask("/v1/audit/export?form=cef&do=code.")

    assert (await service.ask("/v1/audit/export?form=cef&until=2999-01-01T00:00:00Z")).is_success
    assert plain.content.splitlines() == lines
    assert plain.headers["content-type"] == "text/plain; charset=utf-8"
    documents = [json.loads(line) for line in as_ecs.text.splitlines()]
    assert [one["event"]["action"] for one in documents] == ["code.read"] * 3
    assert [line.partition("|")[0] for line in as_cef.text.splitlines()] == ["CEF:0"] * 3
    listed = (await service.ask("/v1/audit?do=audit.exported")).json()["data"]
    assert [
        (one["leaf"]["by"], one["leaf"]["form"], one["leaf"]["lines"], "since" in one["leaf"])
        for one in listed
    ] == [
        ("key/admin", "jsonl", 5, False),
        ("key/admin", "ecs", 3, True),
        ("key/admin", "cef", 3, False),
        ("key/admin", "cef", 8, False),
    ]


async def test_long_export_goes_on_at_its_cursor(service, monkeypatch):
    monkeypatch.setattr("server.api.audit_state.MOST_EXPORTED", 1_100)
    await service.journal.submit(RecordFacts(numbered(1_500)))

    first = await service.ask("/v1/audit/export")
    after = first.headers["smshook-cursor"]
    second = await service.ask(f"/v1/audit/export?after={after}")

    assert len(first.text.splitlines()) == 1_100
    whole = first.content + second.content
    assert whole.splitlines()[:1_500] == list(await service.journal.ask(LeavesAt(0, 0, 1_500)))
    assert (await service.ask("/v1/audit/export?form=xml")).status_code == 400


async def test_lines_have_their_number_also_if_they_are_erased(service):
    """Mutant: the number is the place in all logs, which counts from 1."""
    await service.journal.submit(RecordFacts(numbered(3)))
    await service.journal.submit(EraseLine(1, "the address of a person"))
    origin = (await state(service))["origin"]

    found = (await service.ask("/v1/audit?limit=3")).json()["data"]

    assert [(one["n"], one["log"]) for one in found] == [(n, origin) for n in range(3)]
    assert [*found[1]["leaf"]] == ["erased"]


async def test_lines_are_found_by_a_text_and_looked_at_in_part(service):
    """Mutants: the text is a pattern; quotes in it end the value; `scan` is not used."""
    named = Fact("sink.paused", {"by": "key/ana", "sink": 'the "other" sink'})
    await service.journal.submit(RecordFacts((named, *numbered(300))))
    await service.journal.submit(RecordFacts(numbered(300)))

    async def found(query):
        answer = (await service.ask(f"/v1/audit?{query}")).json()
        return [item["n"] for item in answer["data"]], answer["has_more"]

    assert await found('about=the "other" s') == ([0], False)
    assert await found("about=the .other") == ([], False)
    assert await found("about=ana&scan=5000&order=desc") == ([0], False)
    assert await found("about=ana&scan=100&order=desc") == ([], True)
    assert (await service.ask("/v1/audit?scan=50001")).status_code == 400
