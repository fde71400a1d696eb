"""Finds the words of a text that distinguish a one-time code from other numbers."""

# ruff: noqa: RUF001 - letters and marks of other scripts are meant as written

import re
import unicodedata
from collections.abc import Mapping, Sequence
from functools import cache, lru_cache
from importlib import resources
from typing import NamedTuple

#: Letters that Unicode does not decompose.
_PLAIN = {"ı": "i", "ł": "l", "đ": "d", "ø": "o", "ß": "s", "æ": "a", "œ": "o"}
_CACHED_BELOW = 0x3000
WORD = re.compile(r"[^\W\d_]+")
_LONGEST_WORD = 40
#: Scripts without blanks between words, or with particles joined to words.
UNSPACED = re.compile(
    r"[\u0900-\u109f\u1100-\u11ff\u1200-\u137f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]"
)
#: Articles and prepositions that are joined to a word in Arabic and Hebrew.
_JOINED = re.compile(r"[وف]?(?:ال|بال|لل|[بلك])|[ושכ]?[הבלמ]")
_KIND = re.compile(r"\[(\w+)\]")


class KnownWord(NamedTuple):
    """A known word in a text."""

    start: int
    end: int
    kinds: frozenset[str]


class _Fold(dict[int, str]):
    """Maps each letter to lower case without accents, and each decimal digit to ASCII."""

    def __missing__(self, ordinal: int) -> str:
        char = chr(ordinal)
        if char.isdecimal():
            folded = str(unicodedata.decimal(char))
        elif not char.isalpha() or UNSPACED.match(char):
            folded = char
        else:
            base = unicodedata.normalize("NFKD", char)[0].lower()[0]
            folded = _PLAIN.get(base, base)
        if ordinal < _CACHED_BELOW:  # limits the memory that hostile texts can use
            self[ordinal] = folded
        return folded


_FOLD = _Fold()


def fold(text: str) -> str:
    """Return the text in lower case, without accents, digits as ASCII; of the same length."""
    return text.lower() if text.isascii() else text.translate(_FOLD)


class _Lexicon(NamedTuple):
    words: Mapping[str, frozenset[str]]
    #: Words that count with their accents only: Vietnamese `mã`, which is not `ma`.
    accented: Mapping[str, frozenset[str]]
    beginnings: Mapping[str, frozenset[str]]
    endings: Mapping[str, frozenset[str]]
    #: The following words, by the first word.
    phrases: Mapping[str, Sequence[tuple[tuple[str, ...], frozenset[str]]]]
    anywhere: Mapping[str, frozenset[str]]
    anywhere_pattern: re.Pattern[str]
    beginning_lengths: Sequence[int]
    ending_lengths: Sequence[int]


@cache
def _lexicon() -> _Lexicon:
    tables: dict[str, dict[str, set[str]]] = {
        name: {} for name in ("words", "accented", "beginnings", "endings", "phrases", "anywhere")
    }
    kind = ""
    text = (resources.files(__package__) / "tables" / "code_words.txt").read_text("utf-8")
    for line in text.splitlines():
        if match := _KIND.fullmatch(line):
            kind = match[1]
        elif not line.startswith("#"):
            for entry in line.split():
                table, key = _table_and_key(entry)
                tables[table].setdefault(key, set()).add(kind)
    frozen = {
        name: {key: frozenset(kinds) for key, kinds in table.items()}
        for name, table in tables.items()
    }
    phrases: dict[str, list[tuple[tuple[str, ...], frozenset[str]]]] = {}
    for phrase, kinds in frozen["phrases"].items():
        first, *rest = phrase.split("_")
        phrases.setdefault(first, []).append((tuple(rest), kinds))
    anywhere = sorted(frozen["anywhere"], key=len, reverse=True)
    return _Lexicon(
        words=frozen["words"],
        accented=frozen["accented"],
        beginnings=frozen["beginnings"],
        endings=frozen["endings"],
        phrases=phrases,
        anywhere=frozen["anywhere"],
        anywhere_pattern=re.compile("|".join(map(re.escape, anywhere))),
        beginning_lengths=sorted({len(key) for key in frozen["beginnings"]}, reverse=True),
        ending_lengths=sorted({len(key) for key in frozen["endings"]}, reverse=True),
    )


def _table_and_key(entry: str) -> tuple[str, str]:
    """Return the name of an entry's table, and the entry folded and without its marks."""
    if entry.startswith("!"):
        return "accented", entry[1:]
    if UNSPACED.search(entry):
        return "anywhere", fold(entry.replace("_", " "))
    folded = fold(entry)
    if "_" in entry:
        return "phrases", folded
    if entry.endswith("*"):
        return "beginnings", folded.rstrip("*")
    if entry.startswith("*"):
        return "endings", folded.lstrip("*")
    return "words", folded


def kinds_of(word: str) -> frozenset[str]:
    """Return the kinds of a folded word; empty if it is not known."""
    return _find_kinds(word) if len(word) <= _LONGEST_WORD else frozenset()


@lru_cache(maxsize=4096)
def _find_kinds(word: str) -> frozenset[str]:
    lexicon = _lexicon()
    found = lexicon.words.get(word)
    if found is not None:
        return found
    joined = _JOINED.match(word)
    rest = word[joined.end() :] if joined else ""
    # Its longest known beginning and end count: `Sicherheitscode` has both.
    beginnings = (lexicon.beginnings.get(word[:length]) for length in lexicon.beginning_lengths)
    endings = (lexicon.endings.get(word[-length:]) for length in lexicon.ending_lengths)
    longest = [next(filter(None, kinds), ()) for kinds in (beginnings, endings)]
    return frozenset(lexicon.words.get(rest, ())).union(*longest)


def find_words(text: str, low: str) -> list[KnownWord]:
    """Return the known words of a text, in order; `low` is the text folded."""
    lexicon = _lexicon()
    words = [match.span() for match in WORD.finditer(low)]
    hits = []
    for index, (start, end) in enumerate(words):
        word = low[start:end]
        kinds = kinds_of(word) | lexicon.accented.get(text[start:end].lower(), frozenset())
        for rest, more in lexicon.phrases.get(word, ()):
            spans = words[index + 1 : index + 1 + len(rest)]
            if tuple(low[slice(*span)] for span in spans) == rest:
                hits.append(KnownWord(start, spans[-1][1], more))
        if kinds:
            hits.append(KnownWord(start, end, kinds))
    if UNSPACED.search(low):
        hits += [
            KnownWord(*match.span(), lexicon.anywhere[match[0]])
            for match in lexicon.anywhere_pattern.finditer(low)
        ]
        hits.sort()
    return hits
