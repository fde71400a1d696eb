"""Fields at paths become events; an invalid field becomes null and loses no event."""

import json
from datetime import timedelta

import pytest
from normalizing import RECEIVED, Normalizer

from core.event import NumberAssigned, Price, Service
from core.secret import Secret
from receiver.callback import Callback, Key, Malformed, Number
from receiver.decode import decode
from receiver.providers.generic import Generic, Paths

SMS = {"id": "7", "text": "Your code is 804036", "from": "22000", "time": "2026-11-21T11:59:30Z"}


READ = Normalizer(Generic())
happening, refusal = READ.happening, READ.refusal


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
def test_path_leads_into_objects_and_lists(path, fields):
    source = Generic(fields=Paths(text=path))

    assert happening({"id": "7", **fields}, source).data.text == "1234"


@pytest.mark.parametrize("fields", [{}, {"a": None}, {"a": "x"}, {"a": []}, {"a": [1]}, {"a": {}}])
def test_path_to_a_missing_index_gives_null(fields):
    source = Generic(fields=Paths(text="a.5"))

    assert happening({"id": "7", "code": "1", **fields}, source).data.text is None


def test_any_case_finds_names_in_any_case():
    """Mutant: another case is found without `any_case`."""
    fields = {"ID": "7", "Data": {"TEXT": "1234"}}
    source = Generic(fields=Paths(text="data.text"), any_case=True)

    assert happening(fields, source).data.text == "1234"
    assert happening({**fields, "data": {"text": "5"}}, source).data.text == "5"
    assert refusal(fields, Generic(fields=Paths(text="data.text"))) == "identity"


@pytest.mark.parametrize("path", ["", ".", "a.", ".a", "a..b", "a b", "a\n", "x" * 129])
@pytest.mark.parametrize("name", ["id", "text", "from_", "event"])
def test_invalid_path_is_refused_at_start(path, name):
    with pytest.raises(ValueError, match=f"{name.rstrip('_')}: not a path"):
        Paths(**{name: path})


@pytest.mark.parametrize("id_", [None, "", " ", "0", "a\tb", [], Number("1.5"), "x" * 65])
def test_missing_identity_is_malformed(id_):
    assert refusal({**SMS, "id": id_}) == "identity"


def test_missing_text_and_code_are_malformed():
    assert refusal({"id": "7", "from": "22000"}) == "malformed"
    assert refusal({"id": "7", "text": "", "code": " "}) == "malformed"


@pytest.mark.parametrize("kind", ["request", "activation", "rental", "telephone"])
def test_subject_is_the_configured_kind(kind):
    said = happening(SMS, Generic(subject=kind))

    assert said.subject == f"{kind}/7"
    assert {
        name: getattr(said.data, f"{name}_id")
        for name in ("request", "activation", "rental", "telephone")
    } == {**dict.fromkeys(("request", "activation", "rental", "telephone")), kind: "7"}


def test_invalid_field_is_null_with_its_path_as_warning():
    source = Generic(fields=Paths(to="d.to"), currency="EUR")
    fields = {**SMS, "d": {"to": "nobody"}, "price": "free", "country": "Utopia", "time": "soon"}

    said = happening(fields, source)

    assert said.time is None
    assert (said.data.to, said.data.price, said.data.country) == (None, None, None)
    assert sorted(said.data.warnings) == ["country", "d.to", "price", "time"]


def test_price_service_and_national_number_are_read():
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


def test_message_with_an_id_is_identified_by_it_alone():
    """Mutants: id and time in the key, so that a corrected time is another event; no subject."""
    source = Generic(fields=Paths(message="m"))
    first = happening({**SMS, "m": "42"}, source).keys

    assert first == (Key(second=42, parts=("sms.received", "request/7", "msg", "42")),)
    assert happening({**SMS, "m": "42", "time": "1795262400", "text": "x"}, source).keys == first
    assert happening({**SMS, "m": "evt_01"}, source).keys[0].second == 0
    assert happening({**SMS, "m": "42", "id": "8"}, source).keys != first


def test_message_without_an_id_has_time_and_words_as_key():
    source = Generic(fields=Paths(message="m"))

    keys = {
        happening({**SMS, **other}).keys
        for other in ({}, {"time": "1795262400"}, {"text": "1234"}, {"from": "x"}, {"id": "8"})
    }

    assert len(keys) == 5
    assert happening(SMS, source).keys == happening(SMS).keys


def test_copy_without_a_time_is_recognized_for_an_hour():
    untimed = {**SMS, "time": ""}
    first = set(happening(untimed).keys)

    assert first & set(happening(untimed, received=RECEIVED + timedelta(hours=1)).keys)
    assert not first & set(happening(untimed, received=RECEIVED + timedelta(days=1)).keys)


def test_corrected_zone_makes_no_retry_a_new_event():
    naive = {**SMS, "time": "2026-11-21 11:00:00"}

    assert len({happening(naive, Generic(timezone=z)).keys for z in ("UTC", "Asia/Tokyo")}) == 1


KINDS = Generic(
    fields=Paths(event="e.kind"),
    types={"new_sms": "sms.received", "ready": "number.assigned"},
)


def test_event_names_of_the_provider_are_mapped():
    assigned = happening({"id": "7", "e": {"kind": "ready"}, "to": "18503814729"}, KINDS)

    assert isinstance(assigned.data, NumberAssigned)
    assert (assigned.subject, assigned.data.request_id) == ("request/7", "7")
    assert assigned.data.to == "+18503814729"
    assert assigned.keys == (Key(parts=("number.assigned", "request/7")),)
    assert happening({**SMS, "e": {"kind": "new_sms"}}, KINDS).data.type == "sms.received"


@pytest.mark.parametrize("kind", ["sms", "", None, []])
def test_unmapped_event_is_malformed(kind):
    """Mutant: an event that is not mapped is an SMS."""
    assert refusal({**SMS, "e": {"kind": kind}}, KINDS) == "unknown_event"


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"timezone": "Mars/Olympus"}, "not a time zone"),
        ({"region": "USA"}, "region: 'USA' is not a country"),
        ({"types": {"a": "sms.received"}}, "types: belongs to fields.event"),
        ({"fields": Paths(event="e")}, "types: belongs to fields.event"),
        ({"standard": (Secret("secret"),)}, "standard: not whsec_"),
        ({"standard_prefix": "svix id"}, "standard_prefix: not the beginning"),
        ({"each": "a..b"}, "each: not a path"),
        ({"each": ""}, "each: not a path"),
    ],
)
def test_invalid_option_is_refused_at_start(options, complaint):
    with pytest.raises(ValueError, match=complaint):
        Generic(**options)


def test_sample_has_its_fields_at_the_paths():
    source = Generic(fields=Paths(id="d.id", text="d.sms.text", event="e"), types=KINDS.types)
    body = source.sample("sms", "json", number=1, now=RECEIVED).body

    assert b'"d":{' in body
    assert b'"e":"new_sms"' in body


@pytest.mark.parametrize("id_", ["SIM 1", "Vodafone DE", "Pixel 7 (work)", " SIM 1 "])
def test_identity_may_have_blanks(id_):
    """Mutant: a phone's name is no identity, and all its messages are quarantined."""
    said = happening({**SMS, "id": id_, "m": "a b"}, Generic(fields=Paths(message="m")))

    assert said.subject == f"request/{id_.strip()}"
    assert (said.data.request_id, said.data.message_id) == (id_.strip(), "a b")
    assert said.data.warnings == ()


@pytest.mark.parametrize(
    ("country", "code"),
    [
        ("US", "US"),
        ("us", "US"),
        ("USA", "US"),
        ("United States", "US"),
        ("united states of america", "US"),
        ("UK", "GB"),
        ("Great Britain", "GB"),
        ("United Kingdom", "GB"),
        ("Germany", "DE"),
        ("Côte d'Ivoire", "CI"),
        ("Trinidad & Tobago", "TT"),
        ("The Netherlands", "NL"),
        ("Türkiye", "TR"),
        ("Kosovo", "XK"),
        ("GI", "GI"),
        ("Utopia", None),
        ("XX", None),
        ("x" * 81, None),
        (Number("7"), None),
    ],
)
def test_country_is_read_by_code_or_english_name(country, code):
    """Mutants: any two letters are a country; names in one spelling only."""
    said = happening({**SMS, "country": country})

    assert said.data.country == code
    assert said.data.warnings == (() if code else ("country",))


# Several messages in one callback

EACH = Generic(each="results", fields=Paths(id="sim", message="id", to="$.to"))
ITEM = {"sim": "1", "id": "a", "text": "code 1111"}


def happenings(fields, source=EACH):
    callback = Callback(headers=(), body=b"", peer="192.0.2.7", received=RECEIVED)
    return source.normalize(fields, callback)


def test_each_item_of_a_list_is_an_event_in_its_order():
    """Mutants: only the first item; paths of the whole body are read in the item."""
    items = [ITEM | {"id": name, "text": f"code {name}111"} for name in "123"]

    said = happenings({"to": "18503814729", "results": items})

    assert [it.data.message_id for it in said] == ["1", "2", "3"]
    assert [it.data.code for it in said] == ["1111", "2111", "3111"]
    assert {it.data.to for it in said} == {"+18503814729"}


@pytest.mark.parametrize(
    ("results", "ids"),
    [
        ([ITEM], ["a"]),
        (ITEM, ["a"]),
        ({"0": ITEM, "2": ITEM | {"id": "b"}}, ["a", "b"]),
    ],
)
def test_list_of_messages_may_be_written_as_an_object(results, ids):
    assert [it.data.message_id for it in happenings({"results": results})] == ids


@pytest.mark.parametrize("body", [[ITEM, ITEM | {"id": "b"}], ITEM])
def test_body_may_be_the_list(body):
    source = Generic(each=".", fields=Paths(id="sim", message="id"))
    fields = decode(
        json.dumps(body).encode(),
        content_encoding=None,
        encodings=source.encodings,
        lists=source.takes_lists,
    )

    found = [it.data.message_id for it in happenings(fields, source)]
    assert found == (["a", "b"] if isinstance(body, list) else ["a"])


@pytest.mark.parametrize(
    ("results", "reason"),
    [
        ([ITEM, {"text": "code 1111"}], "identity"),
        ([ITEM, {"sim": "1"}], "malformed"),
        ([ITEM, "x"], "malformed"),
        ([ITEM, [ITEM]], "malformed"),
        ([ITEM] * 501, "malformed"),
        ("x", "malformed"),
        (None, "malformed"),
        ([], "empty"),
        ({}, "empty"),
    ],
)
def test_one_bad_item_makes_the_callback_malformed(results, reason):
    """All items or no item. Mutant: the good items are recorded, and the bad one is lost."""
    with pytest.raises(Malformed) as refused:
        happenings({"results": results})
    assert refused.value.reason == reason


def test_list_is_refused_unless_configured():
    with pytest.raises(Malformed):
        decode(b"[]", content_encoding=None, encodings=Generic.encodings)


def test_steps_of_reading_a_list_grow_with_its_items():
    """Mutant: a path of the whole body is looked up again for each item."""
    steps = {}
    for count in (50, 100, 200, 400):
        top = Counted({"to": "18503814729", "results": [ITEM] * count})
        happenings(top)
        steps[count] = top.steps

    assert len(set(steps.values())) == 1


class Counted(dict):
    """Fields that count lookups."""

    steps = 0

    def get(self, *args):
        self.steps += 1
        return super().get(*args)

    def __contains__(self, key):
        self.steps += 1
        return super().__contains__(key)


@pytest.mark.parametrize("each", ["results", "data.messages", "."])
def test_sample_with_each_is_a_list(each):
    source = Generic(each=each, fields=Paths(to="$.to", id="sim.id"))
    sample = source.sample("sms", "form", number=1, now=RECEIVED)
    fields = decode(
        sample.body, content_encoding=None, encodings=source.encodings, lists=source.takes_lists
    )

    [said] = happenings(fields, source)

    assert sample.content_type == "application/json"
    assert said.subject == "request/10000002"


FIRST = Generic(fields=Paths(id="r.0.id", text="r.0.text", to="r.0.to", service="service"))


def test_path_to_the_first_item_loses_no_other():
    """Mutant: only the first message, and the others are lost silently."""
    items = [{"id": "1", "text": "code 1111"}, {"id": "2", "text": "code 2222", "to": "x"}]

    said = happenings({"r": items, "service": "Google"}, FIRST)

    assert [(it.data.request_id, it.data.code) for it in said] == [("1", "1111"), ("2", "2222")]
    assert [it.data.warnings for it in said] == [(), ("r.0.to",)]
    assert {it.data.service.key for it in said} == {"google"}


def test_invalid_item_beside_the_first_is_a_warning():
    """An attachment must not lose the message. Mutant: the callback is quarantined."""
    [said] = happenings({"r": [{"id": "1", "text": "code 1111"}, {"type": "image"}, 7]}, FIRST)

    assert said.data.warnings == ("r",)


def test_body_may_be_a_list_if_a_path_begins_with_a_number():
    source = Generic(fields=Paths(id="0.message.id", text="0.message.text", code=None))
    messages = [{"message": {"id": name, "text": f"code {name}"}} for name in ("1111", "2222")]
    fields = decode(
        json.dumps(messages).encode(),
        content_encoding=None,
        encodings=source.encodings,
        lists=source.takes_lists,
    )

    assert [it.data.request_id for it in happenings(fields, source)] == ["1111", "2222"]


def test_id_of_the_first_message_is_not_shared():
    """Mutant: the second message is a duplicate of the first."""
    source = Generic(fields=Paths(id="to", message="m", text="r.0"))
    items = {"to": "7", "m": "42", "r": ["code 1111"]}
    listed = Generic(fields=Paths(id="to", message="m", text="r.0.t"))

    assert len(happenings(items, source)) == 1
    first, second = happenings({**items, "r": [{"t": "1111"}, {"t": "2222"}]}, listed)
    assert (first.data.message_id, second.data.message_id) == ("42", None)
    assert set(first.keys).isdisjoint(second.keys)
