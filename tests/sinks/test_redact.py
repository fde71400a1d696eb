import copy

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sinks.redact import compile_redact, mask, masked_paths
from sinks.sink import Sink

EVENT = {
    "specversion": "1.0",
    "id": "1",
    "source": "tellabot",
    "type": "sms.received",
    "data": {
        "labels": {"team": "growth"},
        "to": "+18503814729",
        "from": None,
        "service": {"id": "Google", "name": "Google", "key": "google"},
        "text": "G-804036 is your code, see https://example.com/é",
        "code": "G-804036",
        "urls": ["https://example.com/é", "https://example.com/2"],
        "warnings": [],
        "sample": False,
    },
}
AS_LIST = "paths are written as a list, such as [data.price]"
BODY = msgspec.json.encode(EVENT)


def masked(option):
    return msgspec.json.decode(compile_redact(option)(BODY))["data"]


def test_codes_mask_text_code_and_urls_only():
    expected = EVENT["data"] | {"text": "***", "code": "***", "urls": ["***"]}

    assert masked("codes") == expected


def test_people_mask_codes_and_both_numbers():
    expected = EVENT["data"] | {
        "text": "***",
        "code": "***",
        "urls": ["***"],
        "to": "***",
        "from": None,
    }

    assert masked("people") == expected


@pytest.mark.parametrize(
    ("path", "changed"),
    [
        ("data.from", {}),
        ("data.warnings", {}),
        ("data.price.amount", {}),
        ("data.text.below", {}),
        ("data.labels.team", {"labels": {"team": "***"}}),
        ("data.labels.other", {}),
        ("data.service", {"service": "***"}),
        ("data.service.name", {"service": {"id": "Google", "name": "***", "key": "google"}}),
        ("data.sample", {"sample": "***"}),
    ],
)
def test_path_masks_its_own_value_only(path, changed):
    """Null and an empty list stay: they are no secret, and a reader needs them."""
    assert masked((path,)) == EVENT["data"] | changed


def test_attribute_of_the_event_can_be_masked():
    event = mask({"id": "1", "subject": "request/1"}, masked_paths(("subject",)))

    assert event == {"id": "1", "subject": "***"}


@given(option=st.sampled_from(["codes", "people", ("data.labels.team", "data.labels"), ()]))
def test_masking_copies_the_event_in_order(option):
    before = copy.deepcopy(EVENT)

    after = mask(EVENT, masked_paths(option))

    assert EVENT == before
    assert (list(after), list(after["data"])) == (list(before), list(before["data"]))


def test_masked_json_stays_compact():
    redact = compile_redact(("data.sample",))

    assert redact(BODY) == BODY.replace(b'"sample":false', b'"sample":"***"')


@pytest.mark.parametrize("option", [None, ()])
def test_no_redaction_compiles_to_none(option):
    assert compile_redact(option) is None


@pytest.mark.parametrize(
    ("option", "complaint"),
    [
        (
            "code",
            f"redact: 'code' is not one of codes, people; {AS_LIST}",
        ),
        (("data.cod",), "redact: no event has 'data.cod'; did you mean data.code?"),
        (("code",), "redact: no event has 'code'; did you mean data.code?"),
        (("",), None),
        (("data.text.",), "redact: 'data.text.' has a dot too many"),
        (("id",), "redact: id cannot be masked, receivers need it; leave it out"),
        (("source",), "redact: source cannot be masked, receivers need it; leave it out"),
        (("type",), "redact: type cannot be masked, receivers need it; leave it out"),
        (("specversion",), "redact: specversion cannot be masked, receivers need it; leave it out"),
    ],
)
def test_wrong_redact_option_gets_a_hint(option, complaint):
    """Mutant: an unknown path is ignored, and the secret is sent in clear."""
    with pytest.raises(ValueError, match=r"redact: ") as error:
        compile_redact(option)

    assert complaint in {None, str(error.value)}


def test_sink_with_a_wrong_redact_option_is_refused():
    with pytest.raises(ValueError, match=r"redact: no event has 'data.cod'"):
        Sink(redact=("data.cod",))
