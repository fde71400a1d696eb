"""The simulated speakers of SMS-Activate's dialect answer what the documents print."""

import json
from datetime import UTC, datetime, timedelta

import pytest
from rehearsing import Desk

from rehearsal.account import Fault

#: 15:00:00 in Moscow.
NOON = datetime(2023, 1, 1, 12, tzinfo=UTC)


@pytest.fixture
def desk():
    return Desk("sms_activate", NOON)


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


def activation(desk, **fields):
    usual = {"id": "635468021", "service": "vk", "number": "79181234561", "country": "0"}
    return desk.order(**usual | {"price": 12.5} | fields)


async def test_active_activations_are_listed_as_the_document_prints_them(desk):
    order = activation(desk)
    desk.message(order, text="[Your CODE registration code]", code="CODE")

    answer = await desk.dialect("getActiveActivations")

    assert answer == {"status": "success", "activeActivations": [ACTIVE]}


async def test_what_has_ended_is_not_active(desk):
    """Mutant: an empty list in place of `NO_ACTIVATIONS`."""
    activation(desk, id="1")
    desk.simulation.change("1", {"status": "finished"})
    activation(desk, id="2", life=0)

    assert await desk.dialect("getActiveActivations") == "NO_ACTIVATIONS"


async def test_herosms_lists_them_under_data():
    desk = Desk("herosms", NOON)
    for number in range(3):
        activation(desk, id=str(number + 1))

    answer = await desk.dialect("getActiveActivations", start="1", limit="1")

    row = ACTIVE | {"activationId": "2", "smsCode": [], "smsText": ""}
    assert answer == {"status": "success", "data": [row], "activeActivations": {"rows": [row]}}


async def test_status_v2_has_the_shape_of_the_document(desk):
    """Mutant: a call that stands under `sms`."""
    order = activation(desk)
    sms = {"dateTime": "0000-00-00 00:00:00", "code": "", "text": ""}
    call = {"from": "", "text": "", "code": "", "dateTime": sms["dateTime"], "url": ""}

    empty = await desk.dialect("getStatusV2", id=order.id)
    desk.message(order, text="sms text", code="code")
    desk.message(order, text="voice text", code="12345", from_="phone", is_call=True)
    both = await desk.dialect("getStatusV2", id=order.id)
    desk.simulation.change(order.id, {"status": "cancelled"})

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
    assert await desk.dialect("getStatusV2", id=order.id) == "STATUS_CANCEL"
    assert await desk.dialect("getStatusV2", id="0") == "NO_ACTIVATION"


async def test_herosms_has_another_status_v2():
    desk = Desk("herosms", NOON)
    order = activation(desk, service="wa")

    empty = await desk.dialect("getStatusV2", id=order.id)
    message = desk.message(order, text="Your code is 12345", code="12345", from_="89854")
    sms = await desk.dialect("getStatusV2", id=order.id)

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
async def test_a_status_is_said_in_a_line(provider, retry):
    """Mutant: the code left out of STATUS_WAIT_RETRY."""
    desk = Desk(provider)
    order = activation(desk)

    said = [await desk.dialect("getStatus", id=order.id)]
    desk.message(order, code="12:34")
    for status in ("active", "retry", "resend", "cancelled"):
        desk.simulation.change(order.id, {"status": status})
        said.append(await desk.dialect("getStatus", id=order.id))

    assert said == [
        "STATUS_WAIT_CODE",
        "STATUS_OK:12:34",
        retry,
        "STATUS_WAIT_RESEND",
        "STATUS_CANCEL",
    ]


async def test_herosms_lists_all_messages_while_the_activation_is_active():
    """Mutants: the oldest first; listed after it has ended, too."""
    desk = Desk("herosms", NOON)
    order = activation(desk, service="wa")
    messages = [desk.message(order, text=str(ago), ago=ago) for ago in (2, 1)]
    call = desk.message(order, is_call=True)

    newest = await desk.dialect("getAllSms", id=order.id, size="1")
    rest = await desk.dialect("getAllSms", id=order.id, size="1", page="3")
    whole = await desk.dialect("getAllSms", id=order.id)
    desk.simulation.change(order.id, {"status": "finished"})
    ended = await desk.ask(
        *("/stubs/handler_api.php",), action="getAllSms", api_key=desk.account.key, id=order.id
    )

    assert [row["id"] for row in whole["data"]] == [call.id, messages[1].id, messages[0].id]
    assert newest["data"] == whole["data"][:1]
    assert newest["data"][0]["type"] == "call"
    assert rest["data"] == whole["data"][2:]
    assert (ended.status, json.loads(ended.body)["title"]) == (409, "ACTIVATION_NOT_ACTIVE")


async def test_history_has_a_list_of_sms_that_is_written_as_a_text(desk):
    """Mutant: a call among them."""
    order = activation(desk, id="635468024", number="79918529716", price=100)
    desk.message(order, text="Your sms code")
    desk.message(order, text="voice text", is_call=True)
    row = {
        "id": 635468024,
        "date": "2023-01-01 15:00:00",
        "phone": "79918529716",
        "sms": '["Your sms code"]',
        "cost": 0,
        "status": "4",
        "currency": 840,
    }

    active = await desk.dialect("getHistory")
    desk.simulation.change(order.id, {"status": "finished"})
    finished = await desk.dialect("getHistory")
    raw = await desk.ask("/stubs/handler_api.php", action="getHistory", api_key=desk.account.key)
    broken = desk.simulation.provider.garbled(raw).body

    assert active == [row]
    assert finished == [row | {"cost": 100}]
    assert b'"sms": "sms":"["Your sms code"]"' in broken
    with pytest.raises(json.JSONDecodeError):
        json.loads(broken)


async def test_history_goes_back_thirty_days_by_a_hundred_rows(desk):
    for number in range(102):
        activation(desk, id=str(number + 1))
    now = int(NOON.timestamp())
    month = int(timedelta(days=30).total_seconds())

    counted = [
        len(await desk.dialect("getHistory", **given))
        for given in ({}, {"limit": "1000"}, {"offset": "100"}, {"start": str(now - month)})
    ]
    nothing = await desk.dialect("getHistory", end=str(now - 1))
    refused = [
        await desk.dialect("getHistory", start=start)
        for start in ("yesterday", str(now - month - 1), "9" * 30)
    ]

    assert counted == [50, 100, 2, 50]
    assert nothing == []
    assert refused == ["WRONG_DATE"] * 3


async def test_herosms_limits_history_by_another_name():
    desk = Desk("herosms")
    for number in range(3):
        activation(desk, id=str(number + 1))

    assert len(await desk.dialect("getHistory", size="2", limit="1")) == 2


async def test_the_last_ten_rentals_are_listed(desk):
    assert await desk.dialect("getRentList") == {"status": "error", "message": "NO_NUMBERS"}

    for number in range(11):
        desk.now += timedelta(seconds=1)
        desk.order(id=str(12345 + number), kind="rental", number="79181234567")
    answer = await desk.dialect("getRentList")

    rows = [{"id": str(12345 + number), "phone": "79181234567"} for number in range(10, 0, -1)]
    assert answer == {"status": "success", "values": {str(i): row for i, row in enumerate(rows)}}


async def test_a_rental_lists_its_messages_as_the_document_prints_them(desk):
    rental = desk.order(kind="rental", service="ot")
    waiting = await desk.dialect("getRentStatus", id=rental.id)
    desk.message(rental, text="4", from_="79180230628", ago=1642)
    desk.message(rental, text="5", from_="79180230628")

    answer = await desk.dialect("getRentStatus", id=rental.id)

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
async def test_pages_begin_at_0_or_where_asked_for_at_1(desk, faults, pages):
    """Without a page, then pages 0 to 2."""
    rental = desk.order(kind="rental")
    for number in range(1, 6):
        desk.message(rental, text=str(number), ago=10 - number)
    for fault in faults:
        desk.account.faults.append(Fault(**fault))

    answers = [
        await desk.dialect("getRentStatus", id=rental.id, size="2", **given)
        for given in ({}, {"page": "0"}, {"page": "1"}, {"page": "2"})
    ]

    texts = ["".join(row["text"] for row in answer["values"].values()) for answer in answers]
    assert texts == pages


async def test_a_rental_that_has_ended_says_how(desk):
    rental = desk.order(kind="rental")
    said = []
    for status in ("finished", "cancelled", "revoked"):
        desk.simulation.change(rental.id, {"status": status})
        said.append((await desk.dialect("getRentStatus", id=rental.id))["message"])

    without = await desk.dialect("getRentStatus")
    other = await desk.dialect("getRentStatus", id="0")

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
async def test_what_a_provider_has_not_is_a_bad_action(provider, action):
    assert await Desk(provider).dialect(action) == "BAD_ACTION"


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
def test_a_callback_has_the_fields_of_the_document(provider, more):
    desk = Desk(provider, NOON)
    order = activation(desk, id="123456", service="go")
    message = desk.message(order, text="Sms text", code="12345")

    sample = desk.simulation.provider.callback(order, message)

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


def test_a_rental_has_a_callback_of_its_own(desk):
    order = desk.order(id="26251422", kind="rental")
    message = desk.message(order, text="Код 2792", from_="SPORTMASTER")

    sample = desk.simulation.provider.callback(order, message)

    assert json.loads(sample.body) == {
        "rentId": "26251422",
        "sms": {"phoneFrom": "SPORTMASTER", "text": "Код 2792", "date": "2023-01-01 15:00:00"},
    }


def test_sms_online_writes_numbers_where_sms_activate_writes_texts():
    desk = Desk("sms_online", NOON)
    order = desk.order(id="123456", kind="rental")
    message = desk.message(order, text="Sms text", from_="79180230628")

    sample = desk.simulation.provider.callback(order, message)

    assert json.loads(sample.body) == {
        "rentId": 123456,
        "sms": {"phoneFrom": 79180230628, "text": "Sms text", "date": "2023-01-01 15:00:00"},
    }


def test_an_id_that_is_no_number_and_a_code_that_was_not_recognized_are_told_as_they_are(desk):
    """Mutant: a number is made of whatever it is."""
    order = activation(desk, id="mine", country="US")
    message = desk.message(order, text="hello")

    sample = desk.simulation.provider.callback(order, message)

    said = json.loads(sample.body)
    assert (said["activationId"], said["country"], said["code"]) == ("mine", "US", None)
