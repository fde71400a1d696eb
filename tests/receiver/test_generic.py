"""Fields found by paths become events; what makes no sense costs the field, not the event."""

from datetime import UTC, datetime, timedelta

import pytest

from journal.event import NumberAssigned, Price, Service
from journal.quantity import Secret
from receiver.providers.generic import Generic, Paths
from receiver.source import Callback, Key, Malformed, Number

RECEIVED = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
SMS = {"id": "7", "text": "Your code is 804036", "from": "22000", "time": "2026-11-21T11:59:30Z"}


def happening(fields, source=None, *, received=RECEIVED):
    callback = Callback(headers=(), body=b"", peer="192.0.2.7", received=received)
    [only] = (source or Generic()).normalize(fields, callback)
    return only


def refusal(fields, source=None):
    with pytest.raises(Malformed) as refused:
        happening(fields, source)
    return refused.value.reason


@pytest.mark.parametrize(
    ("path", "fields"),
    [
        ("text", {"text": "1234"}),
        ("a.b.c", {"a": {"b": {"c": "1234"}}}),
        ("a.1.b", {"a": [{}, {"b": "1234"}]}),
        ("a.0", {"a": {"0": "1234"}}),
        ("a.b", {"a.b": "1234", "a": {"b": "5678"}}),
        ("ä", {"ä": "1234"}),
    ],
)
def test_a_path_leads_into_objects_and_lists(path, fields):
    source = Generic(fields=Paths(text=path))

    assert happening({"id": "7", **fields}, source).data.text == "1234"


@pytest.mark.parametrize("fields", [{}, {"a": None}, {"a": "x"}, {"a": []}, {"a": [1]}, {"a": {}}])
def test_a_path_that_leads_nowhere_finds_nothing(fields):
    source = Generic(fields=Paths(text="a.5"))

    assert happening({"id": "7", "code": "1", **fields}, source).data.text is None


def test_names_are_found_in_any_case_on_request():
    """Mutant: another case found although it was not asked for."""
    fields = {"ID": "7", "Data": {"TEXT": "1234"}}
    source = Generic(fields=Paths(text="data.text"), any_case=True)

    assert happening(fields, source).data.text == "1234"
    assert happening({**fields, "data": {"text": "5"}}, source).data.text == "5"
    assert refusal(fields, Generic(fields=Paths(text="data.text"))) == "identity"


@pytest.mark.parametrize("path", ["", ".", "a.", ".a", "a..b", "a b", "a\n", "x" * 129])
@pytest.mark.parametrize("name", ["id", "text", "from_", "event"])
def test_what_is_no_path_is_refused_at_start(path, name):
    with pytest.raises(ValueError, match=f"{name.rstrip('_')}: not a path"):
        Paths(**{name: path})


@pytest.mark.parametrize("id_", [None, "", "0", "a b", [], Number("1.5"), "x" * 65])
def test_without_an_identity_there_is_no_event(id_):
    assert refusal({**SMS, "id": id_}) == "identity"


def test_without_text_and_code_there_is_no_event():
    assert refusal({"id": "7", "from": "22000"}) == "malformed"
    assert refusal({"id": "7", "text": "", "code": " "}) == "malformed"


@pytest.mark.parametrize("kind", ["request", "activation", "rental", "telephone"])
def test_the_subject_is_what_the_id_is_said_to_be_of(kind):
    said = happening(SMS, Generic(subject=kind))

    assert said.subject == f"{kind}/7"
    assert {
        name: getattr(said.data, f"{name}_id")
        for name in ("request", "activation", "rental", "telephone")
    } == {**dict.fromkeys(("request", "activation", "rental", "telephone")), kind: "7"}


def test_fields_that_make_no_sense_cost_the_field_and_are_named_by_their_paths():
    source = Generic(fields=Paths(to="d.to"), currency="EUR")
    fields = {**SMS, "d": {"to": "nobody"}, "price": "free", "country": "USA", "time": "soon"}

    said = happening(fields, source)

    assert said.time is None
    assert (said.data.to, said.data.price, said.data.country) == (None, None, None)
    assert sorted(said.data.warnings) == ["country", "d.to", "price", "time"]


def test_a_price_a_service_and_a_national_number_are_read():
    fields = {**SMS, "to": "(850) 381-4729", "price": Number("1.20"), "service": "Google,x"}

    said = happening(fields, Generic(region="US", currency="EUR")).data

    assert (said.to, said.price) == ("+18503814729", Price(amount="1.20", currency="EUR"))
    assert said.service == Service(id="Google,x", name=None, key="google")


@pytest.mark.parametrize(
    ("time", "expected", "time_from"),
    [
        ("2026-11-21T11:00:00.25+01:00", "2026-11-21T10:00:00.25Z", "provider"),
        ("1795262400", "2026-11-21T12:00:00Z", "provider"),
        (Number("1795262400"), "2026-11-21T12:00:00Z", "provider"),
        ("1795262400123", "2026-11-21T12:00:00.123Z", "provider"),
        ("2026-11-21 12:00:00", "2026-11-21T09:00:00Z", "timezone"),
        ("2026-11-21 07:05:09am", "2026-11-21T04:05:09Z", "timezone"),
        ("2026-11-21 07:05:09 PM", "2026-11-21T16:05:09Z", "timezone"),
        ("2026-11-21 12:05:09am", "2026-11-20T21:05:09Z", "timezone"),
        ("2026-11-21 12:05:09pm", "2026-11-21T09:05:09Z", "timezone"),
        ("2026-11-21 13:05:09pm", "2026-11-21T10:05:09Z", "timezone"),
        ("2026-11-21 13:05:09am", None, "received"),
        ("2026-11-21 99:05:09pm", None, "received"),
        ("17952624001234", None, "received"),
    ],
)
def test_times_are_read_as_providers_write_them(time, expected, time_from):
    """Mutant: twelve at night is noon."""
    said = happening({**SMS, "time": time}, Generic(timezone="Europe/Moscow"))

    assert (said.time, said.data.time_from) == (expected, time_from)


def test_where_a_message_has_an_id_it_is_known_by_that_alone():
    """Mutants: the time beside it, and a corrected one is another event; the id without subject."""
    source = Generic(fields=Paths(message="m"))
    first = happening({**SMS, "m": "42"}, source).keys

    assert first == (Key(second=42, parts=("sms.received", "request/7", "msg", "42")),)
    assert happening({**SMS, "m": "42", "time": "1795262400", "text": "x"}, source).keys == first
    assert happening({**SMS, "m": "evt_01"}, source).keys[0].second == 0
    assert happening({**SMS, "m": "42", "id": "8"}, source).keys != first


def test_where_the_id_is_missing_time_and_words_tell_messages_apart():
    source = Generic(fields=Paths(message="m"))

    keys = {
        happening({**SMS, **other}).keys
        for other in ({}, {"time": "1795262400"}, {"text": "1234"}, {"from": "x"}, {"id": "8"})
    }

    assert len(keys) == 5
    assert happening(SMS, source).keys == happening(SMS).keys


def test_without_a_time_a_copy_is_known_for_an_hour():
    untimed = {**SMS, "time": ""}
    first = set(happening(untimed).keys)

    assert first & set(happening(untimed, received=RECEIVED + timedelta(hours=1)).keys)
    assert not first & set(happening(untimed, received=RECEIVED + timedelta(days=1)).keys)


def test_correcting_the_zone_makes_no_retry_a_new_event():
    naive = {**SMS, "time": "2026-11-21 11:00:00"}

    assert len({happening(naive, Generic(timezone=z)).keys for z in ("UTC", "Asia/Tokyo")}) == 1


KINDS = Generic(
    fields=Paths(event="e.kind"),
    types={"new_sms": "sms.received", "ready": "number.assigned"},
)


def test_what_the_provider_calls_its_events_is_mapped():
    assigned = happening({"id": "7", "e": {"kind": "ready"}, "to": "18503814729"}, KINDS)

    assert isinstance(assigned.data, NumberAssigned)
    assert (assigned.subject, assigned.data.request_id) == ("request/7", "7")
    assert assigned.data.to == "+18503814729"
    assert assigned.keys == (Key(parts=("number.assigned", "request/7")),)
    assert happening({**SMS, "e": {"kind": "new_sms"}}, KINDS).data.type == "sms.received"


@pytest.mark.parametrize("kind", ["sms", "", None, []])
def test_an_event_that_is_not_mapped_waits_in_quarantine(kind):
    """Mutant: what is not mapped is an SMS."""
    assert refusal({**SMS, "e": {"kind": kind}}, KINDS) == "unknown_event"


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"timezone": "Mars/Olympus"}, "no time zone"),
        ({"region": "USA"}, "region: 'USA' is no country"),
        ({"types": {"a": "sms.received"}}, "types: belongs to fields.event"),
        ({"fields": Paths(event="e")}, "types: belongs to fields.event"),
        ({"standard": (Secret("secret"),)}, "standard: not whsec_"),
    ],
)
def test_what_cannot_be_meant_is_refused_at_start(options, complaint):
    with pytest.raises(ValueError, match=complaint):
        Generic(**options)


def test_a_sample_has_its_fields_where_the_mapping_says():
    source = Generic(fields=Paths(id="d.id", text="d.sms.text", event="e"), types=KINDS.types)
    body = source.sample("sms", "json", number=1, now=RECEIVED).body

    assert b'"d":{' in body
    assert b'"e":"new_sms"' in body
