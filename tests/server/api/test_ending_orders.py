"""The end of orders: clock changes, a failing journal, waking the task."""

import asyncio
import json
from datetime import UTC, datetime

import pytest
from msgspec import structs

from core.event import Price
from core.order import OrderState
from core.secret import Secret
from journal.reads import EventFilter, Events, OrderById
from receiver.polling.questions import Ended, ListedOrder
from receiver.providers.tellabot.callbacks import TellABot
from server.runtime import supervisor
from server.runtime.orders import ENDED_AT_ONCE


@pytest.fixture
async def watching(service):
    running = asyncio.create_task(service.orders.run())
    yield service
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def register(service, /, id_, **order):
    body = {"source": "tellabot", "request_id": id_, **order}
    answer = await service.ask("/v1/orders", method="POST", content=json.dumps(body).encode())
    assert answer.status_code in (200, 201), answer.text
    return answer.json()["id"]


async def expired(service):
    page = await service.journal.ask(
        Events(filter=EventFilter(type=("order.expired",)), limit=1000)
    )
    return [json.loads(body)["subject"] for _, body in page.items]


async def state(service, order_id):
    return (await service.journal.ask(OrderById(order_id))).order.state


async def until(check, wanted):
    async with asyncio.timeout(5):
        while await check() != wanted:  # noqa: ASYNC110 - what is on disk has no event
            await asyncio.sleep(0.01)


async def test_later_order_that_ends_sooner_expires_in_time(watching):
    """Mutant: the task sleeps until the end that it knew before."""
    await register(watching, "1", expires="20s")

    await register(watching, "2", expires="200ms")
    await asyncio.sleep(0.01)
    watching.now += 0.2

    await until(lambda: expired(watching), ["request/2"])


async def test_changed_end_replaces_the_first(service):
    """Sooner and later. Mutant: the end never changes."""
    later = await register(service, "1", expires="60s")
    await register(service, "1", expires="120s")
    await register(service, "2", expires="120s")
    await register(service, "2", expires="60s")

    service.now += 60
    assert await service.orders.end_due()
    assert await expired(service) == ["request/2"]
    assert await state(service, later) == OrderState.WAITING
    service.now += 60
    assert await service.orders.end_due()
    assert await expired(service) == ["request/2", "request/1"]


async def test_many_orders_that_end_at_once_all_expire(service):
    """More than one batch. Mutant: only the first hundred end."""
    for number in range(ENDED_AT_ONCE + 5):
        await register(service, str(number + 1), expires="60s")
    service.now += 61

    assert await service.orders.end_due()

    assert len(await expired(service)) == ENDED_AT_ONCE + 5


async def test_failed_write_of_an_end_is_repeated(service, locked):
    """Mutant: the order never ends."""
    await register(service, "1", expires="60s")
    service.now += 61

    with locked():
        assert not await service.orders.end_due()

    assert await service.orders.end_due()
    assert await expired(service) == ["request/1"]


async def test_order_with_a_copied_sms_is_received(service):
    """The order book learns it at the end. Mutant: it does not ask the journal."""
    order_id = await register(service, "10000001", expires="60s")
    order = service.orders._order_book.get(order_id)
    await service.sms(id="10000001")
    service.orders._order_book.put(order)  # as if the order book had missed the SMS
    service.now += 61

    assert await service.orders.end_due()

    assert await expired(service) == []
    assert service.orders._order_book.get(order_id).state == OrderState.RECEIVED


# The clock


async def clock_set(service, by):
    service.now += by
    service.orders.follow_clock(by)
    await asyncio.gather(*service.orders._moving)


@pytest.mark.parametrize("by", [-7200, 7200])
async def test_duration_of_an_order_ignores_clock_changes(run, tmp_path, by):
    """Also after a restart. Mutants: only the book, or the journal, moves; `created_at` stays."""
    async with run(tmp_path) as service:
        await register(service, "1", expires="60s")
        await clock_set(service, by)
        early = service.now + 59
        service.now = early
        assert await service.orders.end_due()
        before = await expired(service)
        [order] = (await service.ask("/v1/orders")).json()["data"]

    async with run(tmp_path) as service:
        service.now = early
        await service.orders.load()
        assert await service.orders.end_due()
        again = await expired(service)
        service.now += 1
        assert await service.orders.end_due()
        after = await expired(service)

    assert (before, again, after) == ([], [], ["request/1"])
    assert seconds_of(order["expires"]) - seconds_of(order["created_at"]) == 60


def seconds_of(written):
    return datetime.fromisoformat(written).timestamp()


async def test_instant_set_by_a_user_is_kept(service):
    """Mutant: it moves like a duration."""
    at = datetime.fromtimestamp(service.now + 7200, UTC)
    await register(service, "1", expires=f"{at:%Y-%m-%dT%H:%M:%SZ}")

    await clock_set(service, 7201)

    assert await service.orders.end_due()
    assert await expired(service) == ["request/1"]


async def test_order_ends_in_time_if_the_clock_was_set_back_while_down(run, tmp_path):
    """Mutant: it waits until the clock has caught up."""
    async with run(tmp_path) as service:
        await register(service, "1", expires="60s")

    async with run(tmp_path) as service:
        service.now -= 7200
        await service.orders.load()
        service.now += 60
        assert await service.orders.end_due()

        assert await expired(service) == ["request/1"]


async def test_clock_change_during_a_lock_is_corrected(service, locked, monkeypatch):
    """Mutants: forgotten; moved twice."""
    monkeypatch.setattr(supervisor, "_AGAIN", 0.01)
    order_id = await register(service, "1", expires="60s")
    with locked():
        service.now += 7200
        service.orders.follow_clock(7200)
        await asyncio.sleep(0)
        # It stays locked until the first try has failed.
        await service.journal.ask(OrderById(order_id))
    await asyncio.gather(*service.orders._moving)

    kept = (await service.journal.ask(OrderById(order_id))).order
    assert (
        kept.expires_at == service.now + 60 == service.orders._order_book.get(order_id).expires_at
    )


# What the provider lists


async def test_unchanged_list_writes_nothing(service):
    """Mutants: each run writes; a new price is not written."""
    written = []
    submit = service.journal.submit

    def counted(write, then=None):
        written.append(write)
        return submit(write, then)

    service.journal.submit = counted
    listed = ListedOrder(kind="request_id", name="1", number="+18505554729", service="Google")
    for _ in range(3):
        service.now += 60
        await service.orders.add_listed(service.sources["tellabot"], listed)
    same = len(written)
    price = Price(amount="1.20", currency=None)
    await service.orders.add_listed(
        service.sources["tellabot"], structs.replace(listed, price=price)
    )

    assert (same, len(written)) == (1, 2)


async def test_listed_price_has_the_currency_of_its_source(run, tmp_path):
    """Unless the list names a currency. Mutant: no currency."""
    source = {"tellabot": TellABot(tokens=(Secret("the-token-of-one-01"),), currency="EUR")}
    async with run(tmp_path, sources=source) as service:
        for name, currency in (("1", None), ("2", "USD")):
            price = Price(amount="1.20", currency=currency)
            listed = ListedOrder(kind="request_id", name=name, price=price)
            await service.orders.add_listed(service.sources["tellabot"], listed)
        orders = (await service.ask("/v1/orders")).json()["data"]

    assert [order["price"]["currency"] for order in orders] == ["EUR", "USD"]


async def test_silence_watch_counts_listed_orders(service):
    """Only the provider lists it. Mutant: the source is reported silent."""
    await service.orders.add_listed(
        service.sources["tellabot"], ListedOrder(kind="request_id", name="1")
    )
    service.now += 3600
    alone = service.orders.waiting_since("tellabot")
    await register(service, "2")
    service.now += 3600

    assert alone is None
    assert service.orders.waiting_since("tellabot") == service.now - 3600


async def test_ended_order_is_polled_in_wide_runs_only(service):
    """Mutant: every run asks for orders that the provider ended."""
    await register(service, "1")
    ended = Ended(kind="request_id", name="1", reason="cancelled")
    await service.orders.end_listed(service.sources["tellabot"], ended)
    since = service.now - 600

    narrow = service.orders.open("tellabot", since=since, wide=False)
    wide = service.orders.open("tellabot", since=since)

    assert (narrow, [order.name for order in wide]) == ([], ["1"])
    assert service.orders.is_ended("tellabot", "request_id", "1")


# The start


async def test_open_orders_are_loaded_at_the_start(run, tmp_path):
    async with run(tmp_path) as service:
        ids = [await register(service, str(n), expires=f"{n}d") for n in (1, 2)]
        await service.ask(f"/v1/orders/{ids[0]}", method="DELETE")

    async with run(tmp_path) as service:
        service.now += 86400 * 2 + 1
        await service.orders.load()
        book = service.orders._order_book

        assert [book.get(id_) is not None for id_ in ids] == [False, True]
        assert await service.orders.end_due()
        assert await expired(service) == ["request/2"]


async def test_backfill_asks_about_open_orders(service):
    """Mutants: cancelled orders too; without those that ended while the service was down."""
    waiting, received, cancelled, over = [
        await register(service, str(n), expires="60s" if n == 4 else "1h") for n in (1, 2, 3, 4)
    ]
    await register(service, "5", source="herosms")
    await service.sms(id="2")
    service.now += 30
    await service.ask(f"/v1/orders/{cancelled}", method="DELETE")
    service.now += 90
    await service.orders.end_due()

    now = {order.id for order in service.orders.open("tellabot")}
    since = {order.id for order in service.orders.open("tellabot", since=service.now - 119)}

    assert now == {waiting, received}
    assert since == {waiting, received, over}


async def test_order_of_a_removed_source_expires(run, tmp_path):
    async with run(tmp_path) as service:
        await register(service, "1", expires="60s", service="Google", country="US")

    async with run(tmp_path, sources={}) as service:
        service.now += 61
        await service.orders.load()
        assert await service.orders.end_due()

        page = await service.journal.ask(Events(filter=EventFilter(), limit=9))
        [event] = [json.loads(body) for _, body in page.items]
        assert (event["source"], event["data"]["provider"]) == ("tellabot", "tellabot")
        assert event["data"]["service"] == {"id": "Google", "name": None, "key": "google"}


async def test_cancelling_completes_after_a_disconnect(service):
    """Mutant: the order book is changed by the caller that waits."""
    order_id = await register(service, "1", expires="60s")

    cancelling = asyncio.create_task(service.orders.cancel(order_id))
    await asyncio.sleep(0)
    cancelling.cancel()
    await asyncio.gather(cancelling, return_exceptions=True)

    async def known():
        return service.orders._order_book.get(order_id).state

    await until(known, OrderState.CANCELLED)
