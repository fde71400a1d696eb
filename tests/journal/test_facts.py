"""The names under which lines of the audit log are found."""

import pytest

from journal.audit.lines import Fact
from journal.facts import events_of, part_of


@pytest.mark.parametrize(
    ("fields", "names"),
    [
        ({"event": "a"}, ["a"]),
        ({"events": ["a", "b"]}, ["a", "b"]),
        ({"events": 300}, []),
        ({"places": "1-3,9"}, ["#0"]),
        ({"places": "1000-1030"}, ["#0", "#1"]),
        ({"places": "5,1023,1024-4100,9000"}, ["#0", "#1", "#2", "#3", "#4", "#8"]),
    ],
)
def test_line_is_found_by_its_events_and_the_parts_of_its_places(fields, names):
    """Mutants: the first part of a range only; a part for each range."""
    assert events_of(Fact("code.read", fields)) == names


def test_line_of_another_kind_is_found_by_its_kind():
    assert events_of(Fact("stream.opened", {"stream": "a"})) == ["#streams"]
    assert events_of(Fact("service.stopping")) == []
    assert [part_of(place) for place in (1, 1023, 1024)] == ["#0", "#0", "#1"]
