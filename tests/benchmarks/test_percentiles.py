"""A percentile is a value that was measured, and the same one wherever it is asked for."""

import pytest

from benchmarks.percentiles import percentile


@pytest.mark.parametrize(("wanted", "found"), [(50, 5.0), (90, 9.0), (99, 10.0), (1, 1.0)])
def test_a_percentile_is_the_least_value_that_so_many_do_not_exceed(wanted, found):
    assert percentile([float(number) for number in range(1, 11)], wanted) == found


def test_of_nothing_a_percentile_is_zero():
    assert percentile([], 50) == 0.0
