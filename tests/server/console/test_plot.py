"""Plots: what is drawn where, and that nothing in them runs."""

from xml.etree import ElementTree as ET

import pytest

from server.console.overview import make_plot
from server.console.plot import Plot, PlotLine, nice, svg, written

HOSTILE = '"><script>alert(1)</script>\u202e'


def drawn(*lines, times=(0, 10, 20, 30)):
    plot = Plot(title="Owed", times=times, lines=lines)
    root = ET.fromstring(svg(plot, begin=0, end=100))  # noqa: S314 - our own
    return [*root.iter("{http://www.w3.org/2000/svg}path")], root


def test_line_is_broken_where_a_value_is_missing():
    """Mutant: the points beside a gap are joined."""
    (line, _legend), _root = drawn(PlotLine("crm", [1, 1, None, 1]))

    assert line.get("d").count("M") == 2
    assert line.get("d").count("L") == 1


def test_line_is_broken_while_the_service_was_off():
    (line, _legend), _root = drawn(PlotLine("crm", [1, 1, 1, 1]), times=(0, 10, 60, 70))

    assert line.get("d").count("M") == 2


def test_values_lie_between_zero_and_the_top():
    (line, _legend), _root = drawn(PlotLine("crm", [0, 10, 5, 0]))

    heights = [float(step.split()[0]) for step in line.get("d").replace("h1", "").split(" ")[1::2]]
    assert heights == [176.0, 12.0, 94.0, 176.0]


def test_names_are_text():
    _paths, root = drawn(PlotLine(HOSTILE, [1, 1, 1, 1]))

    assert [] == [one for one in root.iter() if one.tag.endswith("script")]
    shown = [one.text for one in root.iter() if one.text and "<script>" in one.text]
    assert shown == ['"><script>alert(1)<…']


@pytest.mark.parametrize(
    ("value", "top"), [(0, 0.001), (0.3, 0.5), (1, 1), (1.01, 2), (318, 500), (50_001, 100_000)]
)
def test_top_of_an_axis_is_a_round_figure(value, top):
    assert nice(value) == pytest.approx(top)


def test_figures_have_three_digits():
    assert [*map(written, (0.08412, 3.456, 0, 99.96, 12431))] == [
        "0.0841",
        "3.46",
        "0",
        "100",
        "12431",
    ]


def history(sinks):
    """An answer of `/v1/history` with one point: the owed deliveries of each sink."""
    counted = {name: {"owed": owed, "failed": 0, "delivered": 2} for name, owed in sinks.items()}
    point = {"at": "2026-11-30T06:00:00Z", "seconds": 10, "accepted": 5, "sinks": counted}
    return {"points": [point], "sinks": counted}


def test_sinks_beyond_six_are_one_line():
    """Mutants: the seventh sink is left out; colours change with the order of the figures."""
    plot = make_plot("owed", history({f"s{number}": number for number in range(9)}))

    assert [(line.name, *line.values) for line in plot.lines] == [
        *[(f"s{number}", number) for number in (4, 5, 6, 7, 8)],
        ("4 others", 6),
    ]


def test_rates_are_a_second():
    plot = make_plot("events", history({"crm": 0, "log": 0}))

    assert [(line.name, *line.values) for line in plot.lines] == [
        ("accepted", 0.5),
        ("delivered", 0.4),
    ]
    assert plot.in_words == (
        "Accepted and delivered a second: accepted 0.5/s at the end, 0.5/s at most; "
        "delivered 0.4/s at the end, 0.4/s at most."
    )
