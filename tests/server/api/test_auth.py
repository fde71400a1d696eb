"""The guards of the API."""

import inspect

import pytest

from server.api.auth import NeedsScope, NeedsScopeOrCommand


@pytest.mark.parametrize("guard", [NeedsScope, NeedsScopeOrCommand])
def test_guard_runs_without_a_thread(guard):
    """Mutant: a plain function: Litestar runs it in a thread, which takes longer than the guard."""
    assert inspect.iscoroutinefunction(guard.__call__)
