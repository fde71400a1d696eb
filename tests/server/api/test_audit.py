"""The audit log over the API."""

import asyncio

import pytest
from contracts.audit import numbered

from journal.audit.export import Beginning, Tiles
from journal.audit.lines import Fact
from journal.audit.note import Algorithm, Note, SigningKey
from journal.reads import LeavesAt
from journal.writes import PackLog, PruneLog, RecordFacts, SignCheckpoint
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
    full = await service.ask(f"{LOG}/tile/0/000.p/256")
    assert full.status_code == 404


@pytest.mark.parametrize(
    "path",
    [
        *("0/000", "0/000.p/4", "0/000.p/0", "0/000.p/257", "1/000", "64/000", "entries/001"),
        *("entries/000", "0/0", "0/000.p/", "x/000", "0/x000", "entries"),
        *("0/000.p/03", "0/x000/000.p/3", "entries/x000/000.p/3"),
    ],
)
async def test_tile_that_is_not_there_is_404(service, path):
    """Mutant: any way to write its number and its width."""
    await service.journal.submit(RecordFacts(numbered(3)))

    answer = await service.ask(f"{LOG}/tile/{path}")

    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")


# --- erased lines


async def test_line_is_erased_with_its_reason(service):
    """Mutants: another line; the reason keeps a number; the write-ahead log keeps the line."""
    facts = [Fact("key.refused", {"by": "service", "from": f"198.51.100.{n}"}) for n in range(5)]
    await service.journal.submit(RecordFacts(tuple(facts)))
    path, body = "/v1/audit/lines/3/erase", {"reason": " ticket 7, of +18505550123 "}

    answer = await asyncio.create_task(service.ask(path, method="POST", json=body))
    again = await service.ask(path, method="POST", json=body)

    assert (answer.status_code, answer.json()) == (200, {"n": 3})
    assert (again.status_code, again.json()["code"]) == (404, "not_found")
    *before, erased, last, said = await lines(service)
    assert [one["n"] for one in before] == [0, 1, 2]
    assert (list(erased), last["n"]) == (["erased"], 4)
    its = {"of": 3, "by": "key/admin", "reason": "ticket 7, of ***"}
    assert {name: said[name] for name in ("do", *its)} == {"do": "audit.erased", **its}
    files = service.config.path.parent.glob("smshook.db*")
    assert not [path for path in files if b"198.51.100.3" in path.read_bytes()]


async def test_line_that_a_verifier_needs_stays(service):
    """Mutant: the line that names an erased one can be erased."""
    await service.journal.submit(RecordFacts(numbered(1)))
    body = {"reason": "a test"}
    await service.ask("/v1/audit/lines/0/erase", method="POST", json=body)

    answers = [
        await service.ask(f"/v1/audit/lines/{n}/erase", method="POST", json=body)
        for n in (1, 9, 1 << 80)
    ]

    assert [(one.status_code, one.json()["code"]) for one in answers] == [
        (409, "line_needed"),
        (404, "not_found"),
        (404, "not_found"),
    ]


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ({}, 'missing; write {"reason": "TEXT"}, at most 500 characters'),
        ({"reason": " "}, 'missing; write {"reason": "TEXT"}, at most 500 characters'),
        ({"reason": ""}, "write a text of 1 to 500 characters"),
        ({"reason": "x" * 501}, "write a text of 1 to 500 characters"),
        ({"reason": 7}, "write a text"),
    ],
)
async def test_erasure_of_a_line_needs_a_reason(service, body, text):
    await service.journal.submit(RecordFacts(numbered(1)))

    answer = await service.ask("/v1/audit/lines/0/erase", method="POST", json=body)

    assert (answer.status_code, answer.json()["code"]) == (400, "bad_body")
    assert answer.json()["detail"] == f"reason: {text}"
    assert [line["n"] for line in await lines(service)] == [0]


# --- acts of commands


async def test_command_records_its_act_under_its_user(service):
    """Mutants: a key can name a user; the fields are another action's."""
    act = {"do": "audit.exported", "uid": 1000, "file": "/mnt/export", "size": 7}
    local = {"Authorization": f"Bearer {service.parts.keys.local_key}"}

    for headers in (local, None):
        key = "admin" if headers is None else None
        ask = service.ask("/v1/audit/acts", key, method="POST", headers=headers or {}, json=act)
        assert (await asyncio.create_task(ask)).status_code == 201

    its = {"do": "audit.exported", "from": "192.0.2.7", "file": "/mnt/export", "size": 7}
    first, second = [
        {name: one[name] for name in one if name not in ("n", "at")} for one in await lines(service)
    ]
    assert first == {name: its[name] for name in its if name != "from"} | {"by": "cli/1000"}
    assert second == its | {"by": "key/admin"}


@pytest.mark.parametrize(
    ("act", "key", "status"),
    [
        ({"do": "audit.exported"}, "coder", 403),
        ({"do": "audit.exported"}, "boss", 403),
        ({}, "admin", 400),
        ({"do": "key.made"}, "admin", 400),
        ({"do": "audit.verified", "outcome": "fine"}, "admin", 400),
        ({"do": "audit.verified", "size": -1}, "admin", 400),
    ],
)
async def test_wrong_act_is_refused(service, act, key, status):
    """Mutant: any action can be recorded."""
    answer = await service.ask("/v1/audit/acts", key, method="POST", json=act)

    assert answer.status_code == status
    assert await lines(service, "?do=audit.") == []


async def test_kept_checkpoints_and_pruned_lines_are_those_of_an_export(service):
    """Mutants: only the newest checkpoint; the beginning of another size."""
    key = SigningKey("smshook/log", Algorithm.ED25519, bytes(32))

    async def signed(closing=None):
        return await service.journal.submit(
            SignCheckpoint(lambda state, at: str(state.sign([key], at)), closing)
        )

    await service.journal.submit(RecordFacts(numbered(300)))
    notes = [await signed(Fact("audit.epoch", {"key": "k"}))]
    await service.journal.submit(RecordFacts(numbered(300)))
    notes.append(await signed())
    await service.journal.submit(PackLog())
    plain = (await service.ask(f"{LOG}/pruned")).json()
    [line] = await service.journal.ask(LeavesAt(0, 300, 1))
    for _ in range(2):
        await service.journal.submit(PruneLog(service.now + 1))

    kept = await service.ask(f"{LOG}/checkpoints")
    pruned = await service.ask(f"{LOG}/pruned")

    assert (kept.text, kept.headers["content-type"]) == (
        "".join(notes),
        "text/plain; charset=utf-8",
    )
    assert plain == {"size": 0, "frontier": [], "epochs": []}
    beginning = Beginning.read(pruned.content)
    assert (beginning.size, len(beginning.frontier)) == (512, 1)
    [epoch] = beginning.epochs
    assert (epoch.n, epoch.line, epoch.checkpoint) == (300, line, notes[0])
