"""The log line of a delivery describes its event without a secret, also after a restart."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sinks.outcome import describe


def body(**data):
    event = {"id": "x", "type": "sms.received", "source": "tellabot", "data": data}
    return msgspec.json.encode(event)


@pytest.mark.parametrize(
    ("service", "said"),
    [
        ({"id": "go", "name": "Google", "key": "google"}, "Google"),
        ({"id": "zz", "name": None, "key": "zz"}, "zz"),
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
