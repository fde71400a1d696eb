"""The tests of the wire run on uvloop, as the service does."""

import uvloop


def pytest_asyncio_loop_factories(item):  # noqa: ARG001 - every test here
    return {"uvloop": uvloop.new_event_loop}
