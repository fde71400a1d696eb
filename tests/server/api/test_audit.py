"""The audit log over the API."""

import asyncio

import pytest
from contracts.audit import numbered

from journal.audit.export import Tiles
from journal.audit.lines import Fact
from journal.audit.note import Algorithm, Note, SigningKey
from journal.reads import LeavesAt
from journal.writes import PackLog, RecordFacts, SignCheckpoint
from sinks.health import Pause

LOG = "/v1/audit/log"


async def lines(service, query=""):
    answer = await service.ask(f"/v1/audit{query}")
    return [item["leaf"] for item in answer.json()["data"]]


async def test_act_of_a_key_names_it(service):
    """Mutants: the service is named; the key is that of the last request."""
    for path, key in (("/v1/sinks/log/pause", "writer"), ("/v1/sinks/log/resume", "admin")):
        # A task for each request, as the server makes one.
        await asyncio.create_task(service.ask(path, key, method="POST"))
    await service.parts.workers["log"].pause(Pause.FAILING)

    assert [(line["do"], line["by"], line.get("from")) for line in await lines(service)] == [
        ("sink.paused", "key/writer", "192.0.2.7"),
        ("sink.resumed", "key/admin", "192.0.2.7"),
        ("sink.paused", "service", None),
    ]


async def test_repeated_call_has_one_line(service):
    """Mutant: a call with a known `Idempotency-Key` adds its line again."""
    for _ in range(2):
        headers = {"Idempotency-Key": "once"}
        await service.ask("/v1/sinks/log/pause", method="POST", headers=headers)

    assert len(await lines(service)) == 1


async def test_refused_keys_are_counted(service):
    """Mutants: a refused key has no line; its text is in the line."""
    for path, key in (("/v1/sinks", None), ("/v1/nothing", None), ("/v1/keys", "reader")):
        await asyncio.create_task(service.ask(path, key))
    service.parts.facts.write_counts()
    await service.journal.submit(RecordFacts(()))

    found = [
        (line.get("key"), line["reason"], line["count"])
        for line in await lines(service, "?do=key.refused")
    ]
    assert found == [(None, "unauthorized", 2), ("reader", "missing_scope", 1)]


async def test_tests_and_backups_have_lines(service, tmp_path):
    sources = await asyncio.create_task(service.ask("/v1/sinks/log/test", method="POST"))
    target = tmp_path / "copy.db"
    made = await asyncio.create_task(
        service.ask("/v1/backups", method="POST", json={"path": str(target)})
    )
    await service.journal.submit(RecordFacts(()))

    assert (sources.status_code, made.status_code) == (200, 201)
    assert [
        (line["do"], line["by"], line.get("sink"), line.get("file"))
        for line in await lines(service)
    ] == [
        ("sink.tested", "key/admin", "log", None),
        ("backup.made", "key/admin", None, str(target)),
    ]


async def test_pages_continue_at_their_cursor(service):
    """Also from the beginning of an empty log. Mutant: the first line is skipped."""
    empty = (await service.ask("/v1/audit")).json()
    assert (empty["data"], empty["has_more"]) == ([], False)
    await service.journal.submit(RecordFacts(numbered(5)))

    found, after, more = [], empty["next_cursor"], True
    while more:
        answer = (await service.ask(f"/v1/audit?limit=2&after={after}")).json()
        found += answer["data"]
        after, more = answer["next_cursor"], answer["has_more"]

    assert [item["leaf"]["n"] for item in found] == [0, 1, 2, 3, 4]
    third = found[2]["cursor"]
    newer = await lines(service, f"?after={third}")
    older = await lines(service, f"?after={third}&order=desc")
    assert ([line["n"] for line in newer], [line["n"] for line in older]) == ([3, 4], [1, 0])


async def test_filters_are_those_of_the_journal(service):
    await service.journal.submit(
        RecordFacts((*numbered(3), Fact("key.refused", {"by": "service", "event": "e"})))
    )

    assert [line["n"] for line in await lines(service, "?do=code.&by=key/1")] == [1]
    assert [line["n"] for line in await lines(service, "?event=e&since=1h")] == [3]
    assert await lines(service, "?until=1h") == []
    wrong = await service.ask("/v1/audit?since=1h&until=2h")
    assert (wrong.status_code, wrong.json()["code"]) == (400, "bad_parameter")


async def test_line_is_sent_as_it_was_written(service):
    """Mutant: the line is encoded again, and has another hash."""
    await service.journal.submit(RecordFacts(numbered(1)))
    [line] = await service.journal.ask(LeavesAt(0, 0, 1))

    answer = await service.ask("/v1/audit")

    assert b'"leaf":' + line + b"}" in answer.content


async def test_log_has_the_checkpoint_and_tiles_of_its_lines(service):
    await service.journal.submit(RecordFacts(numbered(700)))
    await service.journal.submit(PackLog())
    assert (await service.ask(f"{LOG}/checkpoint")).status_code == 404
    key = SigningKey("smshook/log", Algorithm.ED25519, bytes(32))
    note = await service.journal.submit(
        SignCheckpoint(lambda state, at: str(state.sign([key], at)))
    )

    checkpoint = await service.ask(f"{LOG}/checkpoint")
    assert (checkpoint.text, checkpoint.headers["content-type"]) == (
        note,
        "text/plain; charset=utf-8",
    )
    assert Note.parse(checkpoint.text).verify(key.verifier) is not None
    tiles = Tiles()
    wanted = []
    for line in await service.journal.ask(LeavesAt(0, 0, 700)):
        wanted += tiles.append(line)
    wanted += tiles.rest()
    assert {tile.path for tile in wanted} == {
        *(f"tile/{kind}/00{n}" for kind in (0, "entries") for n in range(2)),
        *(f"tile/{kind}/002.p/188" for kind in (0, "entries")),
        "tile/1/000.p/2",
    }
    for tile in wanted:
        answer = await service.ask(f"{LOG}/{tile.path}")
        assert (answer.status_code, answer.content) == (200, tile.data), tile.path


@pytest.mark.parametrize(
    "path",
    [
        *("0/000", "0/000.p/4", "0/000.p/0", "0/000.p/257", "1/000", "64/000", "entries/001"),
        *("entries/000", "0/0", "0/000.p/", "x/000", "0/x000", "entries"),
    ],
)
async def test_tile_that_is_not_there_is_404(service, path):
    await service.journal.submit(RecordFacts(numbered(3)))

    answer = await service.ask(f"{LOG}/tile/{path}")

    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")
