import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from routes.match import Invalid, compile_when

EVENT = {
    "type": "sms.received",
    "subject": "request/10000001",
    "time": "2020-09-14T18:42:36Z",
    "data": {
        "labels": {"team": "growth", "a.b": "c"},
        "reference": None,
        "sample": False,
        "to": "+18503814729",
        "from": "22000",
        "country": "US",
        "service": {"id": "Google", "name": "Google", "key": "google"},
        "price": {"amount": "1.20", "currency": None},
        "text": "G-804036 is your code",
        "code": "G-804036",
        "urls": ["https://a.example/1", "https://b.example/2"],
        "warnings": [],
        "telephone_id": 7,
        "rental_id": None,
    },
}


def matches(when):
    return compile_when(when, "when")(EVENT)


def complaints(when):
    with pytest.raises(Invalid) as invalid:
        compile_when(when, "routes.r.when")
    return invalid.value.complaints


YES = [
    # plain values and lists
    {},
    {"type": "sms.received"},
    {"type": ["call.received", "sms.received"]},
    {"type": "sms.received", "data.country": "US"},
    {"data.service.key": "google"},
    {"data.labels.team": "growth"},
    {"data.labels.a.b": "c"},
    {"data.sample": False},
    {"data.reference": None},
    {"data.reference": ["x", None]},
    {"data.price.currency": None},
    # numbers: as numbers, also where they are sent as text
    {"data.telephone_id": 7},
    {"data.telephone_id": 7.0},
    {"data.price.amount": 1.2},
    {"data.price.amount": [1, 1.2]},
    {"data.price.amount": {"$gt": 1}},
    {"data.price.amount": {"$gte": 1.2, "$lte": 1.2}},
    {"data.price.amount": {"$lt": 1.21}},
    {"data.price.amount": {"$in": [1.2]}},
    {"data.price.amount": {"$nin": [2]}},
    {"data.from": {"$gt": 9999}},
    # texts by code point
    {"data.price.amount": {"$gt": "1.1", "$lt": "1.3"}},
    {"time": {"$gte": "2020-01-01", "$lt": "2021-01-01"}},
    # operators
    {"data.code": {"$eq": "G-804036"}},
    {"data.code": {"$ne": None}},
    {"data.code": {"$ne": "G-1"}},
    {"data.country": {"$in": ["GB", "US"]}},
    {"data.country": {"$nin": ["GB"]}},
    {"data.text": {"$in": "your code"}},
    {"data.text": {"$nin": "password"}},
    {"type": {"$startsWith": "sms."}},
    {"type": {"$endsWith": ".received"}},
    {"data.code": {"$regex": "[0-9]{6}$"}},
    {"data.code": {"$exists": True}},
    {"data.reference": {"$exists": True}},
    {"data.code": {"$not": {"$startsWith": "X"}}},
    {"data.code": {"$not": "X"}},
    {"data.code": {"$not": ["X", "Y"]}},
    # lists in the event: one element is enough
    {"data.urls": "https://b.example/2"},
    {"data.urls": {"$regex": "//a[.]"}},
    {"data.urls": {"$startsWith": "https://b"}},
    {"data.urls": {"$eq": ["https://a.example/1", "https://b.example/2"]}},
    {"data.urls": {"$ne": ["https://a.example/1"]}},
    {"data.urls": {"$ne": []}},
    {"data.warnings": {"$eq": []}},
    {"data.warnings": {"$exists": True}},
    {"data.warnings": {"$ne": "price"}},
    {"data.urls": {"$nin": ["https://c.example/3"]}},
    # joined
    {"$or": [{"data.country": "GB"}, {"data.country": "US"}]},
    {"$and": [{"data.country": "US"}, {"data.code": {"$exists": True}}]},
    {"$not": {"data.country": "GB"}},
    {"$not": {"data.country": "US", "data.code": "X"}},
    {"data.country": {"$or": ["GB", {"$startsWith": "U"}]}},
    {"data.country": {"$and": [{"$startsWith": "U"}, {"$endsWith": "S"}]}},
    {"$or": [{"$and": [{"$not": {"data.country": "US"}}]}, {"type": "sms.received"}]},
    # missing: nothing there, below null, below a text
    {"data.request_id": {"$exists": False}},
    {"data.request_id": {"$ne": "1"}},
    {"data.request_id": {"$ne": None}},
    {"data.request_id": {"$nin": ["1"]}},
    {"data.request_id": {"$not": {"$eq": "1"}}},
    {"data.rental_id.x": {"$exists": False}},
    {"data.text.x": {"$exists": False}},
    {"dedupekey": {"$exists": False}},
]

NO = [
    {"type": "call.received"},
    {"type": "SMS.received"},
    {"type": ["call.received"]},
    {"type": "sms.received", "data.country": "GB"},
    {"data.sample": True},
    {"data.sample": 0},
    {"data.sample": None},
    {"data.sample": {"$lte": 1}},
    {"data.telephone_id": "7"},
    {"data.telephone_id": True},
    {"data.telephone_id": {"$gt": "1"}},
    {"data.reference": ""},
    {"data.reference": False},
    {"data.reference": {"$exists": False}},
    {"data.reference": {"$ne": None}},
    {"data.reference": {"$lte": "z"}},
    {"data.reference": {"$regex": ""}},
    {"data.price.amount": {"$gt": 1.2}},
    {"data.price.amount": {"$gt": 1, "$lt": 1.1}},
    {"data.price.amount": "1.2"},
    {"data.price.amount": {"$ne": 1.2}},
    {"data.code": {"$gt": 0}},
    {"data.code": 804036},
    {"data.to": {"$gt": 0}},
    {"data.service": "google"},
    {"data.text": {"$in": "password"}},
    {"data.text": {"$in": [1, None, "G"]}},
    {"data.code": {"$startsWith": "8"}},
    {"data.code": {"$endsWith": "8"}},
    {"data.code": {"$regex": "^[0-9]"}},
    {"data.code": {"$exists": False}},
    {"data.country": {"$nin": ["GB", "US"]}},
    {"data.country": {"$not": {"$in": ["US"]}}},
    {"data.urls": "https://c.example/3"},
    {"data.urls": {"$ne": "https://a.example/1"}},
    {"data.urls": {"$nin": ["https://a.example/1"]}},
    {"data.urls": {"$eq": ["https://b.example/2", "https://a.example/1"]}},
    {"data.urls": {"$eq": []}},
    {"data.urls": {"$eq": ["https://a.example/1", "https://b.example/2", "x"]}},
    {"data.urls": {"$eq": ["https://a.example/1"]}},
    {"data.warnings": {"$eq": ["x"]}},
    {"data.warnings": {"$startsWith": ""}},
    {"data.warnings": None},
    {"$or": [{"data.country": "GB"}, {"data.country": "FR"}]},
    {"$and": [{"data.country": "US"}, {"data.country": "GB"}]},
    {"$not": {"data.country": "US"}},
    {"data.country": {"$or": ["GB", "FR"]}},
    {"data.country": {"$and": ["US", "GB"]}},
    {"data.request_id": None},
    {"data.request_id": [None]},
    {"data.request_id": {"$exists": True}},
    {"data.request_id": {"$eq": None}},
    {"data.request_id": {"$in": [None]}},
    {"data.request_id": {"$in": ""}},
    {"data.request_id": {"$regex": ""}},
    {"data.request_id": {"$startsWith": ""}},
    {"data.request_id": {"$lt": 5}},
    {"data.request_id": {"$gte": ""}},
    {"data.request_id": {"$eq": []}},
]


@pytest.mark.parametrize("when", YES, ids=str)
def test_filter_matches_the_event(when):
    assert matches(when)


@pytest.mark.parametrize("when", NO, ids=str)
def test_filter_does_not_match_the_event(when):
    assert not matches(when)


FILTERS = st.sampled_from(YES + NO)


@given(one=FILTERS, other=FILTERS)
def test_joins_follow_logic(one, other):
    """Mutant: `$and` and `$or` swapped, `$not` of each key instead of the whole."""
    a, b = matches(one), matches(other)

    assert matches({"$and": [one, other]}) is (a and b)
    assert matches({"$or": [one, other]}) is (a or b)
    assert matches({"$not": one}) is (not a)
    assert matches({"$not": {"$and": [one, other]}}) is (not a or not b)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=5,
)
CONDITIONS = st.sampled_from([when[key] for when in YES + NO for key in when if key[0] != "$"])


@given(value=JSON, condition=CONDITIONS)
def test_negated_filter_has_the_opposite_answer(value, condition):
    event = {"data": {"reference": value}}

    answer = compile_when({"data.reference": condition}, "when")(event)
    opposite = compile_when({"data.reference": {"$not": condition}}, "when")(event)

    assert answer is not opposite


@given(value=st.decimals(allow_nan=False, allow_infinity=False, places=2), bound=st.integers())
def test_amount_compares_as_a_number(value, bound):
    """Mutant: compared as text, "10.00" is less than "9"."""
    event = {"data": {"price": {"amount": f"{value:f}"}}}

    def holds(operator):
        return compile_when({"data.price.amount": {operator: bound}}, "when")(event)

    answers = [holds(operator) for operator in ("$lt", "$lte", "$eq", "$ne", "$gte", "$gt")]
    assert answers == [
        value < bound,
        value <= bound,
        value == bound,
        value != bound,
        value >= bound,
        value > bound,
    ]


def test_compiled_filter_ignores_later_changes():
    when = {"data.country": "US"}
    predicate = compile_when(when, "when")

    when["data.country"] = "GB"

    assert predicate(EVENT)


def test_filter_takes_decoded_json():
    event = msgspec.json.decode(msgspec.json.encode(EVENT))

    assert compile_when({"data.urls": {"$endsWith": "/2"}}, "when")(event)


OPERATORS = (
    "$eq, $ne, $gt, $gte, $lt, $lte, $in, $nin, $startsWith, $endsWith, $regex, $exists, "
    "$and, $or, $not"
)
BELOW = "for a field below it write data.service.key: ..."


@pytest.mark.parametrize(
    ("when", "place", "text"),
    [
        (
            {"data.code": {"$gtt": 1}},
            "data.code.$gtt",
            f"'$gtt' is not an operator; operators: {OPERATORS}; did you mean $gt?",
        ),
        (
            {"data.service": {"key": "google"}},
            "data.service.key",
            f"'key' is not an operator; operators: {OPERATORS}; {BELOW}",
        ),
        ({"data.code": {}}, "data.code", f"names no operator; operators: {OPERATORS}"),
        ({"data.cod": "1"}, "data.cod", "no event has 'data.cod'; did you mean data.code?"),
        ({"code": "1"}, "code", "no event has 'code'; did you mean data.code?"),
        ({1: "1"}, "1", "a path is a text, such as data.code"),
        ({"$eq": 1}, "$eq", "$eq needs a path before it, such as data.code: {$eq: ...}"),
        (
            {"$nor": [{}]},
            "$nor",
            "'$nor' is not an operator; operators: $and, $or, $not; did you mean $or?",
        ),
        ({"$or": {"data.code": "1"}}, "$or", "takes a list of one or more"),
        ({"$and": []}, "$and", "takes a list of one or more"),
        (
            {"$or": ["x"]},
            "$or[0]",
            "not a filter; write paths and conditions, such as data.code: {$ne: null}",
        ),
        (
            {"$not": None},
            "$not",
            "not a filter; write paths and conditions, such as data.code: {$ne: null}",
        ),
        ({"data.code": {"$or": "x"}}, "data.code.$or", "takes a list of one or more"),
        ({"data.code": {"$gt": True}}, "data.code.$gt", "takes a number or a text"),
        ({"data.code": {"$gt": None}}, "data.code.$gt", "takes a number or a text"),
        ({"data.code": {"$lt": float("nan")}}, "data.code.$lt", "takes a number or a text"),
        (
            {"data.code": {"$eq": {"a": 1}}},
            "data.code.$eq",
            "compares with a text, a number, true, false or null",
        ),
        (
            {"data.code": ["a", ["b"]]},
            "data.code[1]",
            "compares with a text, a number, true, false or null",
        ),
        (
            {"data.code": []},
            "data.code",
            "takes a list of one or more values, or a text to look for",
        ),
        (
            {"data.code": {"$in": 5}},
            "data.code.$in",
            "takes a list of one or more values, or a text to look for",
        ),
        ({"data.code": {"$startsWith": 5}}, "data.code.$startsWith", "takes a text"),
        ({"data.code": {"$exists": "yes"}}, "data.code.$exists", "takes true or false"),
        (
            {"data.code": {"$regex": 5}},
            "data.code.$regex",
            "takes a regular expression in RE2 syntax, such as ^G-[0-9]+",
        ),
        (
            {"data.code": {"$regex": "[0-9"}},
            "data.code.$regex",
            "is not a regular expression in RE2 syntax: missing ]",
        ),
        *(
            (
                {"data.code": {"$regex": pattern}},
                "data.code.$regex",
                (
                    f"is not a regular expression in RE2 syntax: {reason}; RE2 has no lookaround"
                    " such as (?=, no backreferences such as \\1 and no \\Z"
                ),
            )
            for pattern, reason in (
                ("(?=a)", "invalid perl operator"),
                ("(?<!a)b", "invalid perl operator"),
                (r"(a)\1", "invalid escape sequence"),
            )
        ),
        (
            {"data.code": {"$regex": "(a{1000}){1000}"}},
            "data.code.$regex",
            "is not a regular expression in RE2 syntax: invalid repetition size",
        ),
        *(
            (
                {"data.code": {"$regex": pattern}},
                "data.code.$regex",
                "is too large; shorten it, or its repetitions such as {1,100}",
            )
            # Mutant: the engine's own limit of memory, with which these compile for 0.1 s.
            for pattern in (r"\pL{1,100}", r"(\pL?){100}")
        ),
        (
            {"data.code": {"$regex": "\ud800"}},
            "data.code.$regex",
            "is not a regular expression in RE2 syntax: not UTF-8",
        ),
    ],
    ids=str,
)
def test_complaint_has_place_problem_and_correction(when, place, text):
    assert complaints(when) == ((f"routes.r.when.{place}", text),)


def test_all_complaints_are_reported_together():
    when = {
        "data.cod": {"$gtt": 1},
        "$or": [{"data.code": {"$exists": 1}}, {"$not": {"data.code": {"$regex": "("}}}],
    }

    assert [place for place, _ in complaints(when)] == [
        "routes.r.when.data.cod.$gtt",
        "routes.r.when.data.cod",
        "routes.r.when.$or[0].data.code.$exists",
        "routes.r.when.$or[1].$not.data.code.$regex",
    ]


def test_complaint_does_not_repeat_a_value():
    secret = "804036"
    when = {
        "data.code": {"$regex": f"({secret}", "$gt": [secret], "$exists": secret},
        "data.text": [[secret]],
        "$not": secret,
    }

    assert secret not in str(complaints(when))


def test_too_deep_filter_is_refused():
    """Mutant: without the limit, a stranger's filter ends in a RecursionError."""
    when = {"data.code": "1"}
    for _ in range(5000):
        when = {"$not": when}

    assert complaints(when) == (("routes.r.when", "nested more than 32 deep"),)


@pytest.mark.parametrize(
    "pattern", ["(a+)+$", "(a|aa)+$", "(.*)*b", "(a?){60}a{60}c", "a*a*a*a*a*c"]
)
def test_hostile_pattern_is_answered_at_once(pattern):
    """Mutant: Python's `re`; the first pattern alone takes longer than the universe is old."""
    event = {"data": {"text": "a" * 65536 + "!"}}

    assert not compile_when({"data.text": {"$regex": pattern}}, "when")(event)


def test_regex_reads_every_script():
    event = {"data": {"text": "Ваш код 804036\nÉ"}}

    for pattern in ("код [0-9]{6}", "(?i)ВАШ", r"\d+", r"\p{Cyrillic}", "É$", "(?m)6$"):
        assert compile_when({"data.text": {"$regex": pattern}}, "when")(event)


LINE = {"type": "sms.received", "data": {"service": {"id": "me", "name": "LINE", "key": "line"}}}
STORED = {"data": {"service": {"id": "me", "name": "Line messenger", "key": "linemessenger"}}}


@pytest.mark.parametrize("event", [LINE, STORED])
@pytest.mark.parametrize("key", ["line", "linemessenger"])
def test_service_is_matched_by_present_and_former_key(event, key):
    """Mutant: only the event's spelling: after an upgrade, older routes match nothing."""
    for condition in (key, [key], {"$eq": key}, {"$in": ["x", key]}, {"$regex": f"^{key}$"}):
        assert compile_when({"data.service.key": condition}, "when")(event)
    for condition in ({"$ne": key}, {"$nin": [key]}, {"$not": key}, "google"):
        assert not compile_when({"data.service.key": condition}, "when")(event)
    assert compile_when({"data.service.name": ["Line messenger"]}, "when")(event)
    assert compile_when({"$not": {"data.service.key": "google"}}, "when")(event)
