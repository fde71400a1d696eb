"""Death at each step of a restore and of a pruning: nothing is lost, and nothing is left half."""

import asyncio
import json
import shutil

import pytest
from contracts.journal import NOW, arrival, keep, owed, planned
from sealing import ALL
from services import identity_of, keys_of
from stopped_deaths import PRUNE, RESTORE, die, options, pruned, restored, run_prune, run_restore

from journal.reads import CallbackOfEvent, Events, JournalStats, QuarantinedById
from journal.seal import Reason
from journal.sqlite.backup import check
from journal.writes import Record
from server.backups import back_up
from server.service import open_journal

DAY = 86_400.0
OLD, YOUNG = ("the first canary text 918273", "the second canary text 918274")
LATER = NOW + 3 * DAY


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    """A folder with a sealed journal of two events, three days apart. No test may change it."""
    folder = tmp_path_factory.mktemp("stored")
    asyncio.run(store(folder))
    return folder


async def store(folder):
    config = options(folder)
    for at, text in ((NOW, OLD), (LATER, YOUNG)):
        keys = keys_of(config, now=at)
        journal = await open_journal(config, identity_of(config), now=at, keys=keys)
        plan = planned(at=at, text=text, to="+18505550142", owed=[owed()] if text is YOUNG else [])
        await journal.submit(Record(arrival(at=at, body=text.encode()), (plan,)))
        await keep(journal, text.encode(), new_id=text, at=at)
        await journal.close()


@pytest.fixture
def folder(stored, tmp_path):
    """A copy of that folder."""
    return shutil.copytree(stored, tmp_path / "folder")


async def look(folder):
    """Return the texts of events, callbacks and quarantine, as far as the keys open them."""
    config = options(folder)
    keys = keys_of(config, now=LATER)
    journal = await open_journal(config, identity_of(config), now=LATER, keys=keys)
    events = [json.loads(body) for _, body in (await journal.ask(Events(opening=ALL))).items]
    raw = [await journal.ask(CallbackOfEvent(event["id"], why=Reason.RAW)) for event in events]
    held = [
        await journal.ask(QuarantinedById(text, why=Reason.QUARANTINE)) for text in (OLD, YOUNG)
    ]
    stats = await journal.ask(JournalStats())
    await journal.close()
    return (
        [(event["data"]["text"], event["data"]["to"]) for event in events],
        [None if one is None else one.body.decode() for one in raw],
        [None if one is None else one.body.decode() for one in held],
        (stats.quarantine, stats.deliveries["pending"]),
    )


def names(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("step", RESTORE)
def test_death_in_a_restore_leaves_a_whole_journal_or_none(folder, tmp_path, step):
    """Mutants: the journal gets its name before the erasures, or before its generation."""
    config, made = options(folder), tmp_path / "made.db"
    back_up(config.path, config.journal.path, made, lambda *_progress: None)
    [first, _] = asyncio.run(ids(folder))
    for path in folder.glob("smshook.db*"):
        path.unlink()
    (folder / "smshook.erased").write_text(f"{first}\n")

    die(run_restore, step, folder, made)
    was_there = config.journal.path.exists()
    if not was_there:
        restored(folder, made)
        assert [name for name in names(folder) if "unfinished" in name] == []

    events, raw, held, counts = asyncio.run(look(folder))
    assert was_there is (step == "placed")
    assert events == [(None, None), (YOUNG, "+18505550142")]
    assert (raw, held, counts) == ([None, YOUNG], [OLD, YOUNG], (2, 1))
    assert check(config.journal.path).events == 2


async def ids(folder):
    config = options(folder)
    keys = keys_of(config, now=LATER)
    journal = await open_journal(config, identity_of(config), now=LATER, keys=keys)
    found = [json.loads(body)["id"] for _, body in (await journal.ask(Events())).items]
    await journal.close()
    return found


@pytest.mark.parametrize("step", PRUNE)
def test_death_while_pruning_leaves_no_event_half(folder, step):
    """Mutants: rows go before their keys; the young event goes, too."""
    die(run_prune, step, folder, LATER + 10)

    between = asyncio.run(look(folder))
    pruned(folder, LATER + 10)
    after = asyncio.run(look(folder))

    young = ((YOUNG, "+18505550142"), YOUNG)
    *old, last = zip(*between[:2], strict=True)
    assert last == young
    # Keys go first, so what is left of the old event cannot be opened.
    assert all(text is None for (text, _), _ in old)
    assert between[2] in ([OLD, YOUNG], ["", YOUNG], [None, YOUNG])
    assert after == ([young[0]], [YOUNG], [None, YOUNG], (1, 1))
    assert check(options(folder).journal.path).events == 1
