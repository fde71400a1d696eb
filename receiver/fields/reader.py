"""Reads a callback's fields one by one, and records those that are invalid."""

import re
from functools import lru_cache

from core.event import Price

from ..callback import Fields, Malformed, Number
from .code import read_code
from .numbers import e164, sender

_LONGEST_ID = 64
_NOT_POSITIVE = re.compile(r"[+-]?0*(\.0*)?|-[0-9.]+")
_WHOLE = re.compile(r"[0-9]+")
#: An amount of money. PHP prints up to 30 decimals of a float.
AMOUNT = re.compile(r"[0-9]{1,15}(\.[0-9]{1,30})?")
_LONGEST_AMOUNT = 46


class FieldReader:
    """Reads fields. An absent, null or empty one is None; an invalid one is None with a warning."""

    __slots__ = ("_fields", "warnings")

    def __init__(self, fields: Fields, warnings: list[str] | None = None) -> None:
        self._fields = fields
        self.warnings: list[str] = [] if warnings is None else warnings

    def warn(self, name: str) -> None:
        self.warnings.append(name)

    def nested(self, name: str) -> "FieldReader":
        """Return a reader of the object in a field, with the same warnings.

        Raises Malformed if the field is no object.
        """
        inner = self._fields.get(name)
        if not isinstance(inner, dict):
            raise Malformed("malformed", f"{name}: an object is expected")
        return FieldReader(inner, self.warnings)

    def replaced(self, fields: Fields) -> "FieldReader":
        """Return a reader with other values for some fields, and without warnings."""
        return FieldReader({**self._fields, **fields})

    def raw(self, name: str) -> str:
        """Return the text as sent, for a key; empty if it is no text."""
        value = self._fields.get(name)
        if type(value) is str:
            return value  # nearly all
        return str(value) if isinstance(value, str) else ""

    def text(self, name: str) -> str | None:
        """Return a text, or the digits of a JSON number."""
        value = self._fields.get(name)
        if type(value) is str:
            return value or None  # nearly all
        if isinstance(value, str):
            return str(value) or None
        if value is not None:
            self.warn(name)
        return None

    def id(self, name: str, *, blanks: bool = False) -> str | None:
        """Return a positive number or a short text; `0` in a form means that there is no id.

        With `blanks`, the text may have blanks, as names of phones do; blanks around it are cut.
        """
        value = self._fields.get(name)
        if value is None:
            return None
        if (
            isinstance(value, str)
            and value.isdecimal()
            and value.isascii()
            and value[0] != "0"
            and len(value) <= _LONGEST_ID
        ):
            return str(value)  # nearly all
        if self.text(name) is None:
            return None
        if blanks and isinstance(value, str):
            value = type(value)(value.strip(" "))
        if (
            not isinstance(value, str)
            or (isinstance(value, Number) and not _WHOLE.fullmatch(value))
            or _NOT_POSITIVE.fullmatch(value)
            or len(value) > _LONGEST_ID
            or (" " in value and not blanks)
            or not value.isprintable()
        ):
            self.warn(name)
            return None
        return str(value)

    def message(self, code: str, text: str) -> tuple[str | None, str | None]:
        """Return the code and the text of a message from the fields with these names."""
        return read_code(self.text(code), self.text(text))

    def number(self, name: str, region: str | None) -> str | None:
        """Return the number of the recipient: E.164, or None."""
        text = self.text(name)
        number = e164(text, region) if text is not None else None
        if text is not None and number is None:
            self.warn(name)
        return number

    def sender(self, name: str, region: str | None) -> str | None:
        """Return the sender: E.164, a short code or a name."""
        text = self.text(name)
        return None if text is None else sender(text, region)

    def price(self, name: str, currency: str | None) -> Price | None:
        text = self.text(name)
        if text is None:
            return None
        price = _read_price(text, currency) if len(text) <= _LONGEST_AMOUNT else None
        if price is None:
            self.warn(name)
        return price


@lru_cache(maxsize=1024)
def _read_price(text: str, currency: str | None) -> Price | None:
    """Return a price. An account pays few different ones, so they are cached."""
    return Price(amount=text, currency=currency) if AMOUNT.fullmatch(text) else None
