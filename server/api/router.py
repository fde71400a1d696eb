"""A router of the API."""

from typing import Self

from litestar import Router


class ApiRouter(Router):
    """A router of one app.

    Litestar copies each router with all its handlers, because it may belong to several apps. The
    copies took most of the time to make the app.
    """

    def __deepcopy__(self, _memo: object) -> Self:
        return self
