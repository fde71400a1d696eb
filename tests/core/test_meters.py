"""Percentiles of histograms, compared with those of the values themselves."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.meters import SECONDS, Histogram, percentile


def histogram(values):
    found = Histogram()
    for value in values:
        found.add(value)
    return found


@pytest.mark.parametrize(
    ("values", "share", "found"),
    [
        ([], 0.5, None),
        ([0.3], 0.5, 0.375),
        ([0.3] * 4, 1.0, 0.5),
        ([0.0004] * 10 + [4.0], 0.5, 0.00055),
        ([99.0], 0.5, 10),
        ([0.002, 99.0], 0.99, 10),
    ],
)
def test_percentile_lies_in_the_bucket_of_its_values(values, share, found):
    assert percentile(SECONDS, histogram(values).counts, share) == pytest.approx(found)


@given(
    st.lists(st.floats(0, 12), min_size=1, max_size=60),
    st.sampled_from([0.01, 0.5, 0.95, 0.99, 1.0]),
)
def test_percentile_is_that_of_the_values_to_a_bucket(values, share):
    """Mutants: the bucket after the right one; counts below it left out."""
    ordered = sorted(min(value, SECONDS[-1]) for value in values)
    true = ordered[min(len(ordered) - 1, max(0, -int(-share * len(ordered) // 1) - 1))]
    low = max((bound for bound in (0.0, *SECONDS) if bound < true), default=0.0)
    high = min(bound for bound in SECONDS if bound >= true)

    found = percentile(SECONDS, histogram(values).counts, share)

    assert low - 1e-9 <= found <= high + 1e-9
