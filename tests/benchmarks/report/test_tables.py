"""Tables show medians, ratios, verdicts and shares."""

import re

from measured import example
from msgspec.structs import replace

from benchmarks.peers import PEERS
from benchmarks.report.page import environment, stages


def rendered(call, results=None):
    text = f"{{% import 'tables.md.jinja' as tables %}}{{{{ tables.{call} }}}}"
    return environment(results or example()).from_string(text).render().strip()


def rows(call, results=None):
    """The lines below the head."""
    return rendered(call, results).splitlines()[2:]


def test_goals_show_each_repetition_and_the_verdict():
    accept, answers = rows("goals()")

    met = "at least 0.4 | met | 0.5 | not reached | 0.450 | 0.450, 0.440, 0.500"
    missed = "at most 10 ms | **missed** | - | - | 11.0 ms | 12.0, 9.00, 11.0"
    assert accept == f"| `accept` | accept / bare | {met} |"
    assert answers == f"| `answers` | p99 of answers | {missed} |"


def test_goals_show_a_goal_that_was_not_measured():
    accept, answers = example().goals
    run = replace(example(), goals=(replace(accept, name="unknown", values=()), answers))

    assert rows("goals()", run)[0] == (
        "| `unknown` | accept / bare | at least 0.4 | not measured | 0.5 | not measured | - | - |"
    )


def test_rows_of_a_profile_sum_to_the_total():
    """Mutant: each row rounded alone, which makes 100.0 of 100.16 and of 100 %."""
    cells = (row.partition("|")[2].partition("|")[2] for row in rows("profile('profile/pipeline')"))

    [*parts, total, disk] = [[float(cell) for cell in re.findall(r"[\d.]+", row)] for row in cells]
    assert round(sum(time for time, _ in parts), 1) == total[0] == 100.2
    assert round(sum(share for _, share in parts), 1) == total[1] == 100.0
    assert disk == [25.0]


def test_stages_are_in_the_order_of_an_events_life():
    """`other` includes a stage that no run of today has."""
    assert stages(example(), "profile/pipeline") == {"door": 10.04, "decode": 20.04, "other": 70.08}


def test_peers_stand_in_order_of_speed_with_their_durability():
    """Mutants: smshook always first; a peer that was not measured left out."""
    found = rows("peers()")

    assert [row.split(" | ")[:5] for row in found] == [
        ["| mq-bridge", "11,000/s", "10,000 to 12,500", "0.500", "2.00"],
        ["| **smshook**", "5,000/s", "5,000 to 5,500", "0.250", "1.00"],
        ["| Node-RED", "550/s", "500 to 600", "0.0250", "0.100"],
        ["| mq-bridge (spool)", "not measured", "-", "not measured", "not measured"],
        ["| webhook", "not measured", "-", "not measured", "not measured"],
    ]
    assert all(any(peer.durability in row for row in found) for peer in PEERS)


def test_processor_time_has_a_row_for_each_case():
    """Mutant: columns for threads that no case used."""
    assert rendered("processor()").splitlines()[0] == (
        "| case | whole process | event loop | writing the journal |"
    )
    assert rows("processor()") == [
        "| `noop/64` | 30.0 µs | 30.0 µs | - |",
        "| `accept/tellabot/64/1` | 140 µs | 110 µs | 30.0 µs |",
    ]


def test_kind_of_memory_that_grew_has_one_row():
    assert rows("grew()") == ["| anonymous | 80.0 KB/min |"]


def test_question_of_the_api_has_one_row():
    assert rows("reads()") == ["| a page | 1.25 ms | not measured |"]


def test_missing_figure_shows_the_reason_if_there_is_one():
    assert rows("figures(['peer/webhook', 'start/10m', 'noop/256'])") == [
        "| `peer/webhook` | webhook is not there | not measured | - |",
        "| `start/10m` | no journal is kept | not measured | - |",
        "| `noop/256` | - | not measured | - |",
    ]


def test_table_without_rows_says_so():
    assert rendered("profile('profile/accept')") == "Not measured."


def test_bar_in_a_cell_is_escaped():
    assert rendered("pairs({'a': 'b | c'})").endswith("| a | b \\| c |")
