"""The contract of every journal about API keys, and calls with an `Idempotency-Key`."""

import asyncio

import msgspec
import pytest
from contracts.journal import NOW, planned, record

from core.errors import AlreadyMade
from journal.reads import CallByKey, EventById, KeyUses, StoredKeys
from journal.records import Made, MadeCall, Owed, StoredKey
from journal.writes import (
    CreateKey,
    ForgetCalls,
    KeepCall,
    NoteKeyUses,
    Once,
    ReplayEvent,
    RevokeKey,
)

KEY = StoredKey(
    id="id of crm",
    name="crm",
    digest=b"digest of crm",
    scopes=("events:read", "deliveries:write"),
    filter='{"type": "sms.received"}',
    expires_at=NOW + 60.5,
    rate="600/m",
    created_at=NOW,
    reads="600/h",
    reason="required",
)
MADE = Made(status=201, answer=b'{"id":"1"}')


def named(name):
    return msgspec.structs.replace(
        KEY, id=f"id of {name}", name=name, digest=f"digest of {name}".encode()
    )


def once(write, key=b"key", request=b"request", *, at=NOW, since=NOW - 60, made=MADE):
    return Once(write, key, request, at=at, since=since, made=lambda _result: made)


class KeysContract:
    """Subclass it as `TestX`; `store.start()` opens the store once more."""

    async def test_keys_are_kept_in_the_order_of_their_making(self, store, journal):
        plain = msgspec.structs.replace(named("a"), filter=None, expires_at=None, rate=None)
        made = [await journal.submit(CreateKey(key)) for key in (KEY, plain)]

        assert made == [KEY.id, plain.id]
        for again in (journal, await store.start()):
            assert await again.ask(StoredKeys()) == [KEY, plain]

    @pytest.mark.parametrize("in_one_batch", [False, True])
    async def test_name_of_a_key_is_unique(self, journal, in_one_batch):
        """Mutant: names of the same batch are not compared."""
        other = msgspec.structs.replace(named("other"), name="crm")
        writes = [CreateKey(KEY), CreateKey(other), RevokeKey(KEY.id), CreateKey(other)]
        if in_one_batch:
            results = await asyncio.gather(*map(journal.submit, writes))
        else:
            results = [await journal.submit(write) for write in writes]

        assert results == [KEY.id, None, True, other.id]
        assert await journal.ask(StoredKeys()) == [other]

    async def test_revoked_key_is_gone_with_its_use(self, journal):
        for key in (KEY, named("a")):
            await journal.submit(CreateKey(key))
        await journal.submit(NoteKeyUses((("crm", NOW), ("a", NOW + 1), ("admin", NOW + 2))))

        results = [await journal.submit(RevokeKey(KEY.id)) for _ in range(2)]

        assert results == [True, False]
        assert await journal.ask(StoredKeys()) == [named("a")]
        assert await journal.ask(KeyUses()) == {"a": NOW + 1, "admin": NOW + 2}

    async def test_last_use_is_the_latest(self, journal):
        for at in (NOW, NOW + 5, NOW + 2):
            await journal.submit(NoteKeyUses((("admin", at),)))

        assert await journal.ask(KeyUses()) == {"admin": NOW + 5}


class CallsContract:
    """Subclass it as `TestX`; `store.start()` opens the store once more."""

    @pytest.mark.parametrize("in_one_batch", [False, True])
    async def test_write_is_done_once(self, store, journal, in_one_batch):
        """Mutants: keys of the same batch are not compared; the second write is done, too."""
        plan = planned()
        await record(journal, plan)
        replay = ReplayEvent(plan.event.id, (Owed(sink="log"),), NOW)
        if in_one_batch:
            results = await asyncio.gather(
                *(journal.submit(once(replay)) for _ in range(3)), return_exceptions=True
            )
        else:
            results = [
                *(await asyncio.gather(journal.submit(once(replay)), return_exceptions=True)),
                *(await asyncio.gather(journal.submit(once(replay)), return_exceptions=True)),
            ]
        journal = await store.start()
        [again] = await asyncio.gather(journal.submit(once(replay)), return_exceptions=True)

        assert len(results[0].ids) == 1
        assert {type(result) for result in (*results[1:], again)} == {AlreadyMade}
        assert len((await journal.ask(EventById(plan.event.id))).deliveries) == 1
        stored = await journal.ask(CallByKey(b"key", NOW - 60))
        assert stored == MadeCall(request=b"request", made=MADE)

    async def test_write_that_made_nothing_can_be_repeated(self, journal):
        replay = ReplayEvent("none", (), NOW)

        results = [await journal.submit(once(replay, made=None)) for _ in range(2)]

        assert results == [None, None]
        assert await journal.ask(CallByKey(b"key", 0)) is None

    async def test_old_call_does_not_count(self, journal):
        await journal.submit(once(KeepCall()))
        later = Made(status=200, answer=b"{}")

        await journal.submit(once(KeepCall(), at=NOW + 100, since=NOW + 40, made=later))

        stored = await journal.ask(CallByKey(b"key", NOW + 40))
        assert stored == MadeCall(request=b"request", made=later)

    async def test_old_calls_are_removed_in_steps(self, journal):
        for number in range(5):
            await journal.submit(once(KeepCall(), b"%d" % number, at=NOW + number))

        left = []
        while not left or left[-1]:
            left.append(await journal.submit(ForgetCalls(NOW + 3, limit=2)))

        there = [await journal.ask(CallByKey(b"%d" % number, 0)) for number in range(5)]
        assert left == [True, False]
        assert [one is not None for one in there] == [False, False, False, True, True]
