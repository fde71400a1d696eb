"""The index finds the same filters as a test of each filter."""

import msgspec
import pytest
from filters import filters
from hypothesis import example, given
from hypothesis import strategies as st

from routes.index import FilterIndex, is_tried_always
from routes.match import compile_filter

#: Values that are equal in several ways: numbers as texts, and spellings of one service.
SAME = [1, "1", "1.0", "US", "bip", "gorzdrav", None]
WANTED = st.sampled_from(SAME)
SENT = WANTED | st.lists(WANTED | st.lists(WANTED, max_size=1), max_size=2) | st.just({"key": 1})
PATHS = [
    *("type", "source", "data.to", "data.request_id", "data.urls", "data.urls.deep"),
    *("data.service.key", "data.service.name", "data.labels.team", "data.labels.a.b"),
]
WHENS = st.lists(
    st.dictionaries(st.sampled_from(PATHS), WANTED, min_size=1, max_size=1)
    | filters(PATHS, WANTED),
    max_size=6,
)


def sent(*names, **others):
    """Return mappings with these fields. Any of them may be missing, or have another shape."""
    return SENT | st.fixed_dictionaries({}, optional=dict.fromkeys(names, SENT) | others)


EVENTS = st.fixed_dictionaries(
    {
        **dict.fromkeys(("type", "source"), SENT),
        "data": sent(
            *("to", "request_id", "urls"),
            service=sent("key", "name"),
            labels=sent("team", "a.b", "other"),
        ),
    }
)


def index_of(whens):
    return FilterIndex((compile_filter(when, "when"), at) for at, when in enumerate(whens))


def tried(whens, event):
    """Return the places of the filters that match, by a test of each."""
    return [at for at, when in enumerate(whens) if compile_filter(when, "when").holds(event)]


@given(whens=WHENS, events=st.lists(EVENTS, max_size=4))
@example(whens=[{"data.request_id": 1}], events=[{"data": {"request_id": "1.0"}}])
@example(whens=[{"data.urls": "US"}], events=[{"data": {"urls": ["1", "US"]}}])
@example(whens=[{"data.service.key": "bip"}], events=[{"data": {"service": {"key": "gorzdrav"}}}])
@example(whens=[{"type": "a"}, {}, {"source": ["b"]}], events=[{"type": "a", "source": "b"}])
@example(whens=[{"$or": [{"type": "a"}, {"source": "b"}]}], events=[{"source": "b"}])
def test_index_finds_what_a_test_of_each_filter_finds(whens, events):
    """Mutants, each of which loses a match or invents one.

    A number is no key of a text; a list has no keys of its items; former spellings of a service
    are no keys; a key of `$ne` or below `$not`; one branch of `$or` without a key, or only the
    first; null as a key; `$in` of a text; `$eq` of a list; a candidate is not tested.
    """
    index = index_of(whens)

    for event in events:
        assert list(index.matching(event)) == tried(whens, event)


@given(
    whens=WHENS,
    kept=st.lists(st.booleans(), min_size=6, max_size=6),
    event=EVENTS,
)
@example(whens=[{"type": ["a", "b"]}], kept=[False], event={"type": "b"})
@example(whens=[{"type": 1}, {"type": "a"}], kept=[True, False], event={"type": "1"})
def test_removed_filter_is_found_no_more(whens, kept, event):
    """Mutants: an entry stays under one of its keys; its neighbour goes with it."""
    index = FilterIndex()
    entries = [index.add(compile_filter(when, "when"), at) for at, when in enumerate(whens)]
    for entry in entries:
        if not kept[entry.value]:
            index.remove(entry)

    assert list(index.matching(event)) == [at for at in tried(whens, event) if kept[at]]


def test_filter_is_removed_once():
    index = FilterIndex()
    for when in ({}, {"type": "sms.received"}):
        entry = index.add(compile_filter(when, "when"), 1)
        index.remove(entry)
        with pytest.raises(KeyError):
            index.remove(entry)


KEYED = [
    {"type": "sms.received"},
    {"type": ["sms.received", "call.received"]},
    {"data.to": {"$eq": "+18505550100", "$ne": "x"}},
    {"data.to": {"$in": ["+18505550100"]}},
    {"data.request_id": 10000001},
    {"data.labels.team": "growth", "data.text": {"$regex": "code"}},
    {"$and": [{"data.code": {"$ne": None}}, {"data.service.key": "google"}]},
    {"$or": [{"source": "tellabot"}, {"data.reference": "a", "data.code": {"$ne": None}}]},
    {"data.country": {"$or": ["US", {"$in": ["DE", "GB"]}]}},
]
UNKEYED = [
    {},
    {"type": {"$startsWith": "sms."}},
    {"data.to": {"$ne": "+18505550100"}},
    {"data.to": {"$not": "+18505550100"}},
    {"$not": {"data.to": "+18505550100"}},
    {"data.to": {"$in": "+1850"}},
    {"data.to": {"$nin": ["+18505550100"]}},
    {"data.code": {"$exists": False}},
    {"data.reference": None},
    {"data.reference": ["a", None]},
    {"data.sample": False},
    {"data.urls": {"$eq": ["https://a.example"]}},
    {"$or": [{"source": "tellabot"}, {"data.code": {"$ne": None}}]},
    {"data.urls.no.event.has.this": "a"},
]


@pytest.mark.parametrize("when", KEYED)
def test_filter_with_an_equality_clause_is_filed(when):
    assert not is_tried_always(compile_filter(when, "when"))


@pytest.mark.parametrize("when", UNKEYED)
def test_filter_without_an_equality_clause_is_not_filed(when):
    assert is_tried_always(compile_filter(when, "when"))


RANKED = [
    {"data.to": "+18505550100"},
    {"data.request_id": "10000001"},
    {"data.reference": "signup-1"},
    {"data.labels.team": "growth"},
    {"data.service.key": "google"},
    {"data.country": "US"},
    {"source": "tellabot"},
    {"type": "sms.received"},
]


@pytest.mark.parametrize("selective", range(len(RANKED) - 1))
def test_filter_is_filed_under_its_most_selective_clause(selective):
    """Mutant: the first clause of the filter."""
    [first, second] = RANKED[selective : selective + 2]
    index = FilterIndex()

    filed = [
        index.add(compile_filter(when, "when"), None).keys
        for when in (first, first | second, second | first, {"$and": [second, {"$or": [first]}]})
    ]

    assert filed == [filed[0]] * 4


def test_only_candidates_are_tested():
    """Mutant: an index that tests each filter."""
    tested = []

    def counted(number):
        part = compile_filter({"data.to": f"+1850555{number:04}"}, "when")
        return msgspec.structs.replace(
            part, holds=lambda event: tested.append(number) or part.holds(event)
        )

    index = FilterIndex((counted(number), number) for number in range(1000))

    found = index.matching({"type": "sms.received", "data": {"to": "+18505550042"}})

    assert (list(found), tested) == ([42], [42])
