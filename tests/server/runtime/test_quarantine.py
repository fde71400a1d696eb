"""Callbacks in quarantine, and their replay."""

import asyncio
import json

import msgspec
import pytest
from services import SECRET

from journal.reads import EventById, JournalStats, QuarantinedCallbacks
from receiver.callback import Malformed
from receiver.samples import SampleSigner
from server.runtime.quarantine import SourceGone


@pytest.fixture
def quarantined(parts, caller):
    """Put a callback into quarantine; return it as stored."""

    async def stored(callback, **changed):
        malformed = Malformed("unknown_event", "event")
        caller_ = msgspec.structs.replace(caller, **changed)
        done = asyncio.get_running_loop().create_future()
        parts.quarantine.add(caller_, callback, malformed, done.set_result)
        await done
        [kept] = await parts.journal.ask(QuarantinedCallbacks(limit=9))
        return kept

    return stored


async def test_replay_records_a_callback_that_is_understood_now(quarantined, parts, sms):
    kept = await quarantined(sms())

    accepted = await parts.quarantine.replay(kept, "r2")

    assert accepted.status == "accepted"
    stats = await parts.journal.ask(JournalStats())
    assert (stats.events, stats.quarantine) == (1, 0)


async def test_replay_leaves_a_callback_that_is_still_malformed(quarantined, parts, callback):
    kept = await quarantined(callback(b"event=unheard_of"))

    with pytest.raises(Malformed):
        await parts.quarantine.replay(kept, "r2")

    assert (await parts.journal.ask(JournalStats())).quarantine == 1


async def test_replay_for_a_source_that_is_gone_is_refused(quarantined, parts, callback):
    kept = await quarantined(callback(b"x"), source="gone")

    with pytest.raises(SourceGone):
        await parts.quarantine.replay(kept, "r2")


async def test_replayed_sample_is_still_a_sample(quarantined, parts, sms):
    signature = SampleSigner(SECRET).sign("tellabot", sms().body)
    headers = (("smshook-sample", signature),)
    kept = await quarantined(msgspec.structs.replace(sms(), headers=headers, sample=True))

    accepted = await parts.quarantine.replay(kept, "r2")

    event = json.loads((await parts.journal.ask(EventById(accepted.events[0]))).body)
    assert event["data"]["sample"] is True
