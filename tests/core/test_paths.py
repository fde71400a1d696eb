import pytest

from core.paths import MISSING, order_at, parse, value_at

EVENT = {"id": "1", "data": {"service": None, "labels": {"a.b": "c"}, "price": {"amount": "1"}}}


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("id", ("id",)),
        ("data", ("data",)),
        ("data.from", ("data", "from")),
        ("data.service.key", ("data", "service", "key")),
        ("data.previous_rental_id", ("data", "previous_rental_id")),
        ("data.labels", ("data", "labels")),
        ("data.labels.anything.at-all", ("data", "labels", "anything.at-all")),
    ],
)
def test_path_is_split_into_names(text, names):
    assert parse(text) == names


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("data.cod", "no event has 'data.cod'; did you mean data.code?"),
        ("data.from_", "no event has 'data.from_'; did you mean data.from?"),
        ("code", "no event has 'code'; did you mean data.code?"),
        ("service.key", "no event has 'service.key'; did you mean data.service.key?"),
        ("tpye", "no event has 'tpye'; did you mean type?"),
        ("source.name", "source is a text, there is nothing below it; write source"),
        ("data.service.nmae", "no event has 'data.service.nmae'; did you mean data.service.name?"),
        ("data.price.digits", "no event has 'data.price.digits'; write amount, currency"),
        ("data.service..key", "'data.service..key' has a dot too many"),
        ("data.service.", "'data.service.' has a dot too many"),
        ("data.labels.", "'data.labels.' has a dot too many"),
    ],
)
def test_unknown_path_is_an_error_with_a_suggestion(text, complaint):
    with pytest.raises(ValueError) as error:
        parse(text)

    assert str(error.value) == complaint


@pytest.mark.parametrize(
    ("text", "list_of"),
    [
        ("", "attributes: specversion, id, source,"),
        ("xyzzy", "attributes: specversion, id, source,"),
        ("data.", "in data are provider, channel, labels,"),
        ("data.xyzzy", "in data are provider, channel, labels,"),
    ],
)
def test_unknown_path_without_a_near_match_lists_all(text, list_of):
    with pytest.raises(ValueError) as error:
        parse(text)

    assert list_of in str(error.value)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("id", "1"),
        ("data.service", None),
        ("data.service.key", MISSING),
        ("data.price.amount", "1"),
        ("data.price.amount.digits", MISSING),
        ("data.labels.a.b", "c"),
        ("data.text", MISSING),
        ("subject", MISSING),
    ],
)
def test_null_is_a_value_and_below_it_is_missing(text, value):
    assert value_at(EVENT, parse(text)) is value


@pytest.mark.parametrize("event", [{"data": {"to": None}}, {"data": {}}, {}])
def test_null_or_missing_value_has_no_order(event):
    """Mutant: null is one value for all, and one event that is refused holds back the rest."""
    assert order_at(event, ("data", "to")) is None


def test_order_is_the_json_of_the_value():
    assert order_at({"data": {"to": "+11"}}, ("data", "to")) == '"+11"'
    assert order_at({"data": {"labels": {"b": 1, "a": 2}}}, ("data", "labels")) == '{"a":2,"b":1}'
