"""The explanation of a filter names the clause that fails."""

import pytest
from filters import JSON, filters
from hypothesis import example, given
from hypothesis import strategies as st

from core.paths import MISSING
from routes.explain import Finding, explain
from routes.match import compile_filter, compile_when
from routes.table import Route, compile_table

EVENT = {
    "type": "sms.received",
    "data": {
        "to": "+18503814729",
        "from": "22000",
        "country": "US",
        "service": {"id": "Google", "name": "Google", "key": "google"},
        "price": {"amount": "1.20", "currency": None},
        "code": "G-804036",
        "urls": ["https://a.example/1", "https://b.example/2"],
    },
}


def found(when, event=EVENT):
    return explain(compile_filter(when, "routes.r.when"), event)


def fails(clause, wanted, saw):
    return Finding(clause=clause, holds=False, wanted=wanted, saw=saw)


def holds(clause, wanted, saw):
    return Finding(clause=clause, holds=True, wanted=wanted, saw=saw)


# The clause and what it saw


@pytest.mark.parametrize(
    ("when", "finding"),
    [
        ({"data.country": "GB"}, fails("data.country", "GB", "US")),
        ({"data.country": ["GB", "FR"]}, fails("data.country", ["GB", "FR"], "US")),
        (
            {"data.price.amount": {"$gte": 1.5}},
            fails("data.price.amount.$gte", 1.5, "1.20"),
        ),
        (
            {"data.service.key": {"$startsWith": "whats"}},
            fails("data.service.key.$startsWith", "whats", "google"),
        ),
        ({"data.price.currency": "USD"}, fails("data.price.currency", "USD", None)),
        (
            {"data.urls": {"$endsWith": "/3"}},
            fails("data.urls.$endsWith", "/3", ["https://a.example/1", "https://b.example/2"]),
        ),
        ({"data.request_id": "1"}, fails("data.request_id", "1", MISSING)),
        ({"data.code.x": {"$exists": True}}, fails("data.code.x.$exists", True, MISSING)),
        ({"data.code": {"$not": "G-804036"}}, fails("data.code.$not", "G-804036", "G-804036")),
    ],
    ids=str,
)
def test_failing_clause_is_shown_with_wanted_and_seen_value(when, finding):
    """Mutant: a missing path is shown as null."""
    assert found(when) == finding


def test_former_key_is_explained_with_the_events_value():
    """Mutant: all spellings shown, which the event does not have."""
    event = {"data": {"service": {"key": "line"}}}

    assert found({"data.service.key": "linemessenger"}, event) is None
    assert found({"data.service.key": "wechat"}, event) == fails(
        "data.service.key", "wechat", "line"
    )


def test_matching_event_has_no_explanation():
    assert found({}) is None
    assert found({"data.country": "US", "data.code": {"$ne": None}}) is None


def test_first_failing_clause_is_shown_in_written_order():
    """Mutant: the last one, or all of them."""
    when = {
        "data.country": "US",
        "data.price.amount": {"$gte": 1, "$lt": 1.1},
        "data.code": "another",
    }

    assert found(when) == fails("data.price.amount.$lt", 1.1, "1.20")


# Joined


def test_and_shows_its_first_failing_clause():
    when = {"$and": [{"data.country": "US"}, {"data.code": "1", "data.to": "2"}]}

    assert found(when) == fails("$and[1].data.code", "1", "G-804036")


def test_or_shows_the_first_failing_clause_of_each_branch():
    """Mutant: the last branch alone."""
    branches = [
        {"data.country": "GB"},
        {"data.country": "US", "data.code": "1", "data.to": "2"},
    ]

    assert found({"$or": branches}) == Finding(
        clause="$or",
        holds=False,
        wanted=branches,
        below=(
            fails("$or[0].data.country", "GB", "US"),
            fails("$or[1].data.code", "1", "G-804036"),
        ),
    )


def test_or_in_a_condition_shows_each_branch():
    either = ["GB", {"$startsWith": "F"}]

    assert found({"data.country": {"$or": either}}) == Finding(
        clause="data.country.$or",
        holds=False,
        wanted=either,
        below=(
            fails("data.country.$or[0]", "GB", "US"),
            fails("data.country.$or[1].$startsWith", "F", "US"),
        ),
    )


def test_not_shows_the_clause_that_matched():
    """Mutant: its first clause alone, where it takes both to hold."""
    inner = {"data.country": "US", "data.from": {"$regex": "^[0-9]{1,7}$"}}

    assert found({"$not": inner}) == Finding(
        clause="$not",
        holds=False,
        wanted=inner,
        below=(
            holds("$not.data.country", "US", "US"),
            holds("$not.data.from.$regex", "^[0-9]{1,7}$", "22000"),
        ),
    )


def test_negated_or_shows_the_branch_that_matched():
    inner = {"$or": [{"data.country": "GB"}, {"data.country": "US"}]}

    assert found({"$not": inner}) == Finding(
        clause="$not",
        holds=False,
        wanted=inner,
        below=(holds("$not.$or[1].data.country", "US", "US"),),
    )


def test_double_not_shows_the_failing_clause():
    inner = {"$not": {"data.country": "GB"}}

    assert found({"$not": inner}) == Finding(
        clause="$not",
        holds=False,
        wanted=inner,
        below=(
            Finding(
                clause="$not.$not",
                holds=True,
                wanted={"data.country": "GB"},
                below=(fails("$not.$not.data.country", "GB", "US"),),
            ),
        ),
    )


# Routes


def test_route_without_a_filter_fails_on_the_type():
    [route] = compile_table({"everything": Route(to=("log",))})

    taken = explain(route.when, {"type": "rental.renewed"})
    left = explain(route.when, {"type": "order.expired"})

    assert taken is None
    beginnings = ["sms.*", "call.*", "rental.*", "number.*", "account.*"]
    assert left == fails("type", beginnings, "order.expired")


# It agrees with the filter

FILTERS = filters(["type", "data.code", "data.service", "data.service.id", "data.urls"])
EVENTS = st.fixed_dictionaries(
    {"type": st.sampled_from(["sms.received", "US", "1"])},
    optional={
        "data": st.dictionaries(st.sampled_from(["code", "service", "urls"]), JSON, max_size=3)
    },
)


@pytest.mark.uncounted
@given(when=FILTERS, event=EVENTS)
@example(when={"$not": {}}, event={"type": "x"})
@example(when={"$not": {"$not": {}}}, event={"type": "x"})
def test_explanation_exists_only_without_a_match(when, event):
    """Mutant: `$or` decided by its first branch; `$not` that forgets to turn its answer."""
    matches = compile_when(when, "when")(event)

    finding = found(when, event)

    assert (finding is None) is matches
    assert finding is None or (finding.clause != "" and not finding.holds)


@pytest.mark.uncounted
@given(when=FILTERS, event=EVENTS)
def test_explained_clause_is_in_the_filter(when, event):
    """Mutant: places counted from the configuration's root, or an operand of a neighbour."""
    finding = found(when, event)

    for each in every(finding):
        assert at(when, each.clause) == each.wanted


def every(finding):
    if finding is not None:
        yield finding
        for below in finding.below:
            yield from every(below)


def at(written, place):
    """Return the configured value at a place; a key may have dots."""
    while place:
        if place[0] == "[":
            index, _, place = place[1:].partition("]")
            written, place = written[int(index)], place.removeprefix(".")
            continue
        key = max((key for key in written if place.startswith(key)), key=len)
        written, place = written[key], place[len(key) :].removeprefix(".")
    return written


@given(type_=st.sampled_from(["sms.x", "call.x", "order.x", "smsx", "", None, 5]) | st.text())
def test_route_without_a_filter_agrees_with_its_explanation(type_):
    [route] = compile_table({"everything": Route(to=("log",))})
    event = {"type": type_}

    assert (explain(route.when, event) is None) is route.matches(event)
