"""A percentile is a value that was measured, and the same one wherever it is asked for."""

import pytest

from benchmarks.lab.percentiles import percentile


@pytest.mark.parametrize(("wanted", "found"), [(50, 5.0), (90, 9.0), (99, 10.0), (1, 1.0)])
def test_percentile_is_a_measured_value(wanted, found):
    """The values of two loads follow each other. Mutant: the values are taken in their order."""
    assert percentile([6.0, 7.0, 8.0, 9.0, 10.0, 1.0, 2.0, 3.0, 4.0, 5.0], wanted) == found


def test_percentile_of_no_values_is_zero():
    assert percentile([], 50) == 0.0
