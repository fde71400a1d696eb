"""The product's own command, but with a transaction for each request: what group commit brings.

    python -m benchmarks.one_transaction serve

This switch is the benchmark's; the product has none.
"""

from journal.commit import GroupCommit
from server.cli.main import main


def one_at_a_time() -> None:
    """From now on each batch holds one operation."""
    defaults = GroupCommit.__init__.__kwdefaults__
    if not defaults or "most" not in defaults:
        raise SystemExit("journal.commit.GroupCommit has no `most` any more: mend this benchmark")
    defaults["most"] = 1


if __name__ == "__main__":
    one_at_a_time()
    main()
