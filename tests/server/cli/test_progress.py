import pytest

from server.cli.progress import bar


@pytest.mark.parametrize(
    ("done", "whole", "shown"),
    [(0, 0, 0), (0, 3, 0), (1, 3, 6), (299, 300, 19), (3, 3, 20)],
)
def test_bar_is_full_only_at_the_end(done, whole, shown):
    """Mutants: rounded up; a division by zero."""
    assert bar(done, whole) == f"[{'#' * shown}{'-' * (20 - shown)}]"
