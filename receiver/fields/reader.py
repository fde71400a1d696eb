"""Takes a callback's fields one by one, and notes those that make no sense."""

import re

from core.event import Price

from ..callback import Fields, Malformed, Number
from .code import read_code
from .numbers import e164, sender

_LONGEST_ID = 64
_NOT_POSITIVE = re.compile(r"[+-]?0*(\.0*)?|-[0-9.]+")
_WHOLE = re.compile(r"[0-9]+")
#: As many decimals as PHP prints of a float.
_AMOUNT = re.compile(r"[0-9]{1,15}(\.[0-9]{1,30})?")


class FieldReader:
    """Absent, null and empty are None without a warning; senseless is None with one."""

    def __init__(self, fields: Fields, warnings: list[str] | None = None) -> None:
        self._fields = fields
        self.warnings: list[str] = [] if warnings is None else warnings

    def warn(self, name: str) -> None:
        self.warnings.append(name)

    def nested(self, name: str) -> "FieldReader":
        """The object in that field, noting in the same list. Raises Malformed if it is none."""
        inner = self._fields.get(name)
        if not isinstance(inner, dict):
            raise Malformed("malformed", f"{name}: an object is expected")
        return FieldReader(inner, self.warnings)

    def replaced(self, fields: Fields) -> "FieldReader":
        """The same with other values for some fields, and no warnings yet."""
        return FieldReader({**self._fields, **fields})

    def raw(self, name: str) -> str:
        """As sent, for a key: empty where it is no text."""
        value = self._fields.get(name)
        return str(value) if isinstance(value, str) else ""

    def text(self, name: str) -> str | None:
        """A number in JSON is the text of its digits."""
        value = self._fields.get(name)
        if value is None or value == "":
            return None
        if isinstance(value, str):
            return str(value)
        self.warn(name)
        return None

    def id(self, name: str, *, blanks: bool = False) -> str | None:
        """A positive number or a short text; `0` is how forms say that there is none.

        `blanks`: the text may hold blanks, as names of phones do; those around it are dropped.
        """
        value = self._fields.get(name)
        if self.text(name) is None:
            return None
        if blanks and isinstance(value, str):
            value = type(value)(value.strip(" "))
        if not isinstance(value, str) or not _identifies(value, blanks=blanks):
            self.warn(name)
            return None
        return str(value)

    def message(self, code: str, text: str) -> tuple[str | None, str | None]:
        """Return the code and the text of a message from the fields of these names."""
        return read_code(self.text(code), self.text(text))

    def number(self, name: str, region: str | None) -> str | None:
        """Whom it was sent to: E.164, or None."""
        text = self.text(name)
        number = e164(text, region) if text is not None else None
        if text is not None and number is None:
            self.warn(name)
        return number

    def sender(self, name: str, region: str | None) -> str | None:
        """Who sent it: E.164, a short code or a name."""
        text = self.text(name)
        return None if text is None else sender(text, region)

    def price(self, name: str, currency: str | None) -> Price | None:
        text = self.text(name)
        if text is None:
            return None
        if not _AMOUNT.fullmatch(text):
            self.warn(name)
            return None
        return Price(amount=text, currency=currency)


def _identifies(value: str, *, blanks: bool) -> bool:
    if isinstance(value, Number) and not _WHOLE.fullmatch(value):
        return False
    if _NOT_POSITIVE.fullmatch(value):
        return False
    return len(value) <= _LONGEST_ID and (blanks or " " not in value) and value.isprintable()
