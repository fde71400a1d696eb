"""Medians and ratios of figures, and the file that holds them."""

import msgspec
import pytest
from measured import example

from benchmarks.report import results
from benchmarks.report.results import Figure, ratios


def figure(*values):
    return Figure(name="f", unit="1/s", what="", values=values)


def test_median_is_that_of_the_repetitions():
    assert figure(3.0, 1.0, 100.0).median == 3.0
    assert figure(1.0, 2.0).median == 1.5


def test_ratio_is_that_of_each_repetition():
    """A slow minute slows both. Mutant: the ratio of the medians, 1.0 here."""
    assert ratios((10.0, 20.0, 60.0), (5.0, 20.0, 20.0)) == (2.0, 1.0, 3.0)


def test_different_repetitions_are_compared_by_the_medians():
    assert ratios((10.0,), (1.0, 2.0, 3.0)) == (5.0,)


@pytest.mark.parametrize("base", [(), (0.0,), (0.0, 0.0, 0.0)])
def test_ratio_to_nothing_is_empty(base):
    assert ratios((10.0,), base) == ()


def test_results_are_read_as_they_were_written(tmp_path):
    (tmp_path / "run.json").write_bytes(results.document(example()))

    assert results.read(tmp_path / "run.json") == example()


def test_results_with_a_wrong_type_are_refused(tmp_path):
    """Mutant: results read as any JSON."""
    run = tmp_path / "run.json"
    run.write_bytes(msgspec.json.encode(example()).replace(b"22000.0", b'"fast"'))

    with pytest.raises(msgspec.ValidationError, match="figures"):
        results.read(run)
