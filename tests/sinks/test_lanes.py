import asyncio

import pytest

from core.delivery import Delivery, Turn
from sinks.lanes import Lanes, Taken


def taken(id_, attempts=0, *, replay=False):
    delivery = Delivery(
        id=id_,
        event_id=f"e{id_}",
        body=b"{}",
        sink="s",
        owner=1,
        attempts=attempts,
        accepted_at=0.0,
        replay=replay,
    )
    return Taken(delivery, 0.0)


def lanes(slots=4):
    return Lanes(slots, {Turn.FRESH: 1000, Turn.RETRIED: 100, Turn.REPLAYED: 100})


def test_first_attempts_go_before_retries():
    """Mutant: one queue."""
    both = lanes()
    for id_, attempts in ((1, 3), (2, 1), (3, 0), (4, 0)):
        both.put(taken(id_, attempts))

    assert [both.pick().delivery.id for _ in range(4)] == [3, 4, 1, 2]


@pytest.mark.parametrize(("slots", "most"), [(1, 1), (2, 1), (8, 7)])
def test_retries_leave_one_slot_free(slots, most):
    """Mutant: retries take all slots, and a new code waits for their timeouts."""
    both = lanes(slots)
    for id_ in range(10):
        both.put(taken(id_, 1))

    picked = []
    while both.has_work():
        picked.append(both.pick())

    assert len(picked) == most
    both.put(taken(99))
    assert both.has_work()
    both.pick()
    both.done(picked[0])
    assert both.has_work()


def test_replays_and_retries_take_turns_after_new_events():
    """Mutants: replays before retries, which then wait for a million of them; after them."""
    lanes_ = lanes()
    for id_ in range(3):
        lanes_.put(taken(id_, replay=True))
    for id_ in range(3, 6):
        lanes_.put(taken(id_, 1, replay=id_ == 3))
    lanes_.put(taken(6))

    order = []
    while lanes_.has_work():
        order.append(lanes_.pick())
        lanes_.done(order[-1])

    assert [one.delivery.id for one in order] == [6, 3, 0, 4, 1, 5, 2]


async def test_waiting_sender_wakes_for_work_it_may_take():
    both = lanes(2)
    waiting = [asyncio.create_task(both.ready()) for _ in range(2)]
    await asyncio.sleep(0)

    assert both.has_idle_slot()
    both.put(taken(1, 1))
    await waiting[0]
    first = both.pick()
    both.put(taken(2, 1))
    await asyncio.sleep(0)
    assert not waiting[1].done()  # the other slot is for a first attempt
    both.done(first)
    await waiting[1]


async def test_wake_of_a_cancelled_sender_goes_to_another():
    """Mutant: the wake is lost, and a delivery waits for the next wake."""
    both = lanes()
    first, second = [asyncio.create_task(both.ready()) for _ in range(2)]
    await asyncio.sleep(0)

    both.put(taken(1))
    first.cancel()
    async with asyncio.timeout(30):
        await second


def test_retries_have_places_of_their_own():
    """Mutant: a backlog of retries fills the places that first attempts need."""
    both = lanes()
    for id_ in range(100):
        both.put(taken(id_, 1))

    assert (both[Turn.RETRIED].room, both.fresh.room) == (0, 1000)
