"""The two clients with one face, for tests that hold for both."""

import asyncio

import smshook_client


class Blocking:
    """Calls `Client` in a thread, because the servers of the tests run in the event loop."""

    def __init__(self, *args, **kwargs):
        self.client = smshook_client.Client(*args, **kwargs)

    async def ask(self, method, *args, **kwargs):
        return await asyncio.to_thread(method, *args, **kwargs)

    async def read(self, method, *args, most, **kwargs):
        """Return the first items of a generator, and close it."""

        def read():
            items, found = method(*args, **kwargs), []
            try:
                while len(found) < most:
                    found.append(next(items))
            except StopIteration:
                pass
            finally:
                items.close()
            return found

        return await asyncio.to_thread(read)


class Waiting:
    """Awaits `AsyncClient`."""

    def __init__(self, *args, **kwargs):
        self.client = smshook_client.AsyncClient(*args, **kwargs)

    async def ask(self, method, *args, **kwargs):
        return await method(*args, **kwargs)

    async def read(self, method, *args, most, **kwargs):
        items, found = method(*args, **kwargs), []
        try:
            while len(found) < most:
                found.append(await anext(items))
        except StopAsyncIteration:
            pass
        finally:
            await items.aclose()
        return found


KINDS = [Blocking, Waiting]
