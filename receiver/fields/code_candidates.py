"""Finds the parts of a text that may be a one-time code."""

# ruff: noqa: RUF001, RUF003 - letters and marks of other scripts are meant as written

import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from typing import NamedTuple

from .code_words import kinds_of
from .text import link_spans

SHORTEST, LONGEST = 4, 8
#: Lengths that are a code only directly beside a word that announces one.
_DOUBTFUL_LENGTHS = frozenset({3, 9, 10})
_SHORTEST_MIX, _LONGEST_MIX = 5, 8

_RUN = re.compile(r"[0-9]+")
#: The characters that join two groups of one number.
_JOINTS = frozenset(" -\u00a0\u2007\u2009\u202f\u2010\u2011\u2012\u2013\u2212")
_BLANKS = " \u00a0\u2007\u2009\u202f"
#: The group sizes of codes in two groups.
_PAIRS = frozenset({(3, 3), (4, 4)})
_LONGEST_GROUP = 4

#: Every repetition is bounded, or cannot start where the one before did: the time is linear.
_NUMBER = (
    rf"(?<![0-9])(?:[0-9]{{1,3}}(?:[{_BLANKS},.'’][0-9]{{3}}){{1,4}}(?![0-9])(?:[.,][0-9]{{1,2}})?"
    r"|[0-9]{1,15}(?:[.,][0-9]{1,15}){0,3})"
)
_YEAR = r"(?:19|20)[0-9]{2}(?![0-9])"
_SYMBOL = "$€£¥₹₽₴₸₺₩₫฿₪₦₱₲₡₵₮₭₼₾₨﷼৳"
_MASKS = tuple(
    re.compile(pattern)
    for pattern in (
        # Decimals, dates, times of day: digits with a mark between.
        r"(?<![0-9])[0-9]++(?:[.,:/'’٫٬×x][0-9]++)++",
        rf"[{_SYMBOL}] ?{_NUMBER}",
        rf"{_NUMBER} ?[{_SYMBOL}%٪％‰°]",
        rf"{_NUMBER}(?:,[-–—]| ?so['’ʻʼ‘`]m(?![^\W_]))",
        # Telephone numbers: with `+`, or with an area code in brackets.
        r"\+ ?[0-9](?:[ ().\u00a0/-]{0,2}[0-9]){5,18}",
        r"\([0-9]{2,5}\)(?:[ .\u00a0-]{0,2}[0-9]){4,12}",
        r"(?<![0-9])0[0-9]{2,4}[ /-][0-9]{5,8}(?![0-9])",
        r"[☎☏✆📞📱📲]\ufe0f?[ :]{0,2}[0-9](?:[ -]?[0-9]){2,14}",
        # Commands that a telephone dials: *123*4829#.
        r"(?<![0-9*#])[*#][0-9]{1,8}(?:\*[0-9]{1,15}){0,4}\*[0-9]{1,15}#",
        # Masked cards and accounts: 4412****1234, XX1234, …1234.
        r"(?<![0-9])[0-9]{1,12}(?:\*\*|[•·]|…(?=[^\W_]))",
        r"(?:\*\*+|[•·…]+|\.\.\.+)[0-9*•·-]*",
        r"(?<![^\W_])x{1,12}-?[0-9]{3,8}",
        r"(?<![*\w])\*[0-9]{3,6}(?![*0-9])",
        # E-mail addresses.
        r"(?<![\w.+-])[\w.+-]++@[\w-]++(?:\.[\w-]++)*",
        # The hash by which Android finds the application of a text.
        r"(?<!\S)[a-z0-9+/]{11}\s*\Z",
        # A day, a month and a year.
        rf"(?<![0-9])[0-9]{{1,2}}[.,]? ?(?:de |of )?[^\W\d_]{{3,12}}\.?,? (?:de |of )?{_YEAR}",
        r"(?<![^\W\d_])[^\W\d_]{3,12}\.? [0-9]{1,2}(?:st|nd|rd|th)?,? " + _YEAR,
        r"(?<![0-9])[0-9]{1,2}-?[a-z]{3}-?" + _YEAR,
    )
)
#: A year, or a date without marks: `20261121`, `21112026`.
_DATE = re.compile(
    r"(?:19|20)[0-9]{2}(?:(?:0[1-9]|1[0-2])(?:0[1-9]|[12][0-9]|3[01]))?"
    r"|(?:0[1-9]|[12][0-9]|3[01])(?:0[1-9]|1[0-2])(?:19|20)[0-9]{2}"
)
_YEARS_JOINED = re.compile(r"(?:19|20)[0-9]{2}.(?:19|20)[0-9]{2}")
_PREFIX = re.compile(r"(?<![^\W_])[A-Z]{1,2}[-\u2010\u2011]\Z")
_LONGEST_PREFIX = 3
_LONGEST_WORD = 24
_MIX = re.compile(r"(?<![^\W_])(?<![-_])[A-Z0-9]{1,8}(?:-[A-Z0-9]{1,8})?(?![^\W_]|[-_][^\W_])")
_CAPITALS = re.compile(r"(?<![^\W_])(?<![-_'’])[A-Z]{5,8}(?![^\W_]|[-_'’][^\W_])")
_MIX_PARTS = re.compile(r"[A-Z]+|[0-9]+")


class Candidate(NamedTuple):
    """A part of the text that may be the code."""

    start: int
    end: int
    #: Whether it is a code only directly beside a word that announces one.
    doubtful: bool = False
    #: Whether it has only capitals: then it is a code only directly after a word that announces
    #: one.
    capitals: bool = False


class _Run(NamedTuple):
    start: int
    end: int

    @property
    def size(self) -> int:
        return self.end - self.start


def find_candidates(text: str, low: str, units: Iterable[int]) -> list[Candidate]:
    """Return the candidates of a text, in order of their start.

    `low` is the folded text; `units` are the starts of words that count or name money.
    """
    # A byte for each character: 1 in a link, an amount, a date or a telephone number.
    masked = bytearray(len(low))
    spans = [match.span() for pattern in _MASKS for match in pattern.finditer(low)]
    for start, end in [*spans, *link_spans(text)]:
        masked[start:end] = b"\1" * (end - start)
    counted = frozenset(units)
    #: Runs of digits, each joined to the next by one blank or hyphen.
    chains: list[list[_Run]] = []
    for run in (_Run(*match.span()) for match in _RUN.finditer(low)):
        # A unit may follow: `10 minutes`, `10-minute`, `1200 р.`.
        has_unit = run.end in counted or (
            low[run.end : run.end + 1] in _JOINTS and run.end + 1 in counted
        )
        if masked[run.start] or has_unit:
            continue
        if chains and run.start == chains[-1][-1].end + 1 and low[run.start - 1] in _JOINTS:
            chains[-1].append(run)
        else:
            chains.append([run])
    found = [one for chain in chains for one in _find_numbers(text, low, chain)]
    found += _find_mixes(text, masked)
    found += [
        Candidate(*match.span(), doubtful=True, capitals=True)
        for match in _CAPITALS.finditer(text)
        if not (masked[match.start()] or kinds_of(match[0].lower()) or is_wordlike(match[0]))
    ]
    return sorted(found)


# --- digits -------------------------------------------------------------------------------------


def _find_numbers(text: str, low: str, chain: Sequence[_Run]) -> Iterator[Candidate]:
    """Find the code in a chain, or one in each of its runs if a run is too long for a group."""
    if len(chain) == 1 or any(run.size > _LONGEST_GROUP for run in chain):
        for run in chain:
            is_code = SHORTEST <= run.size <= LONGEST
            if not (is_code or run.size in _DOUBTFUL_LENGTHS) or _is_attached(low, run):
                continue
            start = _with_prefix(text, run.start) if is_code else run.start
            doubtful = not is_code or _DATE.fullmatch(low, *run) is not None
            yield Candidate(start, run.end, doubtful=doubtful)
        return
    sizes = tuple(run.size for run in chain)
    whole = _Run(chain[0].start, chain[-1].end)
    # Three groups or more are a telephone number, a card or a parcel.
    if len(sizes) > 2 or not SHORTEST <= sum(sizes) <= LONGEST:  # noqa: PLR2004 - two groups
        return
    if _YEARS_JOINED.fullmatch(low, *whole) or _is_attached(low, whole):
        return
    # `0900-1700` may be opening hours.
    is_hours = all(is_clock(low[run.start : run.end]) for run in chain)
    doubtful = sizes not in _PAIRS or is_hours
    yield Candidate(_with_prefix(text, whole.start), whole.end, doubtful=doubtful)


def _is_attached(low: str, run: _Run) -> bool:
    """Whether a letter is attached to it, other than in `PIN1234` or `码1234`."""
    before, after = low[run.start - 1 : run.start], low[run.end : run.end + 1]
    if _has_case(after):
        return True
    if not _has_case(before):
        return False
    start = run.start - 1
    while start > max(0, run.start - _LONGEST_WORD) and _has_case(low[start - 1]):
        start -= 1
    return "announce" not in kinds_of(low[start : run.start])


def _has_case(char: str) -> bool:
    return char.isalpha() and char.upper() != char


def is_clock(digits: str) -> bool:
    """Whether four digits can be a time of day."""
    return len(digits) == 4 and digits.isdecimal() and digits[:2] < "24" and digits[2:] < "60"  # noqa: PLR2004


def _with_prefix(text: str, start: int) -> int:
    """Return the start of a code with these digits, with its prefix: the `G-` of `G-804036`."""
    if text[start - 1 : start] not in ("-", "\u2010", "\u2011"):
        return start
    prefix = _PREFIX.search(text, max(0, start - _LONGEST_PREFIX), start)
    return prefix.start() if prefix and not kinds_of(prefix[0][:-1].lower()) else start


# --- letters ------------------------------------------------------------------------------------


def _find_mixes(text: str, masked: bytearray) -> Iterator[Candidate]:
    """Find five to eight capitals and digits: `7KQ4M`, `A8D-291`."""
    for match in _MIX.finditer(text):
        whole = match[0].replace("-", "")
        letters = [part for part in _MIX_PARTS.findall(whole) if part.isalpha()]
        if not letters or len("".join(letters)) == len(whole) or masked[match.start()]:
            continue
        if not _SHORTEST_MIX <= len(whole) <= _LONGEST_MIX:
            continue
        # `PIN1234`, `INR5000` and `REF-4821` are a word and a number, each read alone.
        known = len(letters) == 1 and whole.startswith(letters[0]) and kinds_of(letters[0].lower())
        # `G-8040` is found among the digits already.
        before, _, digits = match[0].partition("-")
        prefixed = before.isalpha() and len(before) < _LONGEST_PREFIX and digits.isdigit()
        if not known and not prefixed:
            yield Candidate(*match.span(), doubtful=True)


_VOWELS = "AEIOUY"
#: Pairs that are rare in all languages with Latin letters.
_RARE = re.compile(
    r"B[FGKPQXZ]|C[BFGJPVXW]|D[QXCKP]|F[BCDGHJKMPQVWXZ]|G[BCFJKPQVXZ]|H[BCDFGHJKPQVXZ]|J[B-DF-HJ-NP-TV-Z]"
    r"|K[BCDFGJMPQXZ]|L[JQXZ]|M[CDFGHJKLQRVWXZ]|P[BCDFGJKMQVWXZ]|Q[^U]|R[JQX]|S[XZ]|T[BDGJKPQVX]"
    r"|V[BCDFGHJKMNPQSTWXZ]|W[BCDFGJKMPQTVXZ]|X[BDFGHJKLMNQRSVWXZ]|Z[BCDFGHJKMNPQRSTVWX]|II|UU|AA|YY|Q\Z"
)
_LONGEST_CLUSTER = 3


def is_wordlike(capitals: str) -> bool:
    """Whether these capitals may be a word or a name, as random codes seldom may."""
    vowels = [char in _VOWELS for char in capitals]
    clusters = [len(list(group)) for is_vowel, group in groupby(vowels) if not is_vowel]
    if not any(vowels) or max(clusters, default=0) > _LONGEST_CLUSTER:
        return False
    return _RARE.search(capitals) is None
