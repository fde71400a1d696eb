"""The client of the API that the commands use."""

import json
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple, Self

import httpx
import msgspec

from .command import Failure

#: Seconds for a whole answer: the disk of the service may be busy.
TIMEOUT = 30.0


class ApiProblem(Failure):
    """The API answered with an error (RFC 9457)."""

    def __init__(self, status: int, code: str, detail: str) -> None:
        self.status, self.code, self.detail = status, code, detail
        text = f"{status} {code}: {detail}" if detail else f"{status} {code}"
        hint = "; another key: --key, or SMSHOOK_API_KEY" if status in (401, 403) else ""
        super().__init__(text + hint)


class BadRequest(ApiProblem):
    """The API answered 400: the command line is wrong."""

    exit_code = 2


class _Page(msgspec.Struct, frozen=True):
    """A page of any list of the API."""

    data: list[Any]
    next_cursor: str
    has_more: bool


class Listing(NamedTuple):
    """The beginning of a list of the API."""

    items: list[Any]
    #: The place where the list continues.
    next_cursor: str
    more: bool


class ApiClient:
    """A client with one connection; use it in `with`."""

    #: Items of a page: as many as the API gives.
    page_size = 1000

    def __init__(self, url: str, key: str | None = None, *, timeout: float = TIMEOUT) -> None:
        # UTF-8, as the service hashes keys; httpx only accepts ASCII.
        headers = {b"authorization": b"Bearer " + key.encode()} if key else {}
        self.url = url
        # No proxy of the environment may see the key and the messages.
        self._http = httpx.Client(headers=headers, timeout=timeout, trust_env=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        self._http.close()

    def get(self, path: str, params: Mapping[str, Any] = {}) -> Any:
        """Return the decoded answer. Raise Failure, or ApiProblem for an error of the API."""
        return _decoded(self.send("GET", path, params=params))

    def post(self, path: str, **request: Any) -> Any:
        return _decoded(self.send("POST", path, **request))

    def delete(self, path: str) -> None:
        _check(self.send("DELETE", path))

    def listing(self, path: str, params: Mapping[str, Any], *, limit: int) -> Listing:
        """Return the first `limit` items of a list, and the cursor to continue from.

        Raise Failure, or ApiProblem for an error of the API.
        """
        items: list[Any] = []
        asked = dict(params)
        while True:
            # After the last item, ask for one more: an empty page does not end a list.
            missing = limit - len(items)
            page = self._page(path, {**asked, "limit": min(missing, self.page_size) or 1})
            if missing == 0 and page.data:
                return Listing(items, str(asked["after"]), more=True)
            items += page.data
            asked["after"] = page.next_cursor
            if not page.has_more:
                return Listing(items, page.next_cursor, more=False)

    def pages(self, path: str, params: Mapping[str, Any], *, limit: int) -> Iterator[Any]:
        """Yield the items of a list, at most `limit`."""
        after: Mapping[str, Any] = {}
        while limit > 0:
            page = self._page(path, {**params, **after, "limit": min(limit, self.page_size)})
            yield from page.data
            limit -= len(page.data)
            if not page.has_more:
                return
            # An empty page may not be the last: the service searches a part at a time.
            after = {"after": page.next_cursor}

    def wait(self, path: str, params: Mapping[str, Any]) -> httpx.Response:
        """Return the answer of a call that waits for an event: 200 or 204."""
        response = self.send("GET", path, params=params, timeout=TIMEOUT + float(params["timeout"]))
        _check(response)
        return response

    def stream(
        self, path: str, params: Mapping[str, Any], after: str, silent: float
    ) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yield the (cursor, event) of a stream until it ends.

        Raise Failure if the connection is lost, or if nothing comes for `silent` seconds.
        """
        timeout = httpx.Timeout(TIMEOUT, read=silent)
        url = self.url.rstrip("/") + path
        asked = {**params, "after": after}
        try:
            with self._http.stream("GET", url, params=asked, timeout=timeout) as response:
                if not response.is_success:
                    response.read()
                    _check(response)
                cursor = ""
                for line in response.iter_lines():
                    name, _, value = line.partition(": ")
                    if name == "id":
                        cursor = value
                    elif name == "data":
                        yield cursor, json.loads(value)
        except httpx.TransportError:
            raise Failure(f"lost the connection to {_place(self.url)}") from None
        except ValueError:
            raise _garbled(url) from None

    def _page(self, path: str, params: Mapping[str, Any]) -> _Page:
        try:
            return msgspec.convert(self.get(path, params), _Page)
        except msgspec.ValidationError:
            raise _garbled(self.url) from None

    def send(self, method: str, path: str, **request: Any) -> httpx.Response:
        """Return the answer, with any status. Raise Failure if there is no answer."""
        try:
            return self._http.request(method, self.url.rstrip("/") + path, **request)
        except httpx.TimeoutException:
            raise Failure(f"no answer from {_place(self.url)} in time") from None
        except httpx.TransportError:
            # The library's message may quote a header, and the key in it.
            raise Failure(f"cannot connect to {_place(self.url)}") from None


def _decoded(response: httpx.Response) -> Any:
    _check(response)
    try:
        return response.json()
    except ValueError:
        raise _garbled(str(response.url)) from None


def _garbled(url: str) -> Failure:
    return Failure(f"the server at {_place(url)} is not the API of smshook")


def _check(response: httpx.Response) -> None:
    """Raise the problem described by an error response."""
    if response.is_success:
        return
    try:
        problem = response.json()
        code, detail = str(problem["code"]), str(problem.get("detail") or "")
    except (ValueError, KeyError, TypeError, AttributeError):
        code, detail = response.reason_phrase, ""
    error = BadRequest if response.status_code == httpx.codes.BAD_REQUEST else ApiProblem
    raise error(response.status_code, code, detail)


def _place(url: str) -> str:
    """Return the scheme, host and port of a URL: its path or its user may be secret."""
    parts = httpx.URL(url)
    return f"{parts.scheme}://{parts.netloc.decode()}"
