"""Lines about facts of the audit log name the fact's own line, and no person."""

import pytest
from structlog.testing import capture_logs

from journal.audit.lines import Fact
from server.log.facts import log_facts
from server.log.frequent import FrequentLines

KEY = {"by": "key/ana", "from": "192.0.2.7"}
PERSON = {"by": "session/ana@example.com", "from": "192.0.2.7", "session": "5e551017"}


def logged(*facts, leaves=None):
    with capture_logs() as lines:
        log_facts(FrequentLines(), facts, range(7, 7 + len(facts)) if leaves is None else leaves)
    return lines


@pytest.mark.parametrize(
    ("fact", "line"),
    [
        (
            Fact("code.read", {**KEY, "how": "event", "event": "e", "fields": ["code"]}),
            {"key": "ana", "how": "event", "count": 1},
        ),
        (
            Fact("code.read", {**KEY, "how": "order", "events": ["e", "f"]}),
            {"key": "ana", "how": "order", "count": 2},
        ),
        (
            Fact("code.read", {**KEY, "how": "list", "places": "1000000-1000003,1000017"}),
            {"key": "ana", "how": "list", "count": 5},
        ),
        (
            Fact("code.read", {**PERSON, "how": "reveal", "event": "e", "reason": "secret"}),
            {"key": None, "how": "reveal", "count": 1},
        ),
        (
            Fact("seal.destroyed", {"by": "service", "kind": "codes", "root": "r", "events": 2}),
            {"kind": "codes", "period": None, "events": 2},
        ),
        (Fact("session.opened", {**KEY, "scopes": []}), {"key": "ana", "peer": "192.0.2.7"}),
        (Fact("session.opened", PERSON), {"key": None, "peer": "192.0.2.7"}),
        (
            Fact("session.refused", {"from": "*", "reason": "key", "count": 3}),
            {"reason": "key", "peer": "*", "count": 3},
        ),
    ],
    ids=lambda one: one.do if isinstance(one, Fact) else "",
)
def test_line_says_what_was_done_and_where_its_proof_is(fact, line):
    """Mutants: the user of a proxy is named; a range counts as one event; all fields are shown."""
    assert logged(fact) == [{"event": fact.do, "log_level": "info", **line, "leaf": 7}]


def test_each_line_has_its_own_leaf():
    """Mutant: the first leaf counts on over facts that are not kept."""
    read = Fact("code.read", {**KEY, "how": "event", "event": "e"})
    rejected = Fact("callback.rejected", {"from": "*", "reason": "token", "count": 1})

    assert [8, 9] == [
        line["leaf"] for line in logged(rejected, read, rejected, read, leaves=(None, 8, None, 9))
    ]


def test_other_facts_have_no_line():
    assert logged(Fact("key.refused", {"key": "ana"}), leaves=(7,)) == []
    assert logged(Fact("session.opened", KEY), leaves=(None,)) == []
