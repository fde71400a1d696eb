"""Phone numbers become E.164 where `phonenumbers` calls them possible."""

import subprocess
import sys

import phonenumbers
import pytest
from hypothesis import given
from hypothesis import strategies as st

from receiver.fields import numbers
from receiver.fields.numbers import digits, e164, sender

LIKE_A_US_NUMBER = st.one_of(
    st.from_regex(r"\A\+?1?[0-9]{10}\Z"),
    st.from_regex(r"\A1 ?\(?[0-9]{3}\)? ?[0-9]{3}-[0-9]{4}\Z"),
    st.text(alphabet="0123456789+ -().", max_size=16),
)


def by_the_library(text):
    try:
        number = phonenumbers.parse(text, "US")
    except phonenumbers.NumberParseException:
        return None
    reason = phonenumbers.is_possible_number_with_reason(number)
    if reason != phonenumbers.ValidationResult.IS_POSSIBLE:
        return None
    return phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)


@given(LIKE_A_US_NUMBER)
def test_us_rule_agrees_with_the_library(text):
    """Mutant: the first digit may be 0 or 1, and `011…` is an American number."""
    assert e164(text, "US") == by_the_library(text)


def test_us_rule_avoids_the_library(monkeypatch):
    monkeypatch.delattr(numbers, "_possible")

    assert e164("18503814729", "US") == "+18503814729"
    assert e164("8503814729", "US") == "+18503814729"


@pytest.mark.parametrize(
    ("text", "region", "expected"),
    [
        ("18503814729", "US", "+18503814729"),
        ("8503814729", "US", "+18503814729"),
        ("+1 (850) 381-4729", "US", "+18503814729"),
        ("+442079460958", "US", "+442079460958"),
        ("011 44 20 7946 0958", "US", "+442079460958"),
        ("3814729", "US", None),
        ("22000", "US", None),
        # A `+` that a form did not escape.
        (" 18503814729", "US", "+18503814729"),
        (" 18503814729", "GB", "+18503814729"),
        (" 442079460958", "US", "+442079460958"),
        (" 79991234567", None, "+79991234567"),
        (" 8503814729", "US", "+18503814729"),  # +850 381… is no number, so it is a blank
        (" 22000", "US", None),
        ("79991234567", None, "+79991234567"),
        ("+7 999 123-45-67", None, "+79991234567"),
        ("7999123", None, None),
        ("88005553535", None, None),  # a domestic number of Russia; +880 is another country
        ("00000000000", None, None),
        ("1850-GOOGLE-1", "US", None),
        ("8503814729 ext. 3", "US", None),
        ("8503814729;ext=3", "US", None),
        ("tel:+18503814729", "US", None),
        ("\u0668503814729", "US", None),
        ("\uff18503814729", "US", None),
        ("8503814729\n", "US", None),
        ("<script>1</script>", "US", None),
        ("1" * 5000, "US", None),
        ("1" * 5000, None, None),
        ("+" * 30, "US", None),
        ("", "US", None),
        ("", None, None),
    ],
)
def test_number_is_e164_or_none(text, region, expected):
    """Mutant: only the library checks, which reads digits of any script and vanity letters."""
    assert e164(text, region) == expected


@pytest.mark.parametrize(
    ("text", "region", "expected"),
    [
        ("22000", "US", "22000"),
        ("Google", "US", "Google"),
        ("18005550123", "US", "+18005550123"),
        ("SPORTMASTER", None, "SPORTMASTER"),
        ("89854", None, "89854"),
        ("+23456789", None, "+23456789"),
        ("79991234567", None, "+79991234567"),
        ("12345678901234567890", None, "12345678901234567890"),
        ("ACME 12345678", None, "ACME 12345678"),
        (" 22000 ", "US", " 22000 "),
    ],
)
def test_sender_without_a_number_stays_as_sent(text, region, expected):
    """Mutant: the short code 22000 becomes a number with a `+`."""
    assert sender(text, region) == expected


@given(st.text(), st.sampled_from(["US", None]))
def test_any_text_is_e164_or_none(text, region):
    number = e164(text, region)

    assert number is None or (number[0] == "+" and number[1:] == digits(number))


FIRST_NUMBER = """
import os, resource
from receiver.fields.numbers import e164, load_metadata

load_metadata()
resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
try:
    while True:
        os.open("/dev/null", 0)
except OSError:
    pass
for _ in range(2):
    print(e164("+447700900123", None), e164("+33612345678", None))
"""


def test_first_number_of_a_country_needs_no_descriptor():
    """Mutant: without `load_metadata`, the first number raises and the second waits for ever."""
    done = subprocess.run(
        [sys.executable, "-c", FIRST_NUMBER], capture_output=True, text=True, timeout=60, check=True
    )

    assert done.stdout.split() == ["+447700900123", "+33612345678"] * 2
