"""The simulated SMSPins answers as documented."""

from datetime import UTC, datetime, timedelta

import pytest
from rehearsing import OfflineProvider

from rehearsal.simulation import NumberChange

#: 13:21:19 in New York.
NOW = datetime(2018, 2, 26, 18, 21, 19, tzinfo=UTC)


@pytest.fixture
def offline():
    return OfflineProvider("smspins", NOW)


async def test_telephones_are_listed(offline):
    offline.order(id="23354", number="2123451356")

    assert await offline.smspins("bulk_sms/telephones") == {
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


async def test_messages_are_listed_by_check_as_documented(offline):
    """Mutants: an SMS of the former number has the present one; the oldest check first."""
    order = offline.order(id="23354", number="9171234567")
    offline.message(order, text="Test SMS 4", ago=1417 + 2)
    offline.message(order, text="Test SMS 5", ago=1417, same_check=True)
    offline.simulation.change(order.id, {"number": "2123451356"})
    offline.message(order, text="Test SMS 1")

    answer = await offline.smspins("bulk_sms/smses_by_tid/23354")
    unknown = await offline.smspins("bulk_sms/smses_by_tid/1")

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


async def test_check_has_its_status(offline):
    order = offline.order(number="2123451356")
    message = offline.message(order, text="Test SMS 1")
    offline.message(order, text="Test SMS 2", same_check=True)

    answer = await offline.smspins(f"bulk_sms/status/{message.check_id}")
    unknown = await offline.smspins("bulk_sms/status/1")

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


async def test_number_changes_of_two_days_are_listed(offline):
    order = offline.order(number="2121231234")
    offline.simulation.change(order.id, {"number": "9171231234"})

    answer = await offline.smspins("nc/requests")
    offline.now += timedelta(hours=48, seconds=1)
    later = await offline.smspins("nc/requests")

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


async def test_unfinished_number_change_is_listed_with_its_status(offline):
    """Mutant: every change is a success."""
    order = offline.order(number="2121231234")

    for status in ("FAILED", "CANCELED", "PENDING"):
        offline.simulation.keep_number(order.id, NumberChange(status=status))
    answer = await offline.smspins("nc/requests")

    listed = [(row["status"], row["telephone"], row["canceled_at"]) for row in answer["data"]]
    assert listed == [
        ("PENDING", None, None),
        ("CANCELED", None, "2018-02-26 13:21:19"),
        ("FAILED", None, None),
    ]
    assert offline.account.orders[order.id].number == "2121231234"


async def test_garbled_json_is_as_python_prints_it(offline):
    answer = await offline.ask("/apiv2/k3y-of-the-provider/bulk_sms/telephones")

    garbled = offline.simulation.provider.garbled(answer)

    assert garbled.body == b'{"success":True,"message":None,"data":[]}'


def test_smspins_sends_no_callbacks(offline):
    order = offline.order()

    assert offline.simulation.provider.callback(order, offline.message(order)) is None
