"""A percentile is a value that was measured, and the same one wherever it is asked for."""

import pytest

from benchmarks.lab.percentiles import percentile


@pytest.mark.parametrize(("wanted", "found"), [(50, 5.0), (90, 9.0), (99, 10.0), (1, 1.0)])
def test_percentile_is_a_measured_value(wanted, found):
    assert percentile([float(number) for number in range(1, 11)], wanted) == found


def test_percentile_of_no_values_is_zero():
    assert percentile([], 50) == 0.0
