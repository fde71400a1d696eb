"""A client of smshook: wait for codes, read and follow events."""

from .client import TIMEOUT, AsyncClient, AsyncConsumer, AsyncOrder, Client, Consumer, Order
from .errors import (
    ApiError,
    ConfigurationError,
    InvalidAnswer,
    SmshookError,
    Unreachable,
    WaitTimeout,
)
from .records import Batch, Code, Event, Filters, Item, Page

__all__ = [
    "TIMEOUT",
    "ApiError",
    "AsyncClient",
    "AsyncConsumer",
    "AsyncOrder",
    "Batch",
    "Client",
    "Code",
    "ConfigurationError",
    "Consumer",
    "Event",
    "Filters",
    "InvalidAnswer",
    "Item",
    "Order",
    "Page",
    "SmshookError",
    "Unreachable",
    "WaitTimeout",
]
