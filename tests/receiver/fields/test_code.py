"""The code of a message is read from its field, or found in its text."""

import json
import re
import string
import unicodedata
from collections import Counter
from functools import partial
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from regex_steps import lines_run, steps

from core import canonical
from core.canonical import canonical_code
from receiver.fields import code as codes
from receiver.fields import code_candidates, code_words
from receiver.fields import text as texts
from receiver.fields.code import find_code, is_sentence, read_code

#: One text a line, with its code or null.
TEXTS = [
    json.loads(line)
    for line in (Path(__file__).parent / "code_texts.jsonl").read_text("utf-8").splitlines()
]


@pytest.mark.parametrize(
    "code",
    [
        *("482913", "482 913", "123-456", "G-804036", "A8D-291", "fb-48213", "7KQ4M", "XKQPLM"),
        *("12:34", "FB 12345", "٢٠٤٩٨١", "CODE"),
    ],
)
def test_code_field_with_a_code_is_returned_as_sent(code):
    """Mutant: `_LETTERS` without its exception for the capitals of a prefix."""
    assert read_code(f" {code}\n", "Text 9999") == (code, "Text 9999")


@pytest.mark.parametrize(
    ("sentence", "code"),
    [
        ("Your code is 1234 and text", "1234"),
        ("Code:1234", "1234"),
        ("G-804036 is your Google verification code.", "G-804036"),
        ("activation code", None),
    ],
)
def test_sentence_in_a_code_field_becomes_the_text(sentence, code):
    """Mutant: `is_sentence` is always False, and a sentence is returned as a code."""
    assert read_code(sentence, None) == (code, sentence)
    assert read_code(sentence, "") == (code, sentence)
    assert read_code(sentence, "The text itself")[1] == "The text itself"


def test_fold_of_ascii_is_its_lower_case():
    """`fold` takes a shorter way. Mutant: a letter in `_PLAIN` that ASCII has."""
    ascii_text = "".join(map(chr, range(128)))

    assert code_words.fold(f"{ascii_text}é") == f"{ascii_text.lower()}e"


@pytest.mark.parametrize("letter", string.ascii_uppercase)
def test_letter_before_a_code_makes_no_sentence(letter):
    """`read_code` takes `G-804036` without `is_sentence`. Mutant: `k` is among the known words."""
    assert not is_sentence(f"{letter}-4829")


@pytest.mark.parametrize("code", [None, "", " ", "null", "None", "***", "-"])
def test_missing_code_is_found_in_the_text(code):
    """Mutant: placeholders such as `null` are codes."""
    assert read_code(code, "Your code is 1234") == ("1234", "Your code is 1234")
    assert read_code(code, None) == (None, None)


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("G-804036", "804036"),
        ("482 913", "482913"),
        ("fb-48213", "48213"),
        ("A8D-291", "A8D291"),
        ("7kq4m", "7KQ4M"),
        ("٢٠٤٩٨١", "204981"),
        ("---", ""),
    ],
)
def test_canonical_code_has_letters_and_digits_only(code, expected):
    """Mutants: the prefix stays; digits of other scripts stay; lower case stays."""
    assert canonical_code(code) == expected


# --- texts --------------------------------------------------------------------------------------


def test_find_code_returns_the_code_of_the_text():
    """Each of these mutants fails several rows.

    Mutants: no masks; a label does not reject; no kind `about`; only the beginning of a word counts
    and not its end; a sentence ends at `Rs.`; a label does not reach over `0800 `; the number
    before `is 482913` is judged; the first candidate instead of the nearest; `promo code` is a
    code; `expired` is ignored.
    """
    wrong = [
        (number, row["text"], row["code"], found)
        for number, row in enumerate(TEXTS, 1)
        if (found := find_code(row["text"])) != row["code"]
    ]

    assert wrong == []


def test_texts_cover_languages_and_scripts():
    """A rule must work in other languages than English, too."""
    without = [row for row in TEXTS if row["code"] is None]
    letters = (char for row in TEXTS for char in row["text"] if char.isalpha())
    scripts = Counter(unicodedata.name(char).split()[0] for char in letters)

    assert len({row["language"] for row in TEXTS}) >= 15
    assert len({name for name, count in scripts.items() if count >= 10}) >= 10
    assert len(TEXTS) >= 120
    assert len(without) >= 60


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Code 1234, code 5678", None),
        ("1234 or 5678", None),
        ("Code 1234. Again: code 1234", "1234"),
        ("Your code is cafe\u0301 4829", "4829"),
        ("Your code is ABC-12345", "ABC-12345"),
        ("Your code is EXPIRED", None),
        ("Code: 12 34 56", None),
        ("a1234b", None),
        ("", None),
        ("no digits", None),
        ("\n".join(f"code {n}" for n in range(1000, 1100)), None),
    ],
)
def test_find_code_returns_none_in_doubt(text, expected):
    """Mutants: the first of two equally near; `a1234b` is split; a list of numbers is judged."""
    assert find_code(text) == expected


@given(
    st.text()
    | st.lists(st.sampled_from([*"19 -.:,$*#()\n", "code", "is", "G-", "OTP"])).map("".join)
)
@example("\u0130code 1234")
def test_found_code_is_a_part_of_the_text(text):
    code = find_code(text)

    visible = text.translate(dict.fromkeys(map(ord, "\u00ad\u200b\u2060\ufeff")))
    assert code is None or code in unicodedata.normalize("NFC", visible)


@given(st.integers(1000, 99999999).map(str).filter(lambda code: code[:2] not in ("19", "20")))
def test_code_beside_its_word_is_found(code):
    assert find_code(f"Acme code: {code}") == code
    assert find_code(f"{code} is your Acme code. Order 77120034 of $12.50.") == code


# --- spellings ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "code", "expected"),
    [
        ("Your WhatsApp code is 482-913", "482913", True),
        ("G-804036 is your Google code", "804036", True),
        ("Your code is 804036", "G-804036", True),
        ("رمزك ٤٨٢٩١٣", "482913", True),
        ("验证码805281,", "805281", True),
        ("Use a8d 291", "A8D-291", True),
        ("Code 48 29 13", "482913", True),
        ("Code 482913", "4829", False),
        ("Code 482, 913", "482913", False),
        ("Valid for 10 min", "10", False),
        ("", "482913", False),
        ("482913", "", False),
    ],
)
def test_code_is_found_in_any_spelling(text, code, expected):
    """Mutants: a part of a run is enough; any text joins two runs."""
    assert canonical.has_code(text, code) is expected


@pytest.mark.parametrize(
    "text",
    [
        "Tom & Ann's code is 1234",
        " Tom &amp; Ann&#39;s\r\ncode\u00a0is  1234 ",
        "Tom &#38; Ann&apos;s<br/>code is<BR>1234",
        "Tom &amp; Ann's code\u200b is 1234\n",
    ],
)
def test_text_has_one_canonical_spelling(text):
    """Mutants: entities stay; only plain blanks are merged; `<br>` stays."""
    assert canonical.canonical_text(text) == "Tom & Ann's code is 1234"


# --- linear time --------------------------------------------------------------------------------

HOSTILE = (
    *("a", "A-", "1", "AB-1234 ", "http://", "1 ", "1.", "1,", "1-", "a.", "a.b/", "*", "1*", "a@"),
    *("@a", " ", "X", "A1", "\u78011", "(11)", "+1", "1 jan ", "x1", "\u2026", "\n@a #1", "11a"),
    *("$1", "1%", "a,", "- ", ": ", "code ", "code 1234\n", "111 ", "ma ", "[", '"'),
)
PATTERNS = {
    f"{module.__name__}.{name}[{n}]": pattern
    for module in (canonical, code_candidates, code_words, codes, texts)
    for name, value in vars(module).items()
    for n, pattern in enumerate(value if isinstance(value, tuple) else (value,))
    if isinstance(pattern, re.Pattern)
}


@pytest.mark.uncounted
@pytest.mark.parametrize("name", PATTERNS)
def test_pattern_steps_grow_with_the_text(name):
    """Mutant: a run of digits that may begin anywhere, `[0-9]+(?:[.,][0-9]+)+`: four times."""
    pattern = PATTERNS[name]
    for unit in HOSTILE:
        once, twice = (
            steps(pattern, "finditer", (unit * length)[:length] + "!") for length in (40, 80)
        )

        assert twice <= 2.5 * once + 200, unit


@pytest.mark.parametrize("unit", HOSTILE)
def test_executed_lines_grow_with_the_text(unit):
    """Mutant: no limit on the known words that are read beside each candidate."""
    find_code("Your code is 1234")  # loads the words
    for read in (find_code, texts.links):
        once, twice = (lines_run(partial(read, (unit * size)[:size])) for size in (1000, 2000))

        assert twice <= 2.5 * once + 500
