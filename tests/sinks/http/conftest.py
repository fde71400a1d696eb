import pytest

from sinks.http import client


@pytest.fixture(params=["plain", "pyreqwest"])
def each_client(request, monkeypatch):
    """Run the test with each client that can post over plain http."""
    if request.param == "pyreqwest":
        monkeypatch.setattr(client, "is_plain", lambda _url: False)
