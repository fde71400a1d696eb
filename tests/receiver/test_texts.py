"""Codes, links and slugs are found in texts, in linear time."""

import re
import time

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from receiver.codes import find_code
from receiver.texts import links, slug

WORDS = ("passcode", "code", "pin", "otp", "код")
TEXTS = st.lists(
    st.sampled_from(
        [
            *WORDS,
            *("CODE", "Код", "G-", "FB-", "ABC-", "g-", "opinion", " ", ": ", ".", "s", "_", "-"),
            *("804036", "12345678", "123456789", "1234", "123", "99", "1", "\u0663"),
        ]
    )
).map("".join)


def naive(text):
    """The contract's sentence, clause by clause."""
    runs = []
    for end in range(len(text) + 1):
        for start in range(end):
            run = text[start:end]
            whole = not re.match("[0-9]", text[end:]) and not re.search("[0-9]$", text[:start])
            if whole and re.fullmatch("[0-9]+", run) and 4 <= len(run) <= 8:
                runs.append((start, prefix(text, start) + run))
    words = [end for start in range(len(text)) for end in [word_at(text, start)] if end]
    after = [run for start, run in runs if words and start >= min(words)]
    if after:
        return after[0]
    return runs[0][1] if len(runs) == 1 else None


def prefix(text, start):
    for length in (3, 2):
        before = text[max(0, start - length - 1) : max(0, start - length)]
        candidate = text[max(0, start - length) : start]
        is_one = re.fullmatch("[A-Z]{1,2}-", candidate) and len(candidate) == length
        if is_one and not re.fullmatch(r"\w", before):
            return candidate
    return ""


def word_at(text, start):
    """Where the word that starts here ends; a letter before or after makes it another word."""
    for word in WORDS:
        end = start + len(word)
        before, after = text[max(0, start - 1) : start], text[end : end + 1]
        if text[start:end].lower() == word and not before.isalpha() and not after.isalpha():
            return end
    return None


@given(TEXTS)
@example("Your code: G-804036 or 1234")
@example("804036 is your code")
@example("1234 5678")
def test_a_code_is_what_the_contract_says(text):
    assert find_code(text) == naive(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("G-804036 is your Google verification code.", "G-804036"),
        ("Your Acme code is 012345", "012345"),
        ("Order 99887 - your OTP: 4711", "4711"),
        ("Код для регистрации 2792, заказ 12345", "2792"),
        ("КОД:2792 12345", "2792"),
        ("a1234b", "1234"),
        ("FB-12345", "FB-12345"),
        ("ABC-12345", "12345"),
        ("xG-12345", "12345"),
        ("In my opinion 1234 beats 5678", None),
        ("1234 or 5678", None),
        ("123-456", None),
        ("123456789", None),
        ("\uff11234 56\u0667", None),
        ("", None),
        ("no digits", None),
    ],
)
def test_a_code_is_found_where_a_person_would_look(text, expected):
    """Mutants: the prefix is dropped; `pin` is found in `opinion`; two runs are no doubt."""
    assert find_code(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Go to https://amazon.com/devices.", ("https://amazon.com/devices",)),
        ("(see http://a.example/x?y=1&z=2)!", ("http://a.example/x?y=1&z=2",)),
        (
            "https://example.org/a_(b), HTTPS://B.example",
            ("https://example.org/a_(b)", "HTTPS://B.example"),
        ),
        ("<https://evil.example/login|Open>", ("https://evil.example/login|Open",)),
        ("javascript:alert(1) ftp://a.example mailto:a@b.example", ()),
        ("https:// http://... http", ()),
        ("a\nhttps://a.example\r\nb", ("https://a.example",)),
        ("", ()),
    ],
)
def test_links_are_http_and_https_without_the_sentences_punctuation(text, expected):
    assert links(text) == expected


@given(
    st.text() | st.lists(st.sampled_from(["http://", "https://", "a", ".", ")", " "])).map("".join)
)
def test_a_link_is_a_part_of_the_text(text):
    assert all(link in text and link.lower().startswith("http") for link in links(text))


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("Google", "google"),
        ("Google,youtube,Gmail", "google"),
        ("7-Eleven", "7eleven"),
        ("Any other", "anyother"),
        ("Яндекс", ""),
        (",", ""),
        ("аcme", "cme"),  # noqa: RUF001 - its first letter is Cyrillic, and must not pass for Latin
    ],
)
def test_a_slug_is_the_first_name_in_lower_case_letters_and_digits(name, expected):
    assert slug(name) == expected


@pytest.mark.parametrize(
    "unit", ["a", "A-", "1", "AB-1234 ", "http://", "pin", "code ", "http://a ", ")", ".", "G", "_"]
)
def test_64_kib_of_anything_take_milliseconds(unit):
    """Mutant: a prefix of any length, `[A-Z]+-`, looks at a long word again from each letter."""
    text = unit * (65536 // len(unit))
    took = []
    for _ in range(3):
        start = time.thread_time()
        find_code(text), links(text), slug(text)
        took.append(time.thread_time() - start)

    # 20 ms at most where this was written; quadratic is seconds.
    assert min(took) < 0.15
