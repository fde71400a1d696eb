"""The log line of a delivery describes its event without a secret, also after a restart."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from core.delivery import Attempt, Delivery, State
from sinks.lanes import Taken
from sinks.outcome import Outcome, describe, log_attempted, log_outcome


def body(**data):
    event = {"id": "x", "type": "sms.received", "source": "tellabot", "data": data}
    return msgspec.json.encode(event)


@pytest.mark.parametrize(
    ("service", "said"),
    [
        ({"id": "go", "name": "Google", "key": "google"}, "Google"),
        ({"id": "zz", "name": None, "key": "zz"}, "zz"),
        ({"id": "+18503814729", "name": None, "key": None}, "***"),  # mutant: as it is
        (None, None),
    ],
)
def test_description_has_type_source_and_service(service, said):
    event = body(service=service, code="123456", text="Your code is 123456", to="+18503814729")

    expected = {"type": "sms.received", "source": "tellabot", "service": said}
    assert describe(event) == expected


def test_description_works_without_a_service():
    assert describe(body())["service"] is None


@given(st.binary(max_size=50))
def test_description_of_other_data_is_empty(data):
    """Mutant: an exception, and the delivery's outcome is not logged."""
    assert describe(data) == {}


@pytest.mark.parametrize(
    ("state", "attempted", "said"),
    [
        (State.DEAD, True, [("delivery.attempted", 7), ("delivery.dead", 8)]),
        (State.EXPIRED, False, [("delivery.expired", 7)]),
    ],
)
def test_lines_of_an_end_name_their_lines_in_the_audit_log(state, attempted, said):
    """Mutant: the end has the number of its attempt."""
    delivery = Delivery(
        id=7, event_id="x", body=body(), sink="log", owner=1, attempts=0, accepted_at=1
    )
    refused = Attempt(at=1.0, outcome="failed", status=503, took_ms=1.0) if attempted else None

    with capture_logs() as logs:
        log_outcome(
            Taken(delivery, 0.0),
            Outcome(state=state, attempt=refused),
            sink="log",
            shown=str,
            accepted_at=1.0,
            log_attempted=log_attempted,
            leaf=7,
        )

    assert [(line["event"], line["leaf"]) for line in logs] == said


def unexpected(_number):
    raise AssertionError("a hidden line costs time")


def test_hidden_line_of_a_delivery_costs_no_work():
    """Mutant: the event is decoded and the id encrypted before the level is known."""
    delivery = Delivery(
        id=7, event_id="x", body=body(), sink="log", owner=1, attempts=0, accepted_at=1
    )
    delivered = Attempt(at=1.0, outcome="delivered", status=200, took_ms=1.0)

    log_outcome(
        Taken(delivery, 0.0),
        Outcome(state=State.DELIVERED, attempt=delivered),
        sink="log",
        shown=unexpected,
        accepted_at=1.0,
        log_attempted=None,
        leaf=None,
    )
