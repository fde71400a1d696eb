"""Figures of orders: groups, medians, shares, prices; and their picture."""

import statistics
from decimal import Decimal
from fractions import Fraction
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.cli.chart import DRAWN, svg
from server.cli.figures import FIELDS, Cost, FigureGroup, OrderOutcome, Report, outcome, report

SINCE = "2026-09-01T00:00:00Z"
SVG = "{http://www.w3.org/2000/svg}"


def made(state="received", seconds=None, amount=None, currency=None, **fields):
    plain = {"source": "hero", "provider": "herosms", "service": "go", "country": "GB"}
    return OrderOutcome(
        fields=plain | fields,
        state=state,
        seconds=seconds,
        amount=None if amount is None else Decimal(amount),
        currency=currency,
    )


def group(of=None, **said):
    nothing = {"received": 0, "expired": 0, "waiting": 0, "median_seconds": None}
    return FigureGroup(**{"of": of or {}, **nothing, "never_came": None, "costs": [], **said})


words = st.none() | st.sampled_from(["a", "b", "-"])
outcomes = st.lists(
    st.builds(
        OrderOutcome,
        fields=st.fixed_dictionaries(dict.fromkeys(FIELDS, words)),
        state=st.sampled_from(["waiting", "received", "expired", "cancelled"]),
        seconds=st.none() | st.integers(0, 10**9).map(lambda ms: ms / 1000),
        amount=st.none()
        | st.from_regex(r"[0-9]{1,15}(\.[0-9]{1,30})?", fullmatch=True, alphabet="0123456789.").map(
            Decimal
        ),
        currency=st.none() | st.sampled_from(["USD", "EUR"]),
    ),
    max_size=40,
)
grouping = st.lists(st.sampled_from(FIELDS), min_size=1, unique=True)

# The figures


def test_order_of_the_api_becomes_an_outcome():
    order = {"source": "hero", "provider": "herosms", "service": "go", "country": "GB"}
    order |= {"service_key": "google"}
    order |= {"state": "received", "price": {"amount": "0.20", "currency": "USD"}, "number": "+44"}

    read = outcome(order, 1.5)
    free = outcome(order | {"price": None}, None)

    assert read == made(service="google", seconds=1.5, amount="0.20", currency="USD")
    assert free == made(service="google")


def test_received_and_expired_orders_are_counted():
    """Mutants: waiting or cancelled ones in the share; expired ones in the price; the mean time."""
    outcomes = [
        made(seconds=1.0, amount="0.20", currency="USD"),
        made(seconds=2.0, amount="0.25", currency="USD"),
        made(seconds=60.0, amount="0.25", currency="USD"),
        made(amount="15", currency="RUB"),
        made("expired", amount="9", currency="USD"),
        made("waiting", amount="9", currency="USD"),
        made("cancelled", amount="9", currency="USD"),
    ]

    answer = report(outcomes, ("service",))

    figures = {
        "received": 4,
        "expired": 1,
        "waiting": 1,
        "median_seconds": 2.0,
        "never_came": 0.2,
        "costs": [
            Cost(currency="RUB", codes=1, total="15", price_a_code="15.00"),
            Cost(currency="USD", codes=3, total="0.70", price_a_code="0.2333"),
        ],
    }
    assert answer == Report(groups=[group({"service": "go"}, **figures)], all=group(**figures))


def test_report_without_orders_has_no_figures():
    assert report([made("cancelled")], ("service",)) == Report(groups=[], all=group())
    assert report([made("waiting")], ("service",)).all == group(waiting=1)


def test_groups_are_sorted_by_size_then_name():
    """Mutant: by name alone."""
    outcomes = [made(service=name) for name in (None, "b", "a", "c", "c")]

    groups = report(outcomes, ("service", "country")).groups

    assert [found.of for found in groups] == [
        {"service": name, "country": "GB"} for name in ("c", "a", "b", None)
    ]


@pytest.mark.parametrize(
    ("amounts", "total", "mean"),
    [
        (["0.1", "0.2"], "0.3", "0.15"),
        (["1.20"], "1.20", "1.20"),
        (["1", "1", "0"], "2", "0.6667"),
        (["0.00004"], "0.00004", "0.00"),
        (
            ["999999999999999." + "9" * 30] * 3,
            "2999999999999999." + "9" * 29 + "7",
            "1" + "0" * 15 + ".00",
        ),
    ],
)
def test_prices_are_added_as_decimals(amounts, total, mean):
    """Mutants: floats; decimals with the default of 28 digits."""
    [cost] = report([made(amount=amount) for amount in amounts], ("service",)).all.costs

    assert cost == Cost(currency=None, codes=len(amounts), total=total, price_a_code=mean)


@pytest.mark.uncounted
@given(outcomes, grouping)
def test_groups_sum_to_the_whole(outcomes, by):
    """Mutant: orders without a value are in no group."""
    answer = report(outcomes, by)

    for name in ("received", "expired", "waiting"):
        assert sum(getattr(found, name) for found in answer.groups) == getattr(answer.all, name)
    counted = [one for one in outcomes if one.state != "cancelled"]
    assert answer.all.received + answer.all.expired + answer.all.waiting == len(counted)
    for currency in (None, "EUR", "USD"):
        mine = [cost for found in answer.groups for cost in found.costs]
        totals = [Fraction(cost.total) for cost in mine if cost.currency == currency]
        whole = [Fraction(cost.total) for cost in answer.all.costs if cost.currency == currency]
        assert sum(totals) == sum(whole)
        paid = [one for one in outcomes if one.state == "received" and one.currency == currency]
        assert sum(whole) == sum(Fraction(one.amount) for one in paid if one.amount is not None)


@pytest.mark.uncounted
@given(outcomes, grouping)
def test_each_group_has_the_figures_of_its_own_orders(outcomes, by):
    """Mutant: the median includes orders that received nothing."""
    answer = report(outcomes, by)

    distinct = {tuple(found.of.items()) for found in answer.groups}
    assert len(distinct) == len(answer.groups)
    for found in answer.groups:
        its = [one for one in outcomes if all(one.fields[name] == found.of[name] for name in by)]
        times = [one.seconds for one in its if one.state == "received" and one.seconds is not None]
        expected = statistics.median(times) if times else None
        assert found.median_seconds == (expected if expected is None else round(expected, 3))
        ended = [one.state for one in its if one.state in ("received", "expired")]
        share = ended.count("expired") / len(ended) if ended else None
        assert found.never_came == share


# The picture


def drawn(answer):
    """Its root, and of each group the title, the texts and the widths of the bars."""
    root = ET.fromstring(svg(answer, SINCE))  # noqa: S314 - our own
    groups = [
        (
            one.findtext(f"{SVG}title"),
            [text.text for text in one.findall(f"{SVG}text")],
            [float(bar.get("width")) for bar in one.findall(f"{SVG}rect")],
        )
        for one in root.findall(f"{SVG}g")
    ]
    return root, groups


def test_picture_shows_bars_and_figures_of_each_group():
    """Mutants: bars of one length; the two exchanged."""
    outcomes = [
        *(made(seconds=20.0), made(seconds=20.0), made("expired"), made("expired")),
        *(made(seconds=5.0, service=None), made("waiting", service="wa")),
    ]

    _, groups = drawn(report(outcomes, ("service", "country")))

    assert groups == [
        (
            "go / GB: 20.0 seconds to a code; 50% (2 of 4) never came",
            ["go / GB", "20.0 s", "50% (2 of 4)"],
            [180.0, 90.0],
        ),
        (
            "wa / GB: no code came; none has ended",
            ["wa / GB", "-", "-"],
            [0.0, 0.0],
        ),
        (
            "- / GB: 5.0 seconds to a code; 0% (0 of 1) never came",
            ["- / GB", "5.0 s", "0% (0 of 1)"],
            [45.0, 0.0],
        ),
    ]


def test_picture_has_a_description_and_no_external_files():
    """A screen reader reads title and description; nothing is fetched, nothing runs."""
    root, _ = drawn(report([made(seconds=20.0)], ("service",)))

    assert (root.get("role"), root.get("aria-labelledby")) == ("img", "title desc")
    named = {one.get("id"): one.text for one in root.iter() if one.get("id")}
    assert named == {
        "title": "Codes that were ordered: how long they took, and how many never came",
        "desc": f"Orders since {SINCE}. go: 20.0 seconds to a code; 0% (0 of 1) never came.",
    }
    used = {one.tag.removeprefix(SVG) for one in root.iter()}
    assert used == {"svg", "title", "desc", "style", "rect", "text", "g"}
    assert "http" not in root.findtext(f"{SVG}style")
    assert "prefers-color-scheme: dark" in root.findtext(f"{SVG}style")


def test_picture_without_orders_says_so():
    root, groups = drawn(report([], ("service",)))

    assert groups == []
    assert "no orders" in [text.text for text in root.findall(f"{SVG}text")]


def test_picture_says_how_many_groups_are_not_drawn():
    """Mutant: a picture as high as all groups."""
    answer = report([made(service=f"{number:03d}") for number in range(DRAWN + 3)], ("service",))

    root, groups = drawn(answer)

    assert [title[:3] for title, _, _ in groups] == [f"{number:03d}" for number in range(DRAWN)]
    left = "3 more with fewer orders are not drawn."
    assert any(left in text.text for text in root.findall(f"{SVG}text"))
    assert root.findtext(f"{SVG}desc").endswith(left)


@given(st.text())
def test_picture_is_valid_with_any_service_name(name):
    """Mutants: a raw control character; UTF-8 on another terminal."""
    answer = report([made(service=name or None)], ("service",))

    _, [(_, [label, *_], _)] = drawn(answer)

    assert svg(answer, SINCE).isascii()
    assert len(label) <= 80


def test_bars_and_figures_stay_inside_the_picture():
    """Mutant: longer bars."""
    outcomes = [made(seconds=10.0**9), *[made("expired", service="b")] * 10**4]

    root, _ = drawn(report(outcomes, ("service",)))

    for one in root.findall(f"{SVG}g"):
        for bar, text in zip(one.findall(f"{SVG}rect"), one.findall(f"{SVG}text")[1:], strict=True):
            end = float(bar.get("x")) + float(bar.get("width"))
            assert end < float(text.get("x"))
            # A figure is about 7 wide.
            assert float(text.get("x")) + 7 * len(text.text) < float(root.get("width"))
