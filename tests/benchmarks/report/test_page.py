"""Templates show what was measured; a name that no run has is an error."""

import jinja2
import pytest
from measured import example

from benchmarks.report.page import UnknownName, environment

pytestmark = pytest.mark.uncounted

PLOT = "Megabytes of the process over time, at half the capacity"


def rendered(text, results=None, drawn=()):
    return environment(results or example(), drawn).from_string(text).render()


@pytest.mark.parametrize(
    ("expression", "text"),
    [
        ("run.version", "0.1.0"),
        ("median('pipeline/http')", "5,000/s"),
        ("median('pipeline/http', 0.0864, 'million')", "432 million"),
        ("median('bytes/kept/tellabot', 0.001, 'GB')", "0.610 GB"),
        ("median('fdatasync')", "0.625 ms"),
        ("find('pipeline/http').values | spread", "5,000 to 5,500"),
        ("compared('accept/tellabot/64/1', 'noop/64')", "0.450"),
        ("part('profile/pipeline', 'door', 'decode')", "30.0 %"),
        ("part('profile/pipeline', 'other')", "70.0 %"),
        ("verdict('accept')", "met"),
        ("verdict('answers')", "missed"),
        ("missed('accept', 'answers')", "True"),
        ("missed('accept')", "False"),
        ("unmet('accept')", "True"),
        ("unmet('answers')", "True"),
        ("plot('memory')", f"![{PLOT}](performance/memory.svg)"),
    ],
)
def test_expression_shows_the_measurement(expression, text):
    """Mutant: the ratio of the medians, which is half of `noop/64` (see its values)."""
    assert rendered(f"It is {{{{ {expression} }}}}.", drawn={"memory"}) == f"It is {text}."


@pytest.mark.parametrize(
    ("expression", "text"),
    [
        ("median('pipeline/file')", "not measured"),
        ("median('retry-storm', 0.0864, 'million')", "not measured"),
        ("compared('scale/1m', 'scale/empty')", "not measured"),
        ("part('profile/accept', 'door')", "not measured"),
        ("verdict('memory-flat')", "not measured"),
        ("missed('memory-flat')", "False"),
        ("unmet('memory-flat')", "False"),
        ("plot('memory')", f"{PLOT}: not measured."),
    ],
)
def test_expression_shows_that_a_measurement_is_missing(expression, text):
    assert rendered(f"{{{{ {expression} }}}}") == text


@pytest.mark.parametrize(
    ("expression", "complaint"),
    [
        ("median('pipelin/http')", "no run has a figure 'pipelin/http'"),
        ("median('')", "no run has a figure ''"),
        ("compared('noop/64', 'noop/65')", "no run has a figure 'noop/65'"),
        ("tables.figures(['noop/64', 'noop/65'])", "no run has a figure 'noop/65'"),
        ("verdict('memory')", "no run has a goal 'memory'"),
        ("missed('accept', 'memory')", "no run has a goal 'memory'"),
        ("plot('throughputs')", "no plot is named 'throughputs'; plots: throughput, latency"),
        ("part('profile/pipeline', 'door', 'window')", "no stage is window"),
    ],
)
def test_unknown_name_is_an_error(expression, complaint):
    """Mutant: a misspelt name that reads `not measured` for ever."""
    with pytest.raises(UnknownName, match=complaint):
        rendered(f"{{% import 'tables.md.jinja' as tables %}}{{{{ {expression} }}}}")


@pytest.mark.parametrize("expression", ["medium('noop/64')", "run.versoin", "tables.gaols()"])
def test_unknown_function_is_an_error(expression):
    """Mutant: Jinja2's default, which writes nothing."""
    with pytest.raises(jinja2.UndefinedError):
        rendered(f"{{% import 'tables.md.jinja' as tables %}}{{{{ {expression} }}}}")


def test_figure_that_only_this_run_has_can_be_named():
    assert rendered("{{ median('read/10m/a page/p50') }}") == "1.25 ms"
    assert rendered("{{ median('read/10m/tomorrow/p50') }}") == "not measured"
