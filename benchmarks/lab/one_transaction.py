"""The `smshook` command with a transaction for each request, to measure the group commit.

    python -m benchmarks.lab.one_transaction serve

Only this benchmark has the switch; the product does not.
"""

from journal.commit import GroupCommit
from server.cli.main import main


def commit_one_at_a_time() -> None:
    """Let each batch hold one operation."""
    defaults = GroupCommit.__init__.__kwdefaults__
    if not defaults or "most" not in defaults:
        raise SystemExit("journal.commit.GroupCommit has no `most` any more: adapt this benchmark")
    defaults["most"] = 1


if __name__ == "__main__":
    commit_one_at_a_time()
    main()
