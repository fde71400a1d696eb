"""The contract of every journal about its audit log."""

import asyncio
import contextlib
import itertools
import json

import msgspec
import pytest
from contracts.journal import (
    NOW,
    arrival,
    attempt,
    handed,
    owed,
    planned,
    record,
    replay,
    subscription,
)
from contracts.keys import KEY
from contracts.orders import listed_order, order

from core.clock import rfc3339
from core.delivery import State
from core.errors import InvalidRow
from journal.actor import ACTING, Actor
from journal.audit.lines import Fact, erased_line, next_epoch
from journal.audit.note import Algorithm, Checkpoint, SigningKey
from journal.audit.tree import Frontier, is_included, leaf_hash
from journal.facts import AuditOptions
from journal.reads import (
    AuditLines,
    AuditLogs,
    Checkpoints,
    HashesAt,
    LeavesAt,
    LineFilter,
    LogBeginning,
)
from journal.records import Recorded, Retained, Settled
from journal.writes import (
    CancelOrder,
    CancelReplay,
    ChangeSubscription,
    CreateKey,
    CreateSubscription,
    DeleteSubscription,
    DismissQuarantined,
    EndDeliveries,
    EraseContent,
    EraseLine,
    EraseNumber,
    LapseOrder,
    PackLog,
    PauseSink,
    Prune,
    PruneLog,
    QuarantineCallback,
    Record,
    RecordFacts,
    RecordFactsLater,
    RegisterOrder,
    ReplayEvent,
    ResumeSink,
    RetryDelivery,
    RevokeKey,
    Settle,
    SignCheckpoint,
    StartReplay,
)

ANA = Actor("key/ana", "10.0.0.7")
#: The peer and the token of a callback.
_SENDER = ("198.51.100.7", "f00d")
STARTED = Fact("service.started", {"by": "service"})


class Hands:
    """A clock that a test sets."""

    def __init__(self):
        self.at = NOW

    def options(self, **said):
        plain = {"now": lambda: self.at, "shown": "d{}".format, "commit": commit}
        return AuditOptions(**plain | {"everything": True} | said)


def commit(events):
    """Stand in for commitments: each shows what it was made from."""
    return [f"{id_}/{len(body)}/{at:.0f}" for id_, body, at in events]


async def lines(journal, **said):
    """Return the lines of the log as objects."""
    page = await journal.ask(AuditLines(limit=10_000, filter=LineFilter(**said)))
    return [json.loads(line) for _, line in page.items]


async def facts(journal, **said):
    """Return the lines without number and time."""
    return [
        {name: value for name, value in line.items() if name not in ("n", "at")}
        for line in await lines(journal, **said)
    ]


def sign(state, at):
    """Stand in for a signature."""
    return f"{state}{at:.0f}"


async def state(journal):
    """Sign the log and return its state."""
    note = await journal.submit(SignCheckpoint(sign))
    return Checkpoint.parse("\n".join(note.split("\n")[:3]) + "\n")


async def proven(journal):
    """Return the state of the log, after comparing it with a tree over its lines."""
    signed = await state(journal)
    page = await journal.ask(AuditLines(limit=10_000))
    tree = Frontier()
    for _, line in page.items:
        tree.append(leaf_hash(line))
    assert [json.loads(line)["n"] for _, line in page.items] == list(range(tree.size))
    assert (signed.size, signed.root) == (tree.size, tree.root())
    return signed


@contextlib.contextmanager
def acting(actor):
    token = ACTING.set(actor)
    try:
        yield
    finally:
        ACTING.reset(token)


def numbered(count, *, begin=0):
    """Return facts that differ."""
    return tuple(Fact("code.read", {"by": f"key/{n}"}) for n in range(begin, begin + count))


class AuditContract:
    """Subclass it as `TestX`; `store.start()` opens the store once more."""

    @pytest.fixture
    def hands(self):
        return Hands()

    @pytest.fixture
    async def journal(self, store, hands):
        return await store.start(audit=hands.options())

    # --- what is recorded -----------------------------------------------------------------

    async def test_event_and_its_attempts_have_lines(self, journal):
        plan = planned(owed=[owed("log"), owed("crm", wait=9)])
        (due,) = await handed(journal, plan)
        outcome = attempt("failed", status=503, error="status")
        await journal.submit(Settle(due, outcome, State.DEAD, None, clear=("codes",)))

        at, event = rfc3339(NOW), plan.event.id
        size = len(plan.body)
        assert (await journal.ask(AuditLines())).items == (
            (
                1,
                f'{{"n":0,"at":"{at}","do":"callback.accepted","event":"{event}","place":1'
                ',"source":"tellabot"'
                ',"type":"sms.received","from":"198.51.100.7","token":"f00d","owes":["log","crm"]'
                f',"c":"{event}/{size}/{NOW:.0f}"}}'.encode(),
            ),
            (
                2,
                f'{{"n":1,"at":"{at}","do":"delivery.attempted","event":"{event}","sink":"log"'
                f',"delivery":"d{due.id}","attempt":1,"outcome":"failed","status":503'
                ',"reason":"status","clear":["codes"]}'.encode(),
            ),
            (
                3,
                f'{{"n":2,"at":"{at}","do":"delivery.dead","event":"{event}","sink":"log"'
                f',"delivery":"d{due.id}","reason":"status"}}'.encode(),
            ),
        )

    async def test_results_have_the_numbers_of_their_lines(self, journal):
        """Of callbacks, duplicates, attempts and deliveries that end, all in one batch.

        Mutants: the numbers of new events and of duplicates are mixed up; a result has the number
        of another write of its batch; a delivery that ended has the number of its attempt.
        """
        await record(journal, known := planned(1))
        (due,) = await handed(journal, planned(2, owed=[owed()]))
        (late,) = await handed(journal, planned(3, owed=[owed("crm")]))
        unread = QuarantineCallback(arrival(), "q", b"f", "unreadable", "detail")
        polled = arrival(channel="poll", token="", peer="")
        plans = (planned(4), planned(1), planned(5), planned(2))
        recorded, kept, again, settled, ended, asked, alone = await asyncio.gather(
            journal.submit(Record(arrival(), plans)),
            journal.submit(unread),
            journal.submit(msgspec.structs.replace(unread, id="r")),
            journal.submit(Settle(due, attempt(), State.DEAD, None)),
            journal.submit(Settle(late, None, State.EXPIRED, None)),
            journal.submit(Record(polled, (planned(1), planned(6)))),
            journal.submit(Settle(due, attempt(), State.DEAD, None)),
        )

        numbers = [*recorded.leaves, kept.leaf, again.leaf, settled.leaf, settled.leaf + 1]
        said = {one["n"]: (one["do"], one.get("event")) for one in await lines(journal)}
        assert [said[n] for n in (*numbers, ended.leaf, asked.leaves[1])] == [
            ("callback.accepted", plans[0].event.id),
            ("callback.duplicate", known.event.id),
            ("callback.accepted", plans[2].event.id),
            ("callback.duplicate", due.event_id),
            ("callback.quarantined", None),
            ("callback.duplicate", None),
            ("delivery.attempted", due.event_id),
            ("delivery.dead", due.event_id),
            ("delivery.expired", late.event_id),
            ("callback.accepted", asked.ids[1]),
        ]
        assert (asked.leaves[0], alone) == (None, None)

    async def test_lines_are_ascii_whatever_their_values(self, journal):
        """Mutant: the template writes names as they are."""
        plan = planned(owed=[owed('s"nk\u00e9')], source='sou"rce\u00e9')
        await record(journal, plan)

        page = await journal.ask(AuditLines())

        [(_, line)] = page.items
        assert line.isascii()
        assert json.loads(line)["source"] == 'sou"rce\u00e9'
        assert json.loads(line)["owes"] == ['s"nk\u00e9']

    async def test_line_of_a_polled_event_has_its_channel_and_no_peer(self, journal):
        """Mutant: the words of the last callback are used again for another channel."""
        polled = arrival(channel="poll", token="", peer="")
        await record(journal, planned(1))
        await journal.submit(Record(polled, (planned(2),)))

        called, asked = await lines(journal)
        assert (called["from"], called["token"], "channel" in called) == (*_SENDER, False)
        assert (asked["channel"], asked.keys() & {"from", "token"}) == ("poll", set())

    async def test_many_sinks_of_an_event_are_only_counted(self, journal):
        """Mutant: the line names all of them, and is longer than a line may be."""
        await record(journal, planned(owed=[owed(f"sub:{n:036}") for n in range(500)]))

        assert [one["owes"] for one in await lines(journal)] == [500]

    async def test_duplicates_and_quarantine_have_lines(self, journal):
        plan = planned(1)
        await record(journal, plan)
        await record(journal, planned(1))
        unread = QuarantineCallback(arrival(), "q", b"f", "unreadable", "detail")
        again = msgspec.structs.replace(unread, id="r")
        await journal.submit(unread)
        await journal.submit(again)
        await journal.submit(unread := msgspec.structs.replace(unread, id="s", fingerprint=b"g"))
        with acting(ANA):
            await journal.submit(DismissQuarantined(unread.id))
            await journal.submit(DismissQuarantined(unread.id))
            new = planned(2)
            await record(journal, new, replaces="q")

        came = {"source": "tellabot", "from": "198.51.100.7", "token": "f00d"}
        by = {"by": "key/ana", "from": "10.0.0.7"}
        assert [one for one in await facts(journal) if one["do"] != "callback.accepted"] == [
            {"do": "callback.duplicate", "event": plan.event.id, **came},
            {"do": "callback.quarantined", "quarantine": "q", **came, "reason": "unreadable"},
            {"do": "callback.duplicate", "quarantine": "q", **came},
            {"do": "callback.quarantined", "quarantine": "s", **came, "reason": "unreadable"},
            {"do": "quarantine.deleted", **by, "quarantine": "s"},
            {"do": "quarantine.replayed", **by, "quarantine": "q", "events": [new.event.id]},
        ]

    async def test_changed_event_has_a_new_commitment(self, journal):
        """Mutant: only stored events have a line, not those that change in their own batch."""
        plan = planned(subject="request/7", request_id="7")
        await record(journal, plan)
        await journal.submit(RegisterOrder(order("7", reference="job 1"), None))

        [gained] = await facts(journal, do=("event.gained",))
        assert gained["event"] == plan.event.id
        (id_, size, at) = gained["c"].split("/")
        assert (id_, at) == (plan.event.id, f"{NOW:.0f}")
        assert int(size) > len(plan.body)

    async def test_acts_of_people_name_them(self, journal):
        """Mutant: the actor is taken when the batch is written."""
        plan = planned(owed=[owed("log")])
        (due,) = await handed(journal, plan)
        await journal.submit(Settle(due, attempt(), State.DEAD, None))
        event, placed = plan.event.id, order("9")
        with acting(ANA):
            for write in (
                RetryDelivery(due.id, NOW),
                ReplayEvent(event, (owed("crm"),), NOW),
                StartReplay(replay(sinks=None)),
                CancelReplay("r", NOW),
                CancelReplay("r", NOW + 1),
                RegisterOrder(placed, None),
                RegisterOrder(placed, None),
                CancelOrder(placed.id, NOW),
                PauseSink("log", "operator", NOW),
                PauseSink("log", "failing", NOW),
                ResumeSink("log"),
                ResumeSink("log"),
                CreateKey(KEY),
                CreateKey(KEY),
                RevokeKey(KEY.id),
                RevokeKey(KEY.id),
                CreateSubscription(subscription("s")),
                ChangeSubscription(subscription("s")),
                ChangeSubscription(subscription("other")),
                DeleteSubscription("s", "sub:s"),
                DeleteSubscription("s", "sub:s"),
                EraseNumber("+18503814729"),
                EraseContent((event, "other"), NOW),
            ):
                await journal.submit(write)

        by = {"by": "key/ana", "from": "10.0.0.7"}
        its = {"order": placed.id, "source": "tellabot", "kind": "request_id"}
        hook = {"subscription": "s", "key": "app", "host": "app.example.com"}
        selected = {"types": [], "sources": ["tellabot", "herosms"], "sinks": None, "matched": 3}
        made = {"scopes": ["events:read", "deliveries:write"], "filtered": True}
        traffic = ("callback.", "delivery.attempted", "delivery.dead", "delivery.expired")
        assert [one for one in await facts(journal) if not one["do"].startswith(traffic)] == [
            {"do": "delivery.retried", **by, "event": event, "delivery": "d1", "sink": "log"},
            {"do": "event.replayed", **by, "event": event, "sinks": ["crm"]},
            {
                "do": "replay.begun",
                **by,
                "replay": "r",
                "since": rfc3339(NOW),
                "until": rfc3339(NOW + 9),
                **selected,
            },
            {"do": "replay.cancelled", **by, "replay": "r"},
            {"do": "order.placed", **by, **its},
            {"do": "order.cancelled", **by, **its},
            {"do": "sink.paused", **by, "sink": "log", "reason": "operator"},
            {"do": "sink.resumed", **by, "sink": "log"},
            {
                "do": "key.made",
                **by,
                "key": "crm",
                "id": KEY.id,
                **made,
                "expires_at": rfc3339(NOW + 60.5),
            },
            {"do": "key.revoked", **by, "id": KEY.id},
            {"do": "subscription.made", **by, **hook},
            {"do": "subscription.changed", **by, **hook},
            {"do": "subscription.deleted", **by, "subscription": "s"},
            {"do": "content.erased", **by, "orders": 0, "quarantine": 0},
            {"do": "content.erased", **by, "events": [event]},
        ]

    async def test_service_acts_have_lines(self, journal):
        listed = listed_order("9")
        await journal.submit(RegisterOrder(listed, None))
        await journal.submit(LapseOrder(listed.id, listed.expires_at + 1))
        plan = planned(owed=[owed("log"), owed("crm")])
        await record(journal, plan)
        await journal.submit(EndDeliveries("log", "gone", NOW))
        erasing = Prune(Retained.CODES, NOW + 9, NOW + 10)
        text = planned(text="Your code: 7")
        await record(journal, text)
        done = await journal.submit(erasing)

        by = {"by": "service"}
        its = {"order": listed.id, "source": "tellabot", "kind": "request_id"}
        pruned = {"kind": "codes", "count": 1, "before": rfc3339(NOW + 9), "to": done.place}
        found = [one for one in await facts(journal) if one["do"] != "callback.accepted"]
        assert found == [
            {"do": "order.placed", **by, **its},
            {"do": "order.expired", **by, **its},
            {"do": "delivery.dead", "sink": "log", "delivery": "d1", "reason": "gone"},
            {"do": "retention.pruned", **by, **pruned},
        ]

    async def test_access_leaves_out_callbacks_and_deliveries(self, store, hands):
        """Mutants: attempts, or changed events, have lines whatever is recorded; the line of a
        replay is given as that of a duplicate.
        """
        journal = await store.start(audit=hands.options(everything=False))
        plan = planned(1, subject="request/7", request_id="7", owed=[owed("log"), owed("crm")])
        due, _ = await handed(journal, plan)
        await journal.submit(QuarantineCallback(arrival(), "q", b"f", "unreadable", "detail"))
        again = await record(journal, planned(1), replaces="q")
        await journal.submit(RegisterOrder(order("7", reference="job 1"), None))
        settled = await journal.submit(Settle(due, attempt(), State.DEAD, None))
        await journal.submit(EndDeliveries("crm", "gone", NOW))
        with acting(ANA):
            await journal.submit(RetryDelivery(due.id, NOW))

        assert [one["do"] for one in await lines(journal)] == [
            *("quarantine.replayed", "order.placed", "delivery.retried")
        ]
        assert again == Recorded(ids=(plan.event.id,), new=(False,))
        assert settled == Settled()

    async def test_reload_changes_what_is_recorded(self, store, hands):
        options = hands.options(everything=False)
        journal = await store.start(audit=options)
        await record(journal, planned())
        rejected = Fact("callback.rejected", {"reason": "token"})
        assert await journal.submit(RecordFacts((rejected, *numbered(1)))) == (None, 0)
        options.everything = True
        await record(journal, planned())

        assert [one["do"] for one in await lines(journal)] == ["code.read", "callback.accepted"]

    # --- facts of others ------------------------------------------------------------------

    @pytest.mark.parametrize("write", [RecordFacts, RecordFactsLater])
    async def test_given_facts_are_recorded(self, store, journal, write):
        """The result is the numbers of their lines. Mutant: places count from the first log."""
        assert await journal.submit(write(numbered(2))) == (0, 1)

        again = await store.start()
        assert await facts(again) == [
            {"do": "code.read", "by": "key/0"},
            {"do": "code.read", "by": "key/1"},
        ]

    async def test_line_that_is_too_long_fails_its_write_only(self, journal):
        """Mutant: the lines of the failed write stay in the tree."""
        long = Fact("code.read", {"by": "x" * 20_000})
        strange = Fact("code.read", {"by": object()})
        done = await asyncio.gather(
            journal.submit(RecordFacts((STARTED, long))),
            record(journal, planned()),
            journal.submit(RecordFacts((STARTED,))),
            journal.submit(RecordFacts((strange,))),
            return_exceptions=True,
        )

        assert [type(one) is InvalidRow for one in done] == [True, False, False, True]
        assert [one["do"] for one in await lines(journal)] == [
            "callback.accepted",
            "service.started",
        ]
        await proven(journal)

    async def test_time_of_lines_never_decreases(self, store, hands, journal):
        """Mutants: a line has the time of the clock; the last time is lost at a start."""
        await journal.submit(RecordFacts((STARTED,)))
        hands.at -= 3600
        await journal.submit(RecordFacts((STARTED,)))
        again = await store.start(audit=hands.options())
        await again.submit(RecordFacts((STARTED,)))
        hands.at += 7200
        await again.submit(RecordFacts((STARTED,)))

        assert [one["at"] for one in await lines(again)] == [
            *[rfc3339(NOW)] * 3,
            rfc3339(NOW + 3600),
        ]

    # --- the tree -------------------------------------------------------------------------

    async def test_signed_state_covers_all_lines(self, store, journal):
        """Mutants: the lines of the batch itself are not signed; a start begins a new tree."""
        assert (await proven(journal)).size == 0
        signing = SignCheckpoint(sign)
        _, note = await asyncio.gather(
            journal.submit(RecordFacts(numbered(3))), journal.submit(signing)
        )
        assert note.split("\n")[1] == "3"
        await journal.submit(RecordFacts(numbered(600)))
        before = await proven(journal)

        again = await store.start()

        assert await proven(again) == before
        assert before.origin == f"smshook/{journal.identity}"

    async def test_end_of_an_epoch_is_the_last_line_that_it_signs(self, journal):
        """Mutant: the fact of the epoch is followed by others of its batch."""
        closing = next_epoch(SigningKey("log/epoch", Algorithm.COSIGNATURE, bytes(32)).verifier)
        note, _ = await asyncio.gather(
            journal.submit(SignCheckpoint(sign, closing)), journal.submit(RecordFacts(numbered(3)))
        )

        assert [one["do"] for one in await lines(journal)][-1] == "audit.epoch"
        assert note.split("\n")[1] == "4"
        [stored] = await journal.ask(Checkpoints(0))
        assert (stored.size, stored.note, stored.closes) == (4, note, True)

    async def test_checkpoints_are_thinned_out(self, journal, hands):
        """One an hour for a week, one a day for ever, those that close an epoch, the newest.

        Mutants: the last one of an hour goes; the end of an epoch goes; all stay."""
        begun = hands.at = NOW // 86_400 * 86_400
        closing = Fact("audit.epoch", {"key": "k"})
        for hour, half in itertools.product(range(9 * 24), (0, 1)):
            hands.at = begun + hour * 3600 + half * 1800
            ends = hour in (5, 30) and not half
            await journal.submit(SignCheckpoint(sign, closing if ends else None))

        stored = await journal.ask(Checkpoints(0))
        hours = [(one.at - begun) / 3600 for one in stored]
        # Two days are more than a week ago.
        young = [hour + 0.5 for hour in range(48 - 1, 9 * 24)]
        assert [hour for hour in hours if hour > 47] == young
        assert [hour for hour in hours if hour < 47] == [5.0, 23.5, 30.0]
        assert await journal.ask(Checkpoints(0, newest=True)) == stored[-1:]

    async def test_hashes_lead_to_the_root(self, journal):
        await journal.submit(RecordFacts(numbered(700)))
        tree = Frontier()
        for line in await journal.ask(LeavesAt(0, 0, 700)):
            tree.append(leaf_hash(line))

        assert await journal.ask(HashesAt(0, 8, 0, 10)) == [one.hash for one in tree.completed]
        assert await journal.ask(HashesAt(0, 0, 3, 2)) == [
            leaf_hash(line) for line in await journal.ask(LeavesAt(0, 3, 2))
        ]

    # --- packing, pruning, erasing --------------------------------------------------------

    async def pack(self, journal):
        while await journal.submit(PackLog(limit=2)):
            pass

    async def test_packing_changes_no_line(self, store, journal):
        """Mutants: the rest of a row that crosses the end of a run is lost; the last run is packed
        before it is full."""
        for count in (100, 200, 1, 300, 500, 255):  # rows that cross the ends of runs
            await journal.submit(RecordFacts(numbered(count)))
        before = await lines(journal)

        await self.pack(journal)

        assert await lines(journal) == before
        signed = await proven(journal)
        await journal.submit(RecordFacts(numbered(200)))
        await self.pack(journal)
        again = await store.start()
        assert (await lines(again))[: len(before)] == before
        assert (await proven(again)).size == signed.size + 200

    async def test_pruned_log_goes_on(self, store, journal, hands):
        """The rest verifies, and the ends of pruned epochs have proofs.

        Mutants: runs go that no checkpoint covers; unpacked rows go; a start forgets the pruned
        lines; the proof is that of a larger tree."""
        await journal.submit(RecordFacts(numbered(300)))
        note = await journal.submit(SignCheckpoint(sign, Fact("audit.epoch", {"key": "k"})))
        await journal.submit(RecordFacts(numbered(300)))
        hands.at += 100
        await journal.submit(RecordFacts(numbered(200)))
        hands.at += 100
        epoch = (await journal.ask(LeavesAt(0, 300, 1)))[0]
        await self.pack(journal)
        assert await journal.submit(PruneLog(NOW + 50)) == 256  # only that much is signed
        await state(journal)

        assert await journal.submit(PruneLog(NOW + 50)) == 256
        assert await journal.submit(PruneLog(NOW + 50)) == 0
        assert await journal.submit(PruneLog(NOW + 1000)) == 256

        left = [one["n"] for one in await lines(journal)]
        assert left == list(range(768, 801 + 3))
        assert [one["to"] for one in await lines(journal, do=("audit.pruned",))] == [256, 512, 768]
        again = await store.start()
        [log] = await again.ask(AuditLogs())
        assert (log.size, log.pruned) == (804, 768)
        assert await state(again) == await state(journal)
        [kept] = (await again.ask(LogBeginning(0, 768))).epochs
        root = Checkpoint.parse("\n".join(note.split("\n")[:3]) + "\n").root
        assert (kept.n, kept.line) == (300, epoch)
        assert is_included(leaf_hash(epoch), 300, 301, root, kept.proof)

    @pytest.mark.parametrize("packed", [False, True])
    async def test_erased_line_leaves_its_hash(self, store, journal, packed):
        """Mutants: the tree is another one; the erasure has no line of its own; a line that
        a verifier needs is erased, such as that of another erasure."""
        await journal.submit(RecordFacts(numbered(300)))
        if packed:
            await self.pack(journal)
        before = await journal.ask(LeavesAt(0, 0, 300))
        with acting(ANA):
            results = [
                await journal.submit(EraseLine(n, "request of a person"))
                for n in (7, 7, 10_000, -1, 300)  # the last one is that of the first erasure
            ]
        assert [one.value for one in results] == ["done", *["missing"] * 3, "needed"]

        again = await store.start()
        after = await again.ask(LeavesAt(0, 0, 301))
        assert after[7] == erased_line(leaf_hash(before[7]))
        assert [*after[:7], before[7], *after[8:300]] == before
        erased = {"of": 7, "by": "key/ana", "reason": "request of a person"}
        assert json.loads(after[300]) == {
            "n": 300,
            "at": rfc3339(NOW),
            "do": "audit.erased",
            **erased,
        }
        tree = Frontier()
        for line in [*before, after[300]]:
            tree.append(leaf_hash(line))
        assert (await state(again)).root == tree.root()

    # --- lists ----------------------------------------------------------------------------

    async def filled(self, journal, hands):
        for n in range(40):
            hands.at = NOW + n
            read = Fact("code.read", {"by": f"key/{n % 3}", "event": f"e{n}"})
            await journal.submit(RecordFacts((read, Fact("key.refused", {"by": "service"}))))
        await self.pack(journal)

    @pytest.mark.parametrize("desc", [False, True])
    async def test_pages_have_each_line_once(self, journal, hands, desc):
        await self.filled(journal, hands)
        found, after = [], None
        while True:
            page = await journal.ask(AuditLines(after=after, limit=7, desc=desc))
            found += [place for place, _ in page.items]
            after = page.next_seq
            if not page.has_more:
                break

        assert found == sorted(range(1, 81), reverse=desc)
        if not desc:
            await journal.submit(RecordFacts((STARTED,)))
            page = await journal.ask(AuditLines(after=after))
            assert [place for place, _ in page.items] == [81]

    @pytest.mark.parametrize("desc", [False, True])
    @pytest.mark.parametrize(
        ("said", "expected"),
        [
            ({"do": ("key.refused",), "since": NOW + 38}, [77, 79]),
            ({"do": ("key.",), "since": NOW + 38}, [77, 79]),
            ({"by": ("key/1",), "until": NOW + 5}, [2, 8]),
            ({"by": ("key/1", "key/2"), "since": NOW + 1, "until": NOW + 3}, [2, 4]),
            ({"event": "e7"}, [14]),
            ({"event": "e"}, []),
            ({"do": ("key.made",)}, []),
            ({"since": NOW + 100}, []),
            ({"until": NOW}, []),
            ({"since": NOW + 39}, [78, 79]),
        ],
    )
    async def test_filtered_lines(self, journal, hands, said, expected, desc):
        await self.filled(journal, hands)

        page = await journal.ask(AuditLines(desc=desc, filter=LineFilter(**said)))

        assert [json.loads(line)["n"] for _, line in page.items] == sorted(expected, reverse=desc)
        assert not page.has_more
