"""Plots are drawn the same each time, for a page in the light and in the dark."""

import re

import matplotlib as mpl
import pytest
from measured import example
from msgspec.structs import replace

from benchmarks.plots import PLOTS, plots
from benchmarks.results import Series


@pytest.fixture(scope="module")
def drawn():
    return plots(example())


def test_all_that_was_measured_is_drawn(drawn):
    assert set(drawn) == set(PLOTS)
    assert plots(replace(example(), figures=(), series=())) == {}


def test_the_same_results_make_the_same_bytes(drawn):
    """Also where matplotlib has settings of its own. Mutants: a date; names made by chance."""
    with mpl.rc_context({"font.size": 30, "svg.fonttype": "path", "axes.grid": True}):
        again = plots(example())

    assert again == drawn


@pytest.mark.parametrize("name", PLOTS)
def test_nothing_is_as_bright_or_as_dark_as_a_page(drawn, name):
    """Mutants: black letters; a white ground."""
    colours = set(re.findall(r"#[0-9a-f]{6}", drawn[name]))

    assert colours
    assert all(90 < brightness(colour) < 170 for colour in colours)
    assert "<text" in drawn[name]


def brightness(colour):
    red, green, blue = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def test_a_bar_has_its_name_and_its_median(drawn):
    words = texts(drawn["throughput"])

    assert {"22,000", "11,000", "5,000", "550"} <= words
    assert {"Node-RED", "mq-bridge (SQLite)", "smshook, to one HTTP sink"} <= words
    assert "webhook" not in words


def test_a_curve_of_its_own_is_drawn_where_a_run_has_one():
    curve = Series(name="growth", x="events", y="1/s", points=((0, 5.0), (1e5, 4.0)))
    run = replace(example(), series=(*example().series, curve))

    assert {"events", "1/s", "100,000"} <= texts(plots(run)["growth"])


def test_axes_are_named_with_their_units(drawn):
    assert {"events in the journal", "events a second", "10,000,000"} <= texts(drawn["growth"])
    assert {"s", "MB"} <= texts(drawn["memory"])
    assert {"ms", "99.9 %", "callback to answer"} <= texts(drawn["latency"])


def texts(svg):
    return set(re.findall(r"<text[^>]*>([^<]*)</text>", svg))
