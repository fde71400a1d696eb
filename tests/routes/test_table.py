import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from routes.index import FilterIndex
from routes.match import Invalid
from routes.table import Plan, Route, compile_table, plan


def planned(routes, event):
    return plan(FilterIndex((route.when, route) for route in compile_table(routes)), event)


SMS = {"type": "sms.received", "data": {"code": "1", "country": "US"}}


def test_sink_in_several_routes_gets_the_event_once():
    """Mutants: a set, which loses the order; a list, which delivers twice."""
    routes = {
        "b": Route(to=("crm", "log")),
        "never": Route(to=("team",), when={"data.code": "2"}),
        "a": Route(to=("log", "team"), when={"data.country": "US"}),
    }

    assert planned(routes, SMS) == Plan(sinks=("crm", "log", "team"), routes=("b", "a"))


@pytest.mark.parametrize(
    ("type_", "taken"),
    [
        ("sms.received", True),
        ("call.received", True),
        ("rental.renewed", True),
        ("number.changed", True),
        ("account.low", True),
        ("order.expired", False),
        ("smsx.received", False),
        ("other", False),
    ],
)
def test_route_without_when_takes_all_but_orders(type_, taken):
    routes = {"everything": Route(to=("log",))}

    assert bool(planned(routes, {"type": type_}).routes) is taken


def test_route_that_names_orders_takes_them():
    routes = {"late": Route(to=("log",), when={"type": {"$startsWith": "order."}})}

    assert planned(routes, {"type": "order.expired"}).sinks == ("log",)


def test_event_without_a_route_has_no_sinks():
    assert planned({}, SMS) == Plan(sinks=(), routes=())


@pytest.mark.parametrize(
    ("when", "reads_data"),
    [
        (None, False),
        ({"type": "sms.received", "source": {"$startsWith": "a"}}, False),
        ({"datacontenttype": "application/json"}, False),
        ({"data": {"$exists": True}}, True),
        ({"$or": [{"type": "sms.received"}, {"$not": {"data.country": "US"}}]}, True),
    ],
)
def test_route_knows_whether_it_reads_data(when, reads_data):
    """Mutants: only the outermost part is asked; a path that begins with `data` counts."""
    [route] = compile_table({"one": Route(to=("log",), when=when)})

    assert route.reads_data is reads_data


def test_complaints_of_all_routes_have_their_places():
    routes = {
        "first": Route(to=("log",), when={"data.cod": 1, "data.code": {"$gtt": 1}}),
        "fine": Route(to=("log",)),
        "third": Route(to=("log",), when={"$eq": 1}),
    }

    with pytest.raises(Invalid) as invalid:
        compile_table(routes)

    assert [place for place, _ in invalid.value.complaints] == [
        "routes.first.when.data.cod",
        "routes.first.when.data.code.$gtt",
        "routes.third.when.$eq",
    ]


def test_unknown_option_is_refused():
    with pytest.raises(msgspec.ValidationError, match="unknown field `wen`"):
        msgspec.convert({"to": ["log"], "wen": {}}, Route)


@given(
    matching=st.lists(st.booleans(), max_size=6),
    to=st.lists(st.lists(st.sampled_from("abcd"), max_size=4), min_size=6, max_size=6),
)
def test_same_event_has_the_same_plan(matching, to):
    routes = {
        f"r{i}": Route(to=tuple(to[i]), when={"data.code": "1" if matches else "2"})
        for i, matches in enumerate(matching)
    }

    first, again = (planned(routes, SMS) for _ in range(2))

    named = [sink for i, matches in enumerate(matching) if matches for sink in to[i]]
    assert first == again
    assert first.routes == tuple(f"r{i}" for i, matches in enumerate(matching) if matches)
    assert sorted(first.sinks) == sorted(set(named))
    assert list(first.sinks) == sorted(first.sinks, key=named.index)
