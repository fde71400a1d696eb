"""The client of the API that the commands use. Its errors end a command."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple, Self

import click
from click.core import ParameterSource

import smshook_client

from .command import Failure

_BAD_REQUEST = 400


class ApiProblem(Failure):
    """The API answered with an error (RFC 9457)."""

    def __init__(self, status: int, code: str, detail: str, complaints: Sequence[str] = ()) -> None:
        """`complaints` are about the configuration of the service, each with its place."""
        self.status, self.code, self.detail = status, code, detail
        self.complaints = complaints
        text = f"{status} {code}: {detail}" if detail else f"{status} {code}"
        super().__init__(text + (_hint() if status in (401, 403) else ""))


def _hint() -> str:
    """Return how to use another key than the one that the API refused."""
    context = click.get_current_context(silent=True)
    source = None if context is None else context.get_parameter_source("key")
    if source is ParameterSource.ENVIRONMENT:
        return "; the key is from SMSHOOK_API_KEY: unset it, or give --key"
    if source is ParameterSource.COMMANDLINE:
        return "; the key is from --key"
    return "; another key: --key, or SMSHOOK_API_KEY"


class BadRequest(ApiProblem):
    """The API answered 400: the command line is wrong."""

    exit_code = 2


class Listing(NamedTuple):
    """The beginning of a list of the API."""

    items: list[Any]
    #: The place where the list continues.
    next_cursor: str
    more: bool


class ApiClient:
    """A client with one connection; use it in `with`.

    Its methods raise Failure, or ApiProblem for an error of the API. It never retries: the person
    at the terminal decides.
    """

    #: Items of a page: as many as the API gives.
    page_size = 1000

    def __init__(
        self, url: str, key: str | None = None, *, timeout: float = smshook_client.TIMEOUT
    ) -> None:
        with api_failures():
            self._client = smshook_client.Client(url, key or "", timeout=timeout, retries=0)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        self._client.close()

    def get(self, path: str, params: Mapping[str, Any] = {}) -> Any:
        """Return the decoded answer."""
        with api_failures():
            return self._client.get(path, params)

    def post(self, path: str, **body: Any) -> Any:
        """Send a body as `smshook_client.Client.post` does, and return the decoded answer."""
        with api_failures():
            return self._client.post(path, **body)

    def delete(self, path: str) -> None:
        with api_failures():
            self._client.delete(path)

    def listing(self, path: str, params: Mapping[str, Any], *, limit: int) -> Listing:
        """Return the first `limit` items of a list, and the cursor to continue from."""
        items: list[Any] = []
        asked = dict(params)
        while True:
            # After the last item, ask for one more: an empty page does not end a list.
            missing = limit - len(items)
            with api_failures():
                size = min(missing, self.page_size) or 1
                page = self._client.page(path, {**asked, "limit": size})
            if missing == 0 and page.data:
                return Listing(items, str(asked["after"]), more=True)
            items += page.data
            asked["after"] = page.next_cursor
            if not page.has_more:
                return Listing(items, page.next_cursor, more=False)

    def pages(self, path: str, params: Mapping[str, Any], *, limit: int) -> Iterator[Any]:
        """Yield the items of a list, at most `limit`."""
        with api_failures():
            yield from self._client.pages(path, params, limit=limit, size=self.page_size)

    def wait(self, filters: Mapping[str, Any], *, after: str | None, timeout: float) -> Any | None:
        """Return the cursor and the event of the match; None if no event comes in time."""
        with api_failures():
            try:
                found = self._client.wait(timeout, after=after, **filters)
            except smshook_client.WaitTimeout:
                return None
        return {"cursor": found.cursor, "event": found.event.body}


@contextmanager
def api_failures() -> Iterator[None]:
    """Turn the errors of the client into those of a command."""
    try:
        yield
    except smshook_client.ApiError as exc:
        error = BadRequest if exc.status == _BAD_REQUEST else ApiProblem
        raise error(exc.status, exc.code, exc.detail, exc.problem.get("complaints", ())) from None
    except smshook_client.SmshookError as exc:
        raise Failure(str(exc)) from None
