"""The pages of orders: what came, how long it took, and cancelling here."""

import json

import live
import pytest
from consoles import Parsed

from server.console.orders import _line, _row

ORDER = {
    "id": "01931c5e-0000-7000-8000-000000000001",
    "source": "tellabot",
    "number": "+18505550100",
    "service": "Google",
    "service_key": "google",
    "reference": None,
    "activation_id": "4711",
    "request_id": None,
    "rental_id": None,
    "created_at": "2026-11-30T06:00:00Z",
    "expires": "2026-11-30T06:20:00Z",
    "received_at": None,
    "state": "waiting",
    "reason": None,
}
BEGIN = 1_796_018_400.0


@pytest.mark.parametrize(
    ("changed", "shown"),
    [
        ({}, {"name": "activation/4711", "kind": "wait", "left": 1020.0, "took": None}),
        ({"reference": "signup-1"}, {"name": "signup-1", "left": 1020.0}),
        (
            {"state": "received", "received_at": "2026-11-30T06:00:09.4Z"},
            {"kind": "ok", "left": None, "took": "9.4 s"},
        ),
        # Its message came before it was registered.
        ({"state": "received", "received_at": "2026-11-30T05:59:00Z"}, {"took": "0.0 s"}),
        (
            {"state": "expired", "reason": "expired"},
            {"kind": "bad", "words": "expired: no code came", "left": None},
        ),
        ({"state": "expired", "reason": "revoked"}, {"words": "expired: revoked"}),
    ],
)
def test_row_says_what_became_of_the_order(changed, shown):
    row = _row({**ORDER, **changed}, BEGIN + 180)

    assert {name: row[name] for name in shown} == shown


def test_line_is_in_order_of_time():
    """Mutant: the attempts of all deliveries after all messages."""
    events = [
        {
            "event": {"recordedtime": "2026-11-30T06:00:09Z", "type": "sms.received"},
            "deliveries": [
                {
                    "sink": "crm",
                    "attempts": [{"at": "2026-11-30T06:00:12Z", "outcome": "delivered"}],
                }
            ],
        },
        {
            "event": {"recordedtime": "2026-11-30T06:00:10Z", "type": "sms.received"},
            "deliveries": [],
        },
    ]

    assert [(words, after) for _, words, after in _line(ORDER, events)] == [
        ("ordered", 0.0),
        ("sms.received", 9.0),
        ("sms.received", 10.0),
        ("crm: delivered", 12.0),
    ]


@pytest.fixture
def ordered(service):
    """Return a function: register an order; return its id."""

    def order(**fields):
        sent = json.dumps({"source": "tellabot", **fields})
        return service.api("/orders", method="POST", content=sent).json()["id"]

    return order


def test_order_has_its_messages_without_codes(service, admin, ordered):
    """Mutant: the page asks the API with the rights of the key, which sees codes."""
    id_ = ordered(number="+18505550731", reference="page-1")
    event = service.sms(731)

    text = admin.get(f"/orders/{id_}").text

    assert f"/console/events/{event}" in text
    assert "••••••" in text
    assert "ZQ7-918" not in text
    assert "page-1" in admin.get("/orders?reference=page-1").text


def test_code_of_an_order_can_be_copied_in_the_list(service, admin, person, ordered):
    """It is found by id and source. Mutants: codes of another source; a button for all keys."""
    other = ordered(activation_id="10000735", number="+18505550736")
    mine = ordered(source="smsactivate", activation_id="10000735")
    fields = {"activationId": 10_000_735, "service": "go", "code": live.code(735)}
    event = service.post(json.dumps(fields).encode(), "smsactivate")["events"][0]
    service.sms(736)
    received = [service.api(f"/orders/{id_}").json()["received_at"] for id_ in (mine, other)]
    assert None not in received

    rows = {
        id_: next(part for part in admin.get("/orders").text.split("<tr ") if id_ in part)
        for id_ in (mine, other)
    }

    assert f'<td class="code" data-id="{event}">' in rows[mine]
    assert "data-copy" in rows[mine]
    assert '<td class="code" data-id' not in rows[other]
    assert "data-copy" in admin.get(f"/orders/{mine}").text
    assert "data-copy" not in person("reader").get("/orders").text


def test_cancel_says_that_the_provider_is_not_notified(service, admin, ordered):
    id_ = ordered(number="+18505550732")

    answer = admin.post(f"/orders/{id_}/cancel")

    assert answer.status_code == 303
    text = admin.get(f"/orders/{id_}").text
    assert "The provider was not notified." in text
    assert "Cancel here" not in text
    assert service.api(f"/orders/{id_}").json()["state"] == "cancelled"


def test_cancel_needs_its_scope(person, ordered):
    """Mutant: the button is shown to every key."""
    reader, id_ = person("reader"), ordered(number="+18505550733")

    assert "Cancel here" not in reader.get(f"/orders/{id_}").text
    assert reader.post(f"/orders/{id_}/cancel").status_code == 403


def test_hostile_reference_stays_text(admin, ordered):
    hostile = '"><script>alert(1)</script>'
    id_ = ordered(number="+18505550734", reference=hostile)

    for path in (f"/orders/{id_}", "/orders"):
        text = admin.get(path).text
        assert "<script>alert" not in text
        assert "&lt;script&gt;" in text
        assert all(its.get("src") for its in Parsed(text).all("script"))


def test_unknown_order_is_404(admin):
    assert admin.get("/orders/none").status_code == 404
