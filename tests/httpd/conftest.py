"""What is on the wire is tried on both event loops: uvloop serves, asyncio is what people debug."""

import asyncio

import uvloop


def pytest_asyncio_loop_factories(item):
    if item.path.name == "test_protocol.py":
        return {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}
    return {"asyncio": asyncio.new_event_loop}
