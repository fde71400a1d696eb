"""The queries of all pages: none scans a whole table that grows with the journal."""

import re

import pytest
from consoles import seeded
from journals import shell

from journal.sqlite import paging, reader
from journal.sqlite.read_only import open_read_only

#: Tables that have rows for each event, order, callback or line.
LARGE = (
    *("events", "event_fields", "visible", "keys", "duplicates", "twins", "callbacks"),
    *("deliveries", "attempts", "probes", "orders", "order_events", "order_copies", "quarantine"),
    *("rejections", "pruned_events", "audit", "audit_hashes", "audit_events", "given_up"),
)
#: Indexes of few rows: deliveries that are pending, and orders that wait.
FEW = ("deliveries_fresh", "deliveries_retried", "orders_waiting")
SCAN = re.compile(
    rf"SCAN ({'|'.join(LARGE)})(?! USING (?:COVERING )?INDEX (?:{'|'.join(FEW)})\b)(?!\w)"
)
#: The first rows in the order of a key: the limit ends the scan.
FIRST_ROWS = re.compile(r"from \w+ +order by (seq|id|n)( desc| asc)? +limit \d+$")
MORE = [
    "/?since=all&source=tellabot",
    "/?since=all&source=tellabot&q=google",
    "/?since=all&with=none",
    "/?since=all&number=18505550001",
    "/?since=10m",
    "/?since=7d&q=google",
    "/?since=all&q=%2B18505550001",
    "/?q=request/10000006",
    "/?q=signup-42",
    "/?q=nothing-has-this-name&source=tellabot&with=none",
    "/states?event={plain}&event={failing}",
    "/deliveries?state=any",
    "/deliveries?state=any&since=24h",
    "/deliveries?state=any&sink=unknown",
    "/deliveries?state=dead&state=failing&source=tellabot&since=7d",
    "/deliveries?state=pending&sink=crm",
    "/deliveries?state=pending&state=sending&state=failing",
    "/deliveries?state=expired",
    "/deliveries?state=owed",
    "/deliveries?state=dead&source=unknown",
    "/deliveries?state=delivered&source=unknown",
    "/deliveries/retry?state=pending",
    "/deliveries/retry?state=dead&source=tellabot",
    "/deliveries/retry?state=expired&state=failing&sink=crm&since=7d",
    "/orders?state=waiting",
    "/orders?source=tellabot",
    "/orders?state=waiting&source=tellabot",
    "/quarantine?reason=malformed",
    "/audit?since=all&q=crm",
    "/audit?since=all&q={plain}",
]


@pytest.fixture(scope="module")
def traced(tmp_path_factory):
    """A service, and the list of the statements that its readers run."""
    statements = []

    def open_traced(path):
        conn = open_read_only(path)
        conn.set_trace_callback(statements.append)
        return conn

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reader, "open_read_only", open_traced)
        with seeded(tmp_path_factory.mktemp("plans")) as service:
            yield service, statements


def scans(path, statements):
    """Return the scans of large tables in the plans of these statements."""
    found = []
    with shell(path) as conn:
        for sql in dict.fromkeys(statements):
            if not FIRST_ROWS.search(sql):
                steps = [row[3] for row in conn.execute(f"explain query plan {sql}")]
                found += [(step, sql) for step in steps if SCAN.search(step)]
    return found


def test_no_page_scans_a_table_that_grows(traced, pages):
    """Mutant: the attempts of a page are read without the ids of its deliveries."""
    service, statements = traced
    admin = service.browser("admin")
    statements.clear()

    for page in [*pages, *MORE]:
        assert admin.get(page.format(**service.events)).status_code in (200, 303), page

    assert len(statements) > 100
    assert scans(service.config.journal.path, statements) == []


def test_pages_say_how_far_their_search_looked(traced, monkeypatch):
    """Mutant: an empty page does not say that older rows may match."""
    service, _ = traced
    monkeypatch.setattr(paging, "WINDOW", 5)
    admin = service.browser("admin")

    for path in (
        "/?since=all&source=unknown",
        "/orders?state=cancelled",
        "/deliveries?state=any&sink=unknown",
    ):
        text = admin.get(path).text
        assert "The search looked back to" in text, path
        assert 'rel="next">Older' in text, path


@pytest.mark.parametrize(
    ("sql", "is_found"),
    [
        ("select id from deliveries where state = 'dead'", True),
        ("select id from deliveries where +id between 1 and 9 order by id", True),
        ("select count(*) from orders", True),
        ("select * from quarantine order by seq desc limit 5", False),
        ("select id from deliveries where id between 1 and 9", False),
        ("select 1 from counters", False),
    ],
)
def test_scan_of_a_large_table_is_recognized(traced, sql, is_found):
    """The control of the test above."""
    service, _ = traced

    assert bool(scans(service.config.journal.path, [sql])) is is_found
