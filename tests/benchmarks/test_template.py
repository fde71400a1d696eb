"""Placeholders become what was measured; one that no run has is an error."""

import pytest
from measured import example
from msgspec.structs import replace

from benchmarks.template import UnknownPlaceholder, filled


@pytest.mark.parametrize(
    ("placeholder", "text"),
    [
        ("{made}", "2026-11-26 at 12:00 UTC"),
        ("{version}", "0.1.0"),
        ("{commit}", "0123abc"),
        ("{kind}", "a whole run"),
        ("{goals met}", "1 of 2 goals are met; missed: `answers`."),
        ("{median pipeline/http}", "5,000/s"),
        ("{median fdatasync}", "0.625 ms"),
        ("{spread pipeline/http}", "5,000 to 5,500"),
        ("{ratio accept/tellabot/64/1 noop/64}", "0.450"),
        ("{speed peer/mq-bridge-sqlite pipeline/http}", "2.00 times as fast as"),
        ("{day pipeline/http}", "432 million"),
        ("{million bytes/kept/tellabot}", "0.610 GB"),
        ("{part profile/pipeline: door + decode}", "30.0 %"),
        ("{goal accept}", "met"),
        ("{goal answers}", "missed"),
        ("{missed answers: slow}", "slow"),
        ("{missed accept answers:\n* slow}", "\n* slow"),
        ("{missed accept: slow}", ""),
        ("{part profile/pipeline: other}", "70.0 %"),
        (
            "{plot memory}",
            "![Megabytes of the process over time, at half the capacity](performance/memory.svg)",
        ),
    ],
)
def test_a_placeholder_becomes_what_was_measured(placeholder, text):
    """Mutant: the ratio of the medians, which is half of `noop/64` (see its values)."""
    assert filled(f"It is {placeholder}.", example()) == f"It is {text}."


@pytest.mark.parametrize(
    ("placeholder", "text"),
    [
        ("{median pipeline/file}", "not measured"),
        ("{spread memory/most}", "not measured"),
        ("{ratio scale/1m scale/empty}", "not measured"),
        ("{speed peer/webhook pipeline/http}", "not measured beside"),
        ("{day retry-storm}", "not measured"),
        ("{million bytes/written/tellabot}", "not measured"),
        ("{part profile/accept: door}", "not measured"),
        ("{goal memory-flat}", "not measured"),
        ("{missed memory-flat: it grew}", ""),
        ("{table profile/accept}", "Not measured."),
        ("{group bytes/written}", "Not measured."),
    ],
)
def test_what_this_run_lacks_says_so(placeholder, text):
    assert filled(placeholder, example()) == text


def test_what_is_left_out_leaves_no_gap():
    assert filled("a\n\n{missed accept: slow}\n\nb", example()) == "a\n\nb"


def test_the_plot_of_what_was_not_measured_is_not_shown():
    """Mutant: an image that leads nowhere."""
    page = filled("{plot growth}", replace(example(), figures=()))

    assert page.endswith("in the journal: not measured.")


@pytest.mark.parametrize(
    ("placeholder", "complaint"),
    [
        ("{}", "'' is not one of"),
        ("{medium pipeline/http}", "'medium' is not one of"),
        ("{median pipelin/http}", "no run has a figure 'pipelin/http'"),
        ("{median}", "no run has a figure ''"),
        ("{ratio noop/64}", "no run has a figure ''"),
        ("{figures noop/64 noop/65}", "no run has a figure 'noop/65'"),
        ("{goal memory}", "no run has a goal 'memory'"),
        ("{missed accept memory: slow}", "no run has a goal 'memory'"),
        ("{table gaols}", "not one of goals, peers"),
        ("{plot throughputs}", "not one of throughput, latency"),
        ("{part profile/pipeline: door + window}", "no stage is window"),
    ],
)
def test_a_placeholder_that_no_run_has_is_an_error(placeholder, complaint):
    """Mutant: a misspelt name that reads `not measured` for ever."""
    with pytest.raises(UnknownPlaceholder, match=complaint):
        filled(placeholder, example())


def test_a_figure_that_only_this_run_has_can_be_named():
    assert filled("{median read/10m/tomorrow/p50}", example()) == "not measured"
    assert filled("{group read/10m}", example()).endswith(
        "| `read/10m/a page/p50` | a page | 1.25 ms | once |"
    )
