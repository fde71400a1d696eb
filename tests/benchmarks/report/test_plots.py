"""Plots are drawn the same each time, for light and dark pages."""

import re

import matplotlib as mpl
import pytest
from measured import example
from msgspec.structs import replace

from benchmarks.report.plots import PLOTS, plots

pytestmark = pytest.mark.uncounted


@pytest.fixture(scope="module")
def drawn():
    return plots(example())


def test_measured_figures_are_drawn(drawn):
    assert set(drawn) == set(PLOTS)
    assert plots(replace(example(), figures=(), series=())) == {}


def test_same_results_make_the_same_bytes(drawn):
    """Also with other settings of matplotlib. Mutants: a date; random names."""
    with mpl.rc_context({"font.size": 30, "svg.fonttype": "path", "axes.grid": True}):
        again = plots(example())

    assert again == drawn


@pytest.mark.parametrize("name", PLOTS)
def test_colours_are_legible_on_light_and_dark_pages(drawn, name):
    """Mutants: black letters; a white background."""
    colours = set(re.findall(r"#[0-9a-f]{6}", drawn[name]))

    assert colours
    assert all(90 < brightness(colour) < 170 for colour in colours)
    assert "<text" in drawn[name]


def brightness(colour):
    red, green, blue = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def test_bar_has_a_label_and_its_median(drawn):
    words = texts(drawn["throughput"])

    assert {"22,000", "11,000", "5,000", "550"} <= words
    assert {"Node-RED", "mq-bridge (SQLite)", "smshook, to one HTTP sink"} <= words
    assert "webhook" not in words


def test_axes_have_titles_with_units(drawn):
    assert {"events in the journal", "events a second", "10,000,000"} <= texts(drawn["growth"])
    assert {"s", "MB"} <= texts(drawn["memory"])
    assert {"ms", "99.9 %", "callback to answer"} <= texts(drawn["latency"])


def texts(svg):
    return set(re.findall(r"<text[^>]*>([^<]*)</text>", svg))
