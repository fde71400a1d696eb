"""Numbers have three significant digits and a unit."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.report.numbers import number, quantity, rounded, spread


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (0.012345, "0.0123"),
        (0.4, "0.400"),
        (1.256, "1.26"),
        (12.34, "12.3"),
        (123.4, "123"),
        (9_314.2, "9,310"),
        (1_234_567, "1,230,000"),
        (-2.5, "-2.50"),
    ],
)
def test_number_has_three_significant_digits(value, text):
    assert number(value) == text


def test_quantity_has_its_unit():
    assert quantity(9_314.2, "1/s") == "9,310/s"
    assert quantity(1.5, "ms") == "1.50 ms"
    assert quantity(1.5, "") == "1.50"
    assert spread([2.0, 1.0]) == "1.00 to 2.00"
    assert spread([2.0]) == "once"


@given(st.lists(st.floats(0, 1e4), min_size=1, max_size=20))
def test_rounded_values_sum_to_the_rounded_sum(values):
    """Mutant: each value rounded alone."""
    found = rounded(values)

    assert abs(sum(found) - sum(values)) <= 0.05 + 1e-6
    assert all(abs(one - value) < 0.1 + 1e-6 for one, value in zip(found, values, strict=True))
