"""The simulated providers of SMS-Activate's dialect answer as documented."""

import json
from datetime import UTC, datetime, timedelta

import pytest
from rehearsing import OfflineProvider

from rehearsal.account import Fault

#: 15:00:00 in Moscow.
NOON = datetime(2023, 1, 1, 12, tzinfo=UTC)


@pytest.fixture
def offline():
    return OfflineProvider("sms_activate", NOON)


ACTIVE = {
    "activationId": "635468021",
    "serviceCode": "vk",
    "phoneNumber": "79181234561",
    "activationCost": 12.50,
    "activationStatus": "4",
    "smsCode": ["CODE"],
    "smsText": "[Your CODE registration code]",
    "activationTime": "2023-01-01 15:00:00",
    "discount": "0.00",
    "repeated": "0",
    "countryCode": "0",
    "countryName": "Russia",
    "canGetAnotherSms": "1",
    "currency": 840,
}


def activation(offline, **fields):
    usual = {"id": "635468021", "service": "vk", "number": "79181234561", "country": "0"}
    return offline.order(**usual | {"price": 12.5} | fields)


async def test_active_activations_are_listed_as_documented(offline):
    order = activation(offline)
    offline.message(order, text="[Your CODE registration code]", code="CODE")

    answer = await offline.dialect("getActiveActivations")

    assert answer == {"status": "success", "activeActivations": [ACTIVE]}


async def test_ended_activation_is_not_listed(offline):
    """Mutant: an empty list in place of `NO_ACTIVATIONS`."""
    activation(offline, id="1")
    offline.simulation.change("1", {"status": "finished"})
    activation(offline, id="2", life=0)

    assert await offline.dialect("getActiveActivations") == "NO_ACTIVATIONS"


async def test_herosms_lists_activations_under_data():
    offline = OfflineProvider("herosms", NOON)
    for number in range(3):
        activation(offline, id=str(number + 1))

    answer = await offline.dialect("getActiveActivations", start="1", limit="1")

    row = ACTIVE | {"activationId": "2", "smsCode": [], "smsText": ""}
    assert answer == {"status": "success", "data": [row], "activeActivations": {"rows": [row]}}


async def test_status_v2_has_the_documented_shape(offline):
    """Mutant: a call under `sms`."""
    order = activation(offline)
    sms = {"dateTime": "0000-00-00 00:00:00", "code": "", "text": ""}
    call = {"from": "", "text": "", "code": "", "dateTime": sms["dateTime"], "url": ""}

    empty = await offline.dialect("getStatusV2", id=order.id)
    offline.message(order, text="sms text", code="code")
    offline.message(order, text="voice text", code="12345", from_="phone", is_call=True)
    both = await offline.dialect("getStatusV2", id=order.id)
    offline.simulation.change(order.id, {"status": "cancelled"})

    assert empty == {"verificationType": 2, "sms": sms, "call": call | {"parsingCount": 0}}
    at = "2023-01-01 15:00:00"
    assert both == {
        "verificationType": 2,
        "sms": {"dateTime": at, "code": "code", "text": "sms text"},
        "call": {
            "from": "phone",
            "text": "voice text",
            "code": "12345",
            "dateTime": at,
            "url": "",
            "parsingCount": 1,
        },
    }
    assert await offline.dialect("getStatusV2", id=order.id) == "STATUS_CANCEL"
    assert await offline.dialect("getStatusV2", id="0") == "NO_ACTIVATION"


async def test_herosms_has_its_own_status_v2():
    offline = OfflineProvider("herosms", NOON)
    order = activation(offline, service="wa")

    empty = await offline.dialect("getStatusV2", id=order.id)
    message = offline.message(order, text="Your code is 12345", code="12345", from_="89854")
    sms = await offline.dialect("getStatusV2", id=order.id)

    assert empty == "STATUS_WAIT_CODE"
    assert sms == {
        "verificationType": "sms",
        "data": {
            "id": message.id,
            "phoneFrom": "89854",
            "code": "12345",
            "text": "Your code is 12345",
            "service": "wa",
            "date": "2023-01-01T15:00:00+03:00",
            "type": "sms",
        },
    }


@pytest.mark.parametrize(
    ("provider", "retry"),
    [
        ("sms_activate", "STATUS_WAIT_RETRY:12:34"),
        ("herosms", "STATUS_WAIT_RETRY:12:34"),
        ("smsbower", "STATUS_WAIT_RESEND"),
    ],
)
async def test_status_is_one_line(provider, retry):
    """Mutant: the code left out of STATUS_WAIT_RETRY."""
    offline = OfflineProvider(provider)
    order = activation(offline)

    said = [await offline.dialect("getStatus", id=order.id)]
    offline.message(order, code="12:34")
    for status in ("active", "retry", "resend", "cancelled"):
        offline.simulation.change(order.id, {"status": status})
        said.append(await offline.dialect("getStatus", id=order.id))

    assert said == [
        "STATUS_WAIT_CODE",
        "STATUS_OK:12:34",
        retry,
        "STATUS_WAIT_RESEND",
        "STATUS_CANCEL",
    ]


async def test_herosms_lists_all_messages_of_an_active_activation():
    """Mutants: the oldest first; listed after it has ended, too."""
    offline = OfflineProvider("herosms", NOON)
    order = activation(offline, service="wa")
    messages = [offline.message(order, text=str(ago), ago=ago) for ago in (2, 1)]
    call = offline.message(order, is_call=True)

    newest = await offline.dialect("getAllSms", id=order.id, size="1")
    rest = await offline.dialect("getAllSms", id=order.id, size="1", page="3")
    whole = await offline.dialect("getAllSms", id=order.id)
    offline.simulation.change(order.id, {"status": "finished"})
    ended = await offline.ask(
        *("/stubs/handler_api.php",), action="getAllSms", api_key=offline.account.key, id=order.id
    )

    assert [row["id"] for row in whole["data"]] == [call.id, messages[1].id, messages[0].id]
    assert newest["data"] == whole["data"][:1]
    assert newest["data"][0]["type"] == "call"
    assert rest["data"] == whole["data"][2:]
    assert (ended.status, json.loads(ended.body)["title"]) == (409, "ACTIVATION_NOT_ACTIVE")


async def test_history_has_sms_as_a_list_in_a_text(offline):
    """Mutant: a call among them."""
    order = activation(offline, id="635468024", number="79918529716", price=100)
    offline.message(order, text="Your sms code")
    offline.message(order, text="voice text", is_call=True)
    row = {
        "id": 635468024,
        "date": "2023-01-01 15:00:00",
        "phone": "79918529716",
        "sms": '["Your sms code"]',
        "cost": 0,
        "status": "4",
        "currency": 840,
    }

    active = await offline.dialect("getHistory")
    offline.simulation.change(order.id, {"status": "finished"})
    finished = await offline.dialect("getHistory")
    raw = await offline.ask(
        "/stubs/handler_api.php", action="getHistory", api_key=offline.account.key
    )
    broken = offline.simulation.provider.garbled(raw).body

    assert active == [row]
    assert finished == [row | {"cost": 100}]
    assert b'"sms": "sms":"["Your sms code"]"' in broken
    with pytest.raises(json.JSONDecodeError):
        json.loads(broken)


async def test_history_has_thirty_days_in_pages_of_a_hundred(offline):
    for number in range(102):
        activation(offline, id=str(number + 1))
    now = int(NOON.timestamp())
    month = int(timedelta(days=30).total_seconds())

    counted = [
        len(await offline.dialect("getHistory", **given))
        for given in ({}, {"limit": "1000"}, {"offset": "100"}, {"start": str(now - month)})
    ]
    nothing = await offline.dialect("getHistory", end=str(now - 1))
    refused = [
        await offline.dialect("getHistory", start=start)
        for start in ("yesterday", str(now - month - 1), "9" * 30)
    ]

    assert counted == [50, 100, 2, 50]
    assert nothing == []
    assert refused == ["WRONG_DATE"] * 3


async def test_herosms_has_its_own_limit_of_history():
    offline = OfflineProvider("herosms")
    for number in range(3):
        activation(offline, id=str(number + 1))

    assert len(await offline.dialect("getHistory", size="2", limit="1")) == 2


async def test_last_ten_rentals_are_listed(offline):
    assert await offline.dialect("getRentList") == {"status": "error", "message": "NO_NUMBERS"}

    for number in range(11):
        offline.now += timedelta(seconds=1)
        offline.order(id=str(12345 + number), kind="rental", number="79181234567")
    answer = await offline.dialect("getRentList")

    rows = [{"id": str(12345 + number), "phone": "79181234567"} for number in range(10, 0, -1)]
    assert answer == {"status": "success", "values": {str(i): row for i, row in enumerate(rows)}}


async def test_rental_lists_its_messages_as_documented(offline):
    rental = offline.order(kind="rental", service="ot")
    waiting = await offline.dialect("getRentStatus", id=rental.id)
    offline.message(rental, text="4", from_="79180230628", ago=1642)
    offline.message(rental, text="5", from_="79180230628")

    answer = await offline.dialect("getRentStatus", id=rental.id)

    row = {"phoneFrom": "79180230628", "service": "ot"}
    assert waiting == {"status": "error", "message": "STATUS_WAIT_CODE"}
    assert answer == {
        "status": "success",
        "quantity": "2",
        "values": {
            "0": row | {"text": "5", "date": "2023-01-01 15:00:00"},
            "1": row | {"text": "4", "date": "2023-01-01 14:32:38"},
        },
    }


@pytest.mark.parametrize(
    ("faults", "pages"),
    [([], ["54", "54", "32", "1"]), ([{"fault": "pages_from_1"}], ["54", "54", "54", "32"])],
)
async def test_pages_begin_at_0_or_on_request_at_1(offline, faults, pages):
    """Return the answers without a page, and for pages 0 to 2."""
    rental = offline.order(kind="rental")
    for number in range(1, 6):
        offline.message(rental, text=str(number), ago=10 - number)
    for fault in faults:
        offline.account.faults.append(Fault(**fault))

    answers = [
        await offline.dialect("getRentStatus", id=rental.id, size="2", **given)
        for given in ({}, {"page": "0"}, {"page": "1"}, {"page": "2"})
    ]

    texts = ["".join(row["text"] for row in answer["values"].values()) for answer in answers]
    assert texts == pages


async def test_ended_rental_has_its_reason(offline):
    rental = offline.order(kind="rental")
    said = []
    for status in ("finished", "cancelled", "revoked"):
        offline.simulation.change(rental.id, {"status": status})
        said.append((await offline.dialect("getRentStatus", id=rental.id))["message"])

    without = await offline.dialect("getRentStatus")
    other = await offline.dialect("getRentStatus", id="0")

    assert said == ["STATUS_FINISH", "STATUS_CANCEL", "STATUS_REVOKE"]
    assert [without["message"], other["message"]] == ["NO_ID_RENT", "INVALID_PHONE"]


@pytest.mark.parametrize(
    ("provider", "action"),
    [
        ("smsbower", "getActiveActivations"),
        ("smsbower", "getStatusV2"),
        ("herosms", "getRentList"),
        ("sms_activate", "getNumber"),
        ("sms_activate", "getPrices"),
    ],
)
async def test_unknown_command_is_a_bad_action(provider, action):
    assert await OfflineProvider(provider).dialect(action) == "BAD_ACTION"


@pytest.mark.parametrize(
    ("provider", "more"),
    [
        ("sms_activate", {}),
        ("smsbower", {}),
        ("sms_online", {}),
        ("daisysms", {"messageId": 70002}),
        ("herosms", {"id": 70002, "phoneFrom": "22000", "receivedAt": "2023-01-01T15:00:00+03:00"}),
    ],
)
def test_callback_has_the_documented_fields(provider, more):
    offline = OfflineProvider(provider, NOON)
    order = activation(offline, id="123456", service="go")
    message = offline.message(order, text="Sms text", code="12345")

    sample = offline.simulation.provider.callback(order, message)

    assert sample.content_type == "application/json"
    assert (
        json.loads(sample.body)
        == {
            "activationId": 123456,
            "service": "go",
            "text": "Sms text",
            "code": "12345",
            "country": 0,
            "receivedAt": "2023-01-01 15:00:00",
        }
        | more
    )


def test_rental_has_its_own_callback(offline):
    order = offline.order(id="26251422", kind="rental")
    message = offline.message(order, text="Код 2792", from_="SPORTMASTER")

    sample = offline.simulation.provider.callback(order, message)

    assert json.loads(sample.body) == {
        "rentId": "26251422",
        "sms": {"phoneFrom": "SPORTMASTER", "text": "Код 2792", "date": "2023-01-01 15:00:00"},
    }


def test_sms_online_sends_numbers_instead_of_texts():
    offline = OfflineProvider("sms_online", NOON)
    order = offline.order(id="123456", kind="rental")
    message = offline.message(order, text="Sms text", from_="79180230628")

    sample = offline.simulation.provider.callback(order, message)

    assert json.loads(sample.body) == {
        "rentId": 123456,
        "sms": {"phoneFrom": 79180230628, "text": "Sms text", "date": "2023-01-01 15:00:00"},
    }


def test_callback_keeps_a_text_id_and_a_missing_code(offline):
    """Mutant: every id becomes a number."""
    order = activation(offline, id="mine", country="US")
    message = offline.message(order, text="hello")

    sample = offline.simulation.provider.callback(order, message)

    said = json.loads(sample.body)
    assert (said["activationId"], said["country"], said["code"]) == ("mine", "US", None)
