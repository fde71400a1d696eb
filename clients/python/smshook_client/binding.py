"""Methods that are written once, as coroutines, and called with or without an event loop.

A `Blocking` object runs the coroutine to its end. Its transport never suspends, so no event loop is
needed. A `Waiting` object returns the coroutine, to be awaited.
"""

from collections.abc import AsyncGenerator, Callable, Coroutine, Generator
from functools import wraps
from typing import Any, Concatenate, Generic, ParamSpec, TypeVar, overload

P = ParamSpec("P")
T = TypeVar("T")
B = TypeVar("B")
W = TypeVar("W")


class Blocking:
    """A class with methods that return results."""


class Waiting:
    """A class with methods to be awaited."""


class call(Generic[P, T]):  # noqa: N801 - a decorator
    """Decorate a coroutine function in a base class of a Blocking and a Waiting class."""

    def __init__(self, method: Callable[Concatenate[Any, P], Coroutine[Any, Any, T]]) -> None:
        self._method = method

    @overload
    def __get__(self, client: None, owner: type) -> Callable[..., Any]: ...
    @overload
    def __get__(self, client: Blocking, owner: type) -> Callable[P, T]: ...
    @overload
    def __get__(self, client: Waiting, owner: type) -> Callable[P, Coroutine[Any, Any, T]]: ...
    def __get__(self, client: object, owner: type) -> Any:
        return _bind(self._method, client, owner, _run)


class iteration(Generic[P, T]):  # noqa: N801 - a decorator
    """Decorate an asynchronous generator function in such a base class."""

    def __init__(self, method: Callable[Concatenate[Any, P], AsyncGenerator[T, None]]) -> None:
        self._method = method

    @overload
    def __get__(self, client: None, owner: type) -> Callable[..., Any]: ...
    @overload
    def __get__(self, client: Blocking, owner: type) -> Callable[P, Generator[T, None, None]]: ...
    @overload
    def __get__(self, client: Waiting, owner: type) -> Callable[P, AsyncGenerator[T, None]]: ...
    def __get__(self, client: object, owner: type) -> Any:
        return _bind(self._method, client, owner, _iterate)


def opening(
    blocking: Callable[[T], B], waiting: Callable[[T], W]
) -> Callable[[Callable[Concatenate[Any, P], Coroutine[Any, Any, T]]], "_Opening[P, T, B, W]"]:
    """Decorate a coroutine function with a result that a Blocking and a Waiting class wrap."""
    return lambda method: _Opening(method, blocking, waiting)


class _Opening(Generic[P, T, B, W]):
    def __init__(
        self,
        method: Callable[Concatenate[Any, P], Coroutine[Any, Any, T]],
        blocking: Callable[[T], B],
        waiting: Callable[[T], W],
    ) -> None:
        self._method, self._blocking, self._waiting = method, blocking, waiting

    @overload
    def __get__(self, client: None, owner: type) -> Callable[..., Any]: ...
    @overload
    def __get__(self, client: Blocking, owner: type) -> Callable[P, B]: ...
    @overload
    def __get__(self, client: Waiting, owner: type) -> Callable[P, Coroutine[Any, Any, W]]: ...
    def __get__(self, client: object, owner: type) -> Any:
        wrap: Callable[[T], Any] = self._waiting if isinstance(client, Waiting) else self._blocking

        @wraps(self._method)
        async def opened(client: Any, *args: P.args, **kwargs: P.kwargs) -> Any:
            return wrap(await self._method(client, *args, **kwargs))

        return _bind(opened, client, owner, _run)


def _bind(
    method: Callable[..., Any], client: object, owner: type, run: Callable[[Any], Any]
) -> Callable[..., Any]:
    bound: Callable[..., Any] = method.__get__(client, owner)
    if not isinstance(client, Blocking):
        return bound

    @wraps(bound)
    def blocking(*args: Any, **kwargs: Any) -> Any:
        return run(bound(*args, **kwargs))

    return blocking


def _run(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine that never suspends."""
    try:
        coroutine.send(None)
    except StopIteration as done:
        result: T = done.value
        return result
    coroutine.close()
    raise RuntimeError("a blocking client cannot await an event loop")


def _iterate(items: AsyncGenerator[T, None]) -> Generator[T, None, None]:
    """Yield the items of an asynchronous generator that never suspends."""
    try:
        while True:
            try:
                item = _run(items.__anext__())
            except StopAsyncIteration:
                return
            yield item
    finally:
        _run(items.aclose())
