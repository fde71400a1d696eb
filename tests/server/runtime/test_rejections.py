"""Rejections: sampled in the log, counted in full."""

import asyncio

import structlog

from journal.reads import Rejections


async def test_counts_survive_an_unavailable_journal(parts, locked):
    parts.rejections.add("token", "tellabot", "192.0.2.1", "r")
    with locked():
        writing = asyncio.create_task(parts.rejections.write())
        await asyncio.sleep(0.1)
        parts.rejections.add("token", "tellabot", "192.0.2.1", "r")
        await writing

    await parts.rejections.write()

    [(_, counted)] = await parts.journal.ask(Rejections(limit=9))
    assert counted.count == 2


async def test_flood_of_wrong_tokens_is_sampled_and_counted(parts):
    """Mutants: a line for each; only logged ones are counted."""
    with structlog.testing.capture_logs() as logs:
        for _ in range(500):
            parts.rejections.add("token", "tellabot", "192.0.2.1", "r")
        parts.rejections.add("path", "", "192.0.2.1", "r")
        parts.rejections.log_unlogged()
        parts.rejections.log_unlogged()
    await parts.rejections.write()

    items = await parts.journal.ask(Rejections(limit=9))
    assert sorted((item.reason, item.count) for _, item in items) == [("path", 1), ("token", 500)]
    assert [line["reason"] for line in logs] == ["token"] * 10 + ["path", "token"]
    assert [line["unlogged"] for line in logs] == [None] * 11 + [490]
