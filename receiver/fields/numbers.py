"""Converts phone numbers as providers write them to E.164."""

import re

import phonenumbers
from phonenumbers.phonemetadata import PhoneMetadata

#: ASCII only, because `phonenumbers` also reads digits of any script, letters of vanity numbers
#: and extensions. No number is longer.
_NUMBER = re.compile(r"\+?[0-9 ().-]{1,40}")
#: A complete number of the North American plan, as nearly all numbers of a US provider are: the
#: texts before it, and its number of digits.
_US_PREFIXES, _US_DIGITS = frozenset({"", "1", "+1"}), 10
_NO_DIGITS = re.compile(r"[^0-9]+")
#: Shorter ones are short codes.
SHORTEST = 8


def load_metadata() -> None:
    """Load the rules of all countries, which takes a third of a second.

    phonenumbers would load a country's rules at its first number. If that fails, such as without a
    free descriptor, it keeps a lock, and the next number of that country waits forever.
    """
    PhoneMetadata.load_all()


def digits(text: str) -> str:
    """Return the ASCII digits in a text."""
    return _NO_DIGITS.sub("", text)


def e164(text: str, region: str | None) -> str | None:
    """Return `+18503814729` for `18503814729`; None for a text that is no possible number.

    `region` is the country of numbers without `+` (ISO 3166-1 alpha-2). None reads them as
    international numbers without their `+`, of at least 8 digits. A blank before the digits is a
    `+` that a form did not escape.
    """
    if text[:1] == " " and text[1:2].isdigit():
        number = as_written(f"+{text[1:]}", None)
        if number is not None:
            return number
    return as_written(text, region)


def as_written(text: str, region: str | None) -> str | None:
    """Return the same as `e164`, but ignore a blank before the digits."""
    if region == "US" and text[:-_US_DIGITS] in _US_PREFIXES:
        national = text[-_US_DIGITS:]
        is_number = len(national) == _US_DIGITS and national.isdecimal() and national.isascii()
        if is_number and national[0] not in "01":
            return f"+1{national}"  # 30 times faster; a test compares the results
    if not _NUMBER.fullmatch(text):
        return None
    if region is not None:
        return _possible(text, region)
    international = "+" + digits(text)
    number = _possible(international, None) if len(international) > SHORTEST else None
    # phonenumbers drops a zero that is only dialled within a country: `88005553535` is Russian.
    return number if number == international else None


def _possible(text: str, region: str | None) -> str | None:
    try:
        number = phonenumbers.parse(text, region)
    except phonenumbers.NumberParseException:
        return None
    reason = phonenumbers.is_possible_number_with_reason(number)
    if reason != phonenumbers.ValidationResult.IS_POSSIBLE:  # local-only has its own reason
        return None
    return phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)


def sender(text: str, region: str | None) -> str:
    """Return a sender as E.164; a short code or a name as sent."""
    if len(text) < SHORTEST or len(digits(text)) < SHORTEST:
        return text
    return e164(text, region) or text
