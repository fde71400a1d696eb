"""Commands on orders, with a real service."""

import re

import live
import pytest
from prompt import ID, cells, printed, read, run

KEYS = (
    'api: {keys: {reader: {key: "reader-key-0123456789", scopes: ["events:read"]}, '
    'writer: {key: "writer-key-0123456789", scopes: ["subscriptions:write"]}}}\n'
)
ABSENT = "01931c5e-0000-7000-8000-000000000000"
CONFIG = live.CONFIG.partition("api:")[0] + KEYS


pytestmark = pytest.mark.usefixtures("here")


def fields(text):
    return dict(re.split(r"  +", line.rstrip(), maxsplit=1) for line in text.splitlines() if line)


def test_order_is_added_with_every_field():
    """Mutant: an option that is not sent."""
    order = read(
        *("orders", "add", "tellabot", "--request-id", "10000001", "--number", "+18503814729"),
        *("--service", "Google", "--country", "US", "--price", "1.20", "--currency", "USD"),
        *("--reference", "signup-1", "--label", "team=growth", "--label", "a=b=c"),
        *("--expires", "2099-01-01T00:00:00Z"),
    )

    assert {name: order[name] for name in order if name not in ("id", "created_at")} == {
        "source": "tellabot",
        "provider": "tellabot",
        "request_id": "10000001",
        "activation_id": None,
        "rental_id": None,
        "number": "+18503814729",
        "service": "Google",
        "service_key": "google",
        "country": "US",
        "price": {"amount": "1.20", "currency": "USD"},
        "reference": "signup-1",
        "labels": {"team": "growth", "a": "b=c"},
        "origin": "user",
        "state": "waiting",
        "reason": None,
        "expires": "2099-01-01T00:00:00Z",
        "received_at": None,
    }
    again = fields(printed("orders", "add", "tellabot", "--request-id", "10000001"))
    assert (again["id"], again["reference"]) == (order["id"], "signup-1")


@pytest.mark.parametrize(
    ("option", "name"), [("--activation-id", "activation_id"), ("--rental-id", "rental_id")]
)
def test_order_is_added_by_any_kind_of_id(option, name):
    assert read("orders", "add", "smsactivate", option, "5")[name] == "5"


def test_orders_are_listed_newest_last():
    """Mutant: the oldest ones."""
    for number in range(3):
        printed("orders", "add", "tellabot", "--rental-id", f"9{number}", "--reference", "listed")

    result = run("orders", "list", "--reference", "listed", "--limit", "2")

    header = re.split(r"  +", result.stdout.splitlines()[0].rstrip())
    assert header == [
        *("source", "order", "number", "service", "reference", "state", "expires", "id"),
    ]
    assert [row[:6] for row in cells(result.stdout)[1:]] == [
        ["tellabot", f"rental 9{number}", "-", "-", "listed", "waiting"] for number in (1, 2)
    ]
    assert result.exit_code == 0
    assert result.stderr.startswith(
        "showing the newest 2; next: smshook orders list --reference listed --limit 2 --order desc"
    )
    all_ = read("orders", "list", "--reference", "x", "--reference", "listed")
    assert [order["rental_id"] for order in all_] == ["90", "91", "92"]


def test_orders_are_filtered():
    printed("orders", "add", "smsactivate", "--number", "447700900123")

    of_number = ("--source", "smsactivate", "--number", "+447700900123", "--state", "waiting")
    [row] = cells(printed("orders", "list", *of_number))[1:]
    none = run("orders", "list", *of_number[:4], "--state", "expired")

    assert row[:3] == ["smsactivate", "-", "+447700900123"]
    assert (none.exit_code, none.stdout, none.stderr) == (0, "", "no orders\n")


def test_order_is_shown_with_its_events(service):
    order = read("orders", "add", "tellabot", "--request-id", "10000042")
    event_id = service.accept(42)

    text = printed("orders", "show", order["id"])

    shown, _, events = text.partition("\n\n")
    assert fields(shown)["state"] == "received"
    [row] = cells(events)[1:]
    assert row[1:] == ["sms.received", "22000", "***", event_id]
    assert read("orders", "show", order["id"])["events"][0]["id"] == event_id


def test_orders_are_cancelled_after_a_failed_one():
    """Mutant: the first missing order ends the command."""
    orders = [read("orders", "add", "tellabot", "--request-id", f"5{n}")["id"] for n in range(2)]

    result = run("orders", "cancel", orders[0], ABSENT, orders[1])

    assert result.exit_code == 1
    assert result.stdout == "".join(f"{order} is cancelled\n" for order in orders)
    assert result.stderr == f"{ABSENT}: 404 not_found: no such order\n"
    assert {read("orders", "show", order)["state"] for order in orders} == {"cancelled"}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("list", "--state", "open"), "'open' is not one of"),
        (("add",), "Missing argument 'SOURCE'"),
        (("add", "tellabot"), "missing; give at least one to identify the order"),
        (("add", "tellabot", "--request-id", "a b"), "request_id: write the provider's id"),
        (("add", "tellabot", "--request-id", "1", "--label", "x"), "--label: write NAME=TEXT"),
        (("add", "tellabot", "--request-id", "1", "--currency", "USD"), "give --price too"),
        (("add", "tellabot", "--request-id", "1", "--expires", "soon"), "expires: write a time"),
        (("show", ".."), "write an id"),
        (("cancel",), "Missing argument 'ID...'"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_wrong_option_is_a_usage_error(arguments, said):
    result = run("orders", *arguments)

    assert (result.exit_code, result.stdout) == (2, "")
    assert said in result.stderr


def test_refusal_of_the_service_is_a_failure():
    printed("orders", "add", "tellabot", "--request-id", "77", "--reference", "a")

    differs = run("orders", "add", "tellabot", "--request-id", "77", "--reference", "b")
    nowhere = run("orders", "add", "tellabto", "--request-id", "77")

    assert (differs.exit_code, nowhere.exit_code) == (1, 2)
    assert differs.stderr.startswith(
        "409 order_differs: reference: conflicts with the stored order"
    )
    # Mutant: `422 unknown_source`, without the known names.
    assert nowhere.stderr.startswith("no source is named 'tellabto'; sources: ")
    assert nowhere.stderr.endswith("; did you mean 'tellabot'?\n")


def test_id_of_an_order_is_like_that_of_an_event():
    assert re.fullmatch(ID, read("orders", "add", "tellabot", "--request-id", "78")["id"])
