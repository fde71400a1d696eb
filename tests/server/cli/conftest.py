"""A running service in which commands are typed."""

import live
import pytest
from prompt import be_in


@pytest.fixture(scope="module")
def service(request, tmp_path_factory):
    """Run one service for a module's tests, with the module's CONFIG if it has one.

    Each test uses events, orders or sources of its own.
    """
    config = getattr(request.module, "CONFIG", live.CONFIG)
    with live.Live(tmp_path_factory.mktemp("service"), config) as running:
        yield running


@pytest.fixture
def here(service, monkeypatch):
    """Make the service's folder the current one, as for a person who types commands there."""
    be_in(service.folder, monkeypatch)
    return service
