"""The contract of sinks that send to an HTTP endpoint: the fixture `end`."""

from contextlib import asynccontextmanager

import pytest
from contracts.sink import SinkContract, always_answering
from endpoint import hang, reply


class EndpointContract(SinkContract):
    @pytest.fixture
    def arrived(self, end):
        return lambda: [request.body for request in end.requests]

    @pytest.fixture
    def broken(self, end):
        @asynccontextmanager
        async def broken():
            usual, end.usual = end.usual, dropped
            yield
            end.usual = usual

        async def dropped(_request, connection):
            end.requests.pop()
            connection.reset()

        return broken

    @pytest.fixture
    def slow(self, end):
        return always_answering(end, hang)

    @pytest.fixture
    def refusing(self, end):
        return always_answering(end, reply(410, b"canary"))
