"""m008 on deliveries of an older version."""

from journals import shell

from journal.sqlite.schema import _scripts

STEP = "m008_lanes_and_probes"


def test_migrated_deliveries_are_held_and_correctly_ordered(path):
    """Mutants: deliveries that failed before are not held; `null` still orders."""
    rows = [
        # id, state, attempts, due_at, scheduled_at, ordering
        (1, "pending", 2, 900.0, None, None),
        (2, "pending", 2, 900.0, 900.0, None),  # the sink named that time
        (3, "pending", 0, 900.0, None, None),
        (4, "dead", 15, None, None, None),
        (5, "sending", 0, None, None, "null"),
        (6, "pending", 0, None, None, "null"),
        (7, "pending", 0, None, None, ""),
        (8, "pending", 0, None, None, '"+11"'),
    ]
    scripts = dict(_scripts())
    with shell(path) as conn:
        for name in sorted(name for name in scripts if name < STEP):
            conn.executescript("".join(scripts[name]))
        conn.executemany(
            "insert into deliveries (id, event, sink, state, attempts, due_at, scheduled_at,"
            " ordering, accepted_at) values (?, 1, 'log', ?, ?, ?, ?, ?, 500.0)",
            rows,
        )

        conn.executescript("".join(scripts[STEP]))

        found = conn.execute("select id, held, due_at, ordering from deliveries").fetchall()

    assert found == [
        (1, 1, 900.0, None),
        (2, 0, 900.0, None),
        (3, 0, 900.0, None),
        (4, 0, None, None),
        (5, 0, None, None),
        (6, 0, 500.0, None),
        (7, 0, 500.0, None),
        (8, 0, None, '"+11"'),
    ]
