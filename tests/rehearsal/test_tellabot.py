"""The simulated TellABot answers as documented."""

from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from rehearsing import NOW, OfflineProvider

from receiver.decode import decode


@pytest.fixture
def offline():
    return OfflineProvider("tellabot")


GOOGLE = {
    "timestamp": "1600108956",
    "date_time": "2020-09-14 14:42:36 EDT",
    "from": "22000",
    "to": "18503814729",
    "service": "Google",
    "price": 1.20,
    "reply": "G-804036 is your Google verification code.",
    "pin": "G-804036",
}


async def test_messages_are_answered_as_documented(offline):
    """Mutants: oldest first; the time in UTC."""
    first = offline.order(number="15182193312", price=1.2)
    second = offline.order(number="18503814729", price=1.2)
    text = "G-{} is your Google verification code."
    offline.message(second, text=text.format("804036"), code="G-804036")
    offline.message(
        *(first,), text=text.format("551858"), code="G-551858", from_="18339020112", ago=104
    )

    answer = await offline.tellabot("read_sms", service="Google")

    assert answer == {
        "status": "ok",
        "message": [
            GOOGLE,
            GOOGLE
            | {
                "timestamp": "1600108852",
                "date_time": "2020-09-14 14:40:52 EDT",
                "from": "18339020112",
                "to": "15182193312",
                "reply": "G-551858 is your Google verification code.",
                "pin": "G-551858",
            },
        ],
    }


async def test_missing_messages_are_an_error(offline):
    assert await offline.tellabot("read_sms") == {"status": "error", "message": "No messages"}


async def test_read_sms_has_the_three_newest_of_two_days(offline):
    """Mutants: four; three days."""
    rental = offline.order(kind="rental")
    for ago in (172_801, 172_800, 30, 20, 10):
        offline.message(rental, text=str(ago), ago=ago)

    newest = await offline.tellabot("read_sms", ltr_id=rental.id)
    offline.now += timedelta(days=2) - timedelta(seconds=15)
    later = await offline.tellabot("read_sms", ltr_id=rental.id)

    assert [row["reply"] for row in newest["message"]] == ["10", "20", "30"]
    assert [row["reply"] for row in later["message"]] == ["10"]


@pytest.mark.parametrize(
    ("given", "found"),
    [
        ({"id": "1"}, ["a"]),
        ({"id": "1", "mdn": "none", "service": "none"}, ["a"]),
        ({"ltr_id": "2", "mdn": "none"}, ["b"]),
        ({"ltr_id": "2", "service": "Google"}, ["b"]),
        ({"ltr_id": "2", "service": "Amazon"}, None),
        ({"mdn": "15550000001"}, ["a"]),
        ({"mdn": "15550000001", "service": "Amazon"}, None),
        ({"id": "2"}, None),
        ({"id": "3"}, None),
        ({"ltr_id": "1"}, None),
    ],
)
async def test_read_sms_filters_by_its_parameters(offline, given, found):
    """Mutant: `mdn` still counts together with `id`."""
    offline.message(offline.order(id="1", number="15550000001"), text="a")
    offline.message(offline.order(id="2", kind="rental", number="15550000002"), text="b")

    answer = await offline.tellabot("read_sms", **given)

    if found is None:
        assert answer == {"status": "error", "message": "No messages"}
    else:
        assert [row["reply"] for row in answer["message"]] == found


async def test_request_has_its_status_as_documented(offline):
    bid = offline.order(id="10000001", number="", service="Amazon", state="CA", markup=20, life=300)
    row = {
        "id": "10000001",
        "mdn": "",
        "service": "Amazon",
        "status": "Awaiting MDN",
        "state": "CA",
        "markup": 20,
        "carrier": "",
        "till_expiration": 300,
    }

    waiting = await offline.tellabot("request_status", id=bid.id)
    offline.now += timedelta(seconds=10)
    offline.simulation.change(bid.id, {"number": "12345678901"})
    won = await offline.tellabot("request_status", id=bid.id)

    assert waiting == {"status": "ok", "message": [row]}
    changed = {"mdn": "12345678901", "status": "Reserved", "till_expiration": 290}
    assert won == {"status": "ok", "message": [row | changed]}


async def test_request_ends_completed_rejected_or_timed_out(offline):
    """Mutant: an unfulfilled bid is not deleted."""
    kept, done, rejected, bid = (offline.order(number=n) for n in ("1", "2", "3", ""))
    offline.message(done)
    offline.simulation.change(rejected.id, {"status": "cancelled"})
    offline.now += timedelta(minutes=15)

    answers = [await offline.tellabot("request_status", id=it.id) for it in (kept, done, rejected)]
    gone = await offline.tellabot("request_status", id=bid.id)

    statuses = [answer["message"][0]["status"] for answer in answers]
    assert statuses == ["Timed Out", "Completed", "Rejected"]
    assert gone == {"status": "error", "message": "Invalid request ID"}


async def test_rental_has_its_status_as_documented(offline):
    """The documented epoch is not the documented date: 1925009999 is later in that week."""
    offline.now = datetime(2031, 1, 1, 4, 57, 59, tzinfo=UTC)
    reserved = offline.order(kind="rental", number="")
    rental = offline.order(kind="rental", number="12345678901")
    changes_at = offline.now + timedelta(seconds=120)

    waiting = await offline.tellabot("ltr_status", ltr_id=reserved.id)
    offline.account.add(
        msgspec.structs.replace(
            rental, changes_at=changes_at, next_online_at=offline.now + timedelta(seconds=720)
        )
    )
    online = await offline.tellabot("ltr_status", mdn="12345678901")
    offline.account.add(msgspec.structs.replace(rental, is_online=False))
    stopped = await offline.tellabot("ltr_status", ltr_id=rental.id)

    row = {
        "ltr_status": "online",
        "mdn": "12345678901",
        "till_change": 120,
        "next_online": 720,
        "timestamp": int(changes_at.timestamp()),
        "date_time": "2030-12-31 23:59:59 EST",
    }
    nothing = {"till_change": 0, "next_online": 0, "timestamp": 0, "date_time": ""}
    assert waiting == {"status": "ok", "message": {"ltr_status": "awaiting mdn"}}
    assert online == {"status": "ok", "message": row}
    assert stopped == {"status": "ok", "message": row | {"ltr_status": "offline"} | nothing}
    unknown = await offline.tellabot("ltr_status", ltr_id="0")
    assert unknown["status"] == "error"


async def test_garbled_json_is_as_invalid_as_the_samples(offline):
    """`"message": { { … } }`."""
    rental = offline.order(kind="rental", number="12345678901")
    offline.message(rental, text="a")
    provider = offline.simulation.provider

    bodies = []
    for command, given in (
        ("ltr_status", {"ltr_id": rental.id}),
        ("read_sms", {}),
        ("read_sms", {"mdn": "0"}),
    ):
        answer = await offline.ask(
            "/api_command.php", cmd=command, user="t", api_key=offline.account.key, **given
        )
        bodies.append(provider.garbled(answer).body)

    status, row, none = bodies
    assert status.startswith(b'{"status":"ok","message":{{"ltr_status"')
    assert status.endswith(b"}}}")
    assert row.startswith(b'{"status":"ok","message":{{"timestamp"')
    assert row.endswith(b"}}}")
    assert none == b'{"status":"error","message":"No messages"}'


def test_callback_has_the_documented_fields(offline):
    request = offline.order(id="10000001", number="18503814729", price=1.2)
    rental = offline.order(id="2000001", kind="rental", number="18503814729", price=1.2)
    callbacks = [
        offline.simulation.provider.callback(
            order, offline.message(order, text=GOOGLE["reply"], code="G-804036")
        )
        for order in (request, rental)
    ]

    one, two = (
        dict(decode(sample.body, content_encoding=None, encodings={"form"})) for sample in callbacks
    )

    texts = {name: str(value) for name, value in GOOGLE.items()}
    assert one == {"event": "incoming_message", "id": "10000001"} | texts
    ids = {"ltr_id": "2000001", "first_ltr_id": "2000001"}
    assert two == {"event": "incoming_message"} | ids | texts
    assert offline.now == NOW
