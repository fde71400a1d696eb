"""`/mcp` starts its tools at the first request, and again after a failure."""

from server.api import mcp as module


class App:
    """The tools, as far as `/mcp` sees them."""

    has_ended = False

    def __init__(self, _api):
        pass

    async def start(self):
        pass

    async def __call__(self, name, _scope, _receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": name.encode()})


class BrokenApp(App):
    async def start(self):
        raise OSError


async def test_tools_start_again_after_a_failure(service, monkeypatch):
    """Mutants: the failure is the answer for ever; each request starts them; tools that ended are
    used."""
    loaded = []

    def load():
        loaded.append(None)
        if len(loaded) == 1:
            raise ImportError
        return BrokenApp if len(loaded) == 2 else App

    monkeypatch.setattr(module, "_load", load)

    async def ask():
        return (await service.ask("/mcp", method="POST")).status_code

    assert [await ask() for _ in range(4)] == [500, 500, 200, 200]
    assert len(loaded) == 3
    monkeypatch.setattr(App, "has_ended", True)
    assert (await ask(), len(loaded)) == (200, 4)
