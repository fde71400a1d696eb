"""Errors of the client. No message holds a key, a text, a code or a phone number.

SmshookError
├── ConfigurationError    no URL or no usable key
├── Unreachable           no connection, or no answer in time
├── InvalidAnswer         the answer is not one of smshook
├── WaitTimeout           no event came in time
└── ApiError              smshook answered with an error
"""

from collections.abc import Mapping
from typing import Any


class SmshookError(Exception):
    """Any error of this client."""

    #: Whether the same call may succeed later.
    is_temporary = False
    #: Seconds to wait before the next try, if the service said so.
    retry_after: float | None = None
    #: The place where a wait was cut off.
    cursor: str | None = None


class ConfigurationError(SmshookError, ValueError):
    """There is no URL, or no usable key."""


class Unreachable(SmshookError):
    """There is no connection, or no answer in time.

    `connected`: there was a connection.
    """

    is_temporary = True

    def __init__(self, text: str, *, connected: bool) -> None:
        super().__init__(text)
        self.connected = connected


class InvalidAnswer(SmshookError):
    """The server is not the API of smshook."""


class WaitTimeout(SmshookError, TimeoutError):
    """No matching event came in time."""


class ApiError(SmshookError):
    """smshook answered with an error (RFC 9457)."""

    def __init__(
        self,
        status: int,
        code: str,
        detail: str = "",
        *,
        request_id: str | None = None,
        retry_after: float | None = None,
        cursor: str | None = None,
        problem: Mapping[str, Any] = {},
    ) -> None:
        """`code` is stable, such as `not_found`; `detail` explains it to people."""
        super().__init__(f"{status} {code}: {detail}" if detail else f"{status} {code}")
        self.status, self.code, self.detail = status, code, detail
        #: The id of the request in the log of the service.
        self.request_id = request_id
        self.retry_after, self.cursor = retry_after, cursor
        #: All fields of the error.
        self.problem = problem
        self.is_temporary = status in (429, 502, 503, 504)
