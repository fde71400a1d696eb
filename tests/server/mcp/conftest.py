import live
import pytest
from mcp_clients import CONFIG


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    with live.Live(tmp_path_factory.mktemp("service"), CONFIG) as running:
        yield running
