"""The simulated SMSPins answers what its documents print."""

from datetime import UTC, datetime, timedelta

import pytest
from rehearsing import Desk

from rehearsal.simulation import NumberChange

#: 13:21:19 in New York.
NOW = datetime(2018, 2, 26, 18, 21, 19, tzinfo=UTC)


@pytest.fixture
def desk():
    return Desk("smspins", NOW)


async def test_telephones_are_listed(desk):
    desk.order(id="23354", number="2123451356")

    assert await desk.smspins("bulk_sms/telephones") == {
        "success": True,
        "message": None,
        "data": [
            {
                "telephone_id": "23354",
                "telephone": "2123451356",
                "added_at": "2018-02-26",
                "expired_at": "2018-03-25",
            }
        ],
    }


async def test_messages_are_listed_by_check_as_the_document_prints_them(desk):
    """Mutants: the number of today beside an SMS of the one before; the oldest check first."""
    order = desk.order(id="23354", number="9171234567")
    desk.message(order, text="Test SMS 4", ago=1417 + 2)
    desk.message(order, text="Test SMS 5", ago=1417, same_check=True)
    desk.simulation.change(order.id, {"number": "2123451356"})
    desk.message(order, text="Test SMS 1")

    answer = await desk.smspins("bulk_sms/smses_by_tid/23354")
    unknown = await desk.smspins("bulk_sms/smses_by_tid/1")

    assert answer == {
        "success": True,
        "message": None,
        "data": [
            {
                "request_id": "11184",
                "telephone_id": "23354",
                "smses": "Test SMS 1",
                "telephone": "2123451356",
                "updated_at": "2018-02-26 13:21:19",
            },
            {
                "request_id": "11183",
                "telephone_id": "23354",
                "smses": "Test SMS 4|Test SMS 5",
                "telephone": "9171234567",
                "updated_at": "2018-02-26 12:57:42",
            },
        ],
    }
    assert unknown == {"success": False, "message": "Unable to find Telephone ID", "data": None}


async def test_a_check_tells_its_status(desk):
    order = desk.order(number="2123451356")
    message = desk.message(order, text="Test SMS 1")
    desk.message(order, text="Test SMS 2", same_check=True)

    answer = await desk.smspins(f"bulk_sms/status/{message.check_id}")
    unknown = await desk.smspins("bulk_sms/status/1")

    at = "2018-02-26 13:21:19"
    assert answer == {
        "success": True,
        "message": None,
        "data": {
            "request_id": "11183",
            "agent_name": None,
            "telephone": "2123451356",
            "smses": "Test SMS 1|Test SMS 2",
            "status": "SUCCESS",
            "updated_at": at,
            "queued_at": at,
            "acquired_at": at,
            "started_at": at,
            "ended_at": at,
            "canceled_at": None,
        },
    }
    assert unknown == {"success": False, "message": "Unable to find request", "data": None}


async def test_number_changes_of_two_days_are_listed(desk):
    order = desk.order(number="2121231234")
    desk.simulation.change(order.id, {"number": "9171231234"})

    answer = await desk.smspins("nc/requests")
    desk.now += timedelta(hours=48, seconds=1)
    later = await desk.smspins("nc/requests")

    row = {
        "request_id": "44444",
        "last_telephone": "2121231234",
        "telephone": "9171231234",
        "status": "SUCCESS",
        "updated_at": "2018-02-26 13:21:19",
        "submitted_at": "2018-02-26 13:21:19",
        "canceled_at": None,
    }
    assert answer == {"success": True, "message": None, "data": [row]}
    assert later == {"success": True, "message": None, "data": []}


async def test_a_number_change_that_is_not_done_is_listed_with_its_status(desk):
    """Mutant: every change is a success."""
    order = desk.order(number="2121231234")

    for status in ("FAILED", "CANCELED", "PENDING"):
        desk.simulation.keep_number(order.id, NumberChange(status=status))
    answer = await desk.smspins("nc/requests")

    listed = [(row["status"], row["telephone"], row["canceled_at"]) for row in answer["data"]]
    assert listed == [
        ("PENDING", None, None),
        ("CANCELED", None, "2018-02-26 13:21:19"),
        ("FAILED", None, None),
    ]
    assert desk.account.orders[order.id].number == "2121231234"


async def test_its_json_can_be_as_python_prints_it(desk):
    answer = await desk.ask("/apiv2/k3y-of-the-provider/bulk_sms/telephones")

    garbled = desk.simulation.provider.garbled(answer)

    assert garbled.body == b'{"success":True,"message":None,"data":[]}'


def test_it_sends_nothing(desk):
    order = desk.order()

    assert desk.simulation.provider.callback(order, desk.message(order)) is None
