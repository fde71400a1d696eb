"""Reads the one-time code of a message from its field, or finds it in the text.

A wrong code is worse than no code, so a doubtful one is None. The words that distinguish codes from
other numbers are in `tables/code_words.txt`.
"""

# ruff: noqa: RUF001 - letters and marks of other scripts are meant as written

import re
import unicodedata
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator
from enum import IntEnum
from itertools import chain, takewhile
from typing import NamedTuple

from core.canonical import canonical_code

from .code_candidates import Candidate, find_candidates, is_clock
from .code_words import UNSPACED, WORD, KnownWord, find_words, fold, kinds_of

#: A code as providers write it: groups of letters and digits, joined by one blank or mark.
_CODE = re.compile(r"[A-Za-z\d]+(?:[ \u00a0._:/-][A-Za-z\d]+){0,7}")
_LONGEST_CODE = 64
#: No letter alone is a known word, so these are no sentences.
_PLAIN_CODE = re.compile(r"(?:[A-Z]-)?[0-9]{1,16}")
#: A group of letters alone, other than the capitals of a prefix (`FB 12345`).
_LETTERS = re.compile(r"(?<!\S)(?![A-Z]{1,2}(?!\S))[A-Za-z]+(?!\S)")
#: Placeholders of programs for a missing code.
_NO_CODE = frozenset({"null", "none", "nil", "undefined", "false", "n/a"})

#: The longest SMS there can be: 255 parts of 153 characters.
_LONGEST_TEXT = 255 * 153
#: https://wicg.github.io/sms-one-time-codes/: `@example.com #A7KD29`, a line of its own.
_WEB_OTP = re.compile(
    r"^@[A-Za-z0-9.-]{1,255} #([A-Za-z0-9-]{3,32})(?: [@%][A-Za-z0-9.-]{1,255})?[ \r]*$",
    re.MULTILINE,
)

_DIGIT = re.compile(r"[0-9]")
_CAPITALS = re.compile(r"[A-Z]{5}")
_PERCENT = re.compile(r"[0-9] ?[%٪％]")
#: The end of a sentence, without `Rs.` and `No.`.
_BREAK = re.compile(
    r"(?:(?<!\brs)(?<!\bno)(?<!\bnr)(?<!\brp)\.|[!?])(?=[\s\"'»”)\]]|\Z)|[\n\r।。！？؟;；]"
)
_CLAUSE = re.compile(r"[,，、،]")
#: The marks that end the reach of a label: `[LINE] 4829`, `your order, 4829 is the code`.
_APART = re.compile(r"[,，、،)\]】》」』>]")
_ENDS_A_LABEL = re.compile("|".join(one.pattern for one in (_DIGIT, _BREAK, _APART)))
#: Marks before a number that refer to the words before it, and marks after one.
_IS_BEFORE = re.compile(r"[:：=→>«\"“*]\W{0,6}\Z|[—–-]\s{0,3}\Z")
_IS_AFTER = re.compile(r"[\s\"”»)\]*]{0,6}(?:[—–:=]|-(?!-))")
_NUMBER_FOLLOWS = re.compile(
    r"\s{0,3}(?:[:：=#]|is\b|es\b|e\b|est\b|ist\b)?\s{0,3}[\"'«“(\[#*]{0,3}[0-9]{3}"
)
_NUMBER_SIGN = re.compile(r"(?:\bn|)[#№°º]\s{0,2}\Z")
#: A group of digits before another group: `Call 0800 482913`.
_GROUP_BEFORE = re.compile(r"[0-9]{2,12}[ \u00a0-]\Z")
#: Invisible characters that a code may contain.
_INVISIBLE = dict.fromkeys(map(ord, "\u00ad\u200b\u2060\ufeff"))
_DOT = re.compile(r"\s{0,3}\.\s{0,3}[:#]?\s{0,3}")
_MONEY = re.compile(r"[ .:]{0,2}")
_FUTURE_BEFORE = re.compile(r"\b(?:will|to|akan|sera|wird|sara|va)\b[^.]{0,12}\Z")
_FUTURE_AFTER = re.compile(r"\s{0,3}(?:in|within|after|at|on|dalam|sau|en|em|dans|tra)\b")
#: The reach of a word: characters, known words and other words up to its number.
_REACH, _FAR, _NEAREST, _MOST_WORDS = 60, 160, 12, 6
#: A text with more numbers is a list.
_MOST_CANDIDATES = 50
#: The reach in letters, for scripts without blanks.
_CLOSE, _MOST_LETTERS = 6, 12

_ANNOUNCE, _VERB, _TOPIC, _LABEL, _NUMBER = "announce", "soft", "topic", "label", "number"
_LABELS = frozenset({_TOPIC, _LABEL})
_OF = frozenset({"", "de", "del", "di", "do", "of", "na", "du", "da", "za"})
_PLACES = frozenset({"clock", "to"})
_FILLERS = frozenset({"copula", _NUMBER})
#: The kind of `promo`, and the kinds of a code beside it.
_OTHER, _OTHER_CODE = "not_one_time", frozenset({_LABEL})


def read_code(code: str | None, text: str | None) -> tuple[str | None, str | None]:
    """Return the code and the text of a message from these two fields of a provider.

    `code` is returned as sent, without blanks around it. If it is a sentence, the code is found in
    it, and it replaces a missing text. If it is missing, blank or a word such as `null`, the code
    is found in the text. An empty text is returned as None.
    """
    text = text or None
    stripped = "" if code is None else code.strip()
    if _PLAIN_CODE.fullmatch(stripped):
        return stripped, text  # nearly all
    if not any(map(str.isalnum, stripped)) or stripped.lower() in _NO_CODE:
        return (find_code(text) if text else None), text
    if not is_sentence(stripped):
        return stripped, text
    return find_code(stripped) or (find_code(text) if text else None), text or stripped


def is_sentence(code: str) -> bool:
    """Whether a code field has a whole text: `Your code is 1234`, not `482 913` or `A8D-291`."""
    if len(code) > _LONGEST_CODE or not _CODE.fullmatch(code):
        return True
    if len(code.split()) > 1 and _LETTERS.search(code):
        return True
    # `Code:1234` announces a code; the word `CODE` alone is a placeholder in examples.
    low = fold(code)
    announced = any(_ANNOUNCE in kinds_of(word) for word in WORD.findall(low))
    return announced and _DIGIT.search(low) is not None


def find_code(text: str) -> str | None:
    """Return the one-time code in a text as written there; None without a certain code."""
    text = text[:_LONGEST_TEXT]
    if not text.isascii():
        text = unicodedata.normalize("NFC", text.translate(_INVISIBLE))
    low = fold(text)
    if not _DIGIT.search(low) and not _CAPITALS.search(text):
        return None
    for match in _WEB_OTP.finditer(text):
        if _DIGIT.search(match[1]) or match[1].isupper():
            return match[1]
    found = _Text(text, low).code()
    return None if found is None else text[found.start : found.end]


#: Known words from the nearest on, each with the text between.
_WordsNearby = Iterator[tuple[KnownWord, str]]


class _Rank(IntEnum):
    """The certainty that a candidate is the code; the lowest is best."""

    BESIDE = 0  # an announcing word
    SAME_SENTENCE = 1
    BESIDE_A_VERB = 2  # such as `enter`
    NO_WORD = 3
    NUMBERED = 4  # `no. 4829`
    LABELLED = 5  # `order 4829`
    NEVER = 6


class _JudgedCandidate(NamedTuple):
    rank: _Rank
    #: Characters between it and the announcing word.
    distance: int
    candidate: Candidate


class _Text:
    """A text, its known words and its candidates."""

    def __init__(self, text: str, low: str) -> None:
        self.text, self.low = text, low
        words = find_words(text, low)
        #: The known words; `code` in `promo code` and in `code postal` is a label.
        self.hits: list[KnownWord] = []
        for index, hit in enumerate(words):
            self.hits.append(hit)
            if _ANNOUNCE not in hit.kinds:
                continue
            before = [one for one in words[max(0, index - 2) : index] if _OTHER in one.kinds]
            after = [one for one in words[index + 1 : index + 3] if _OTHER in one.kinds]
            gaps = [low[one.end : hit.start].strip(" -") for one in before]
            gaps += [low[hit.end : one.start].strip(" -") for one in after]
            if not _OF.isdisjoint(gaps):
                end = after[-1].end if after and gaps[-1] in _OF else hit.end
                self.hits[-1] = hit._replace(end=end, kinds=_OTHER_CODE)
        self.starts = [hit.start for hit in self.hits]
        #: The kinds of all words in the text.
        self.kinds = set[str]().union(*(hit.kinds for hit in self.hits))
        units = (hit.start for hit in self.hits if "unit" in hit.kinds)
        self.candidates = find_candidates(text, low, units)

    def code(self) -> Candidate | None:
        if not 0 < len(self.candidates) <= _MOST_CANDIDATES:
            return None
        # An offer of a discount has no code, unless it is about proving an identity.
        is_offer = "promo" in self.kinds or _PERCENT.search(self.low) is not None
        if is_offer and "proof" not in self.kinds:
            return None
        best: dict[str, _JudgedCandidate] = {}
        labelled = set()
        for judged in map(self._judge, range(len(self.candidates))):
            same = canonical_code(self.text[judged.candidate.start : judged.candidate.end])
            best[same] = min(best.get(same, judged), judged)
            if judged.rank == _Rank.LABELLED:
                labelled.add(same)
        # A number that has a label once, such as an order's, needs an announcing word elsewhere.
        left = sorted(
            one
            for same, one in best.items()
            if one.rank == _Rank.BESIDE or (one.rank <= _Rank.NO_WORD and same not in labelled)
        )
        if not left:
            return None
        rank, distance, found = left[0]
        # Only the distance to an announcing word decides between two.
        decides = rank in (_Rank.BESIDE, _Rank.SAME_SENTENCE)
        rivals = [
            one
            for one in left[1:]
            if one.rank == rank and (one.distance == distance or not decides)
        ]
        if rivals or (rank == _Rank.NO_WORD and self._is_about(found)):
            return None
        return found

    def _judge(self, index: int) -> _JudgedCandidate:
        candidate = self.candidates[index]
        never = _JudgedCandidate(_Rank.NEVER, 0, candidate)
        # In `the code for request 99231 is 482913`, the next number is the code.
        following = [one.start for one in self.candidates[index + 1 : index + 2]]
        words = self.low[candidate.end : following[0]].split() if following else []
        is_explained = bool(words) and all("copula" in kinds_of(word) for word in words)
        if is_explained or self._is_expired(index):
            return never
        before = self._before(candidate)
        after = None if candidate.capitals else self._after(candidate)
        if before is not None and before.rank >= _Rank.LABELLED:
            if before.rank == _Rank.LABELLED and after is not None and after.rank == _Rank.BESIDE:
                between = self.low[candidate.end : candidate.end + after.distance]
                never = after if _begins_with_is(between) else never
            return never
        found = [one for one in (before, after) if one is not None]
        if found and min(found).rank in (_Rank.BESIDE, _Rank.LABELLED):
            return min(found)
        if candidate.doubtful:
            return never
        for words_nearby in self._in_sentence(candidate):
            nearest = next((gap for hit, gap in words_nearby if _ANNOUNCE in hit.kinds), None)
            if nearest is not None:
                found.append(_JudgedCandidate(_Rank.SAME_SENTENCE, len(nearest), candidate))
        return min([*found, _JudgedCandidate(_Rank.NO_WORD, 0, candidate)])

    # --- the words before it ----------------------------------------------------------------

    def _back(self, at: int) -> _WordsNearby:
        """Yield known words before a place, the nearest first, each with the text between."""
        last = bisect_right(self.starts, at - 1)
        for hit in reversed(self.hits[max(0, last - _NEAREST) : last]):
            if at - hit.end > _FAR:
                return
            if hit.end <= at:
                yield hit, self.low[hit.end : at]

    def _before(self, candidate: Candidate) -> _JudgedCandidate | None:
        verb = None
        sign = _NUMBER_SIGN.search(self.low, max(0, candidate.start - 3), candidate.start)
        numbered = sign is not None
        group = _GROUP_BEFORE.search(self.low, max(0, candidate.start - 14), candidate.start)
        for hit, between in self._back(candidate.start):
            if group and hit.kinds & _LABELS and hit.end <= group.start():
                gap = self.low[hit.end : group.start()]
                if not (_other_words(gap, _CLOSE) or _ENDS_A_LABEL.search(gap)):
                    return _JudgedCandidate(_Rank.LABELLED, 0, candidate)
            if len(between) > _REACH or _DIGIT.search(between):
                break
            rank = self._rank_before(hit, between, candidate)
            judged = _JudgedCandidate(rank, len(between), candidate)
            if rank in (_Rank.BESIDE, _Rank.LABELLED, _Rank.NEVER):
                return judged
            if rank == _Rank.BESIDE_A_VERB:
                verb = verb or judged
            # A word such as "number" means nothing alone: the word before it counts.
            numbered = numbered or rank == _Rank.NUMBERED
        return _JudgedCandidate(_Rank.LABELLED, 0, candidate) if numbered and verb is None else verb

    def _rank_before(self, hit: KnownWord, between: str, candidate: Candidate) -> _Rank:
        if self._is_time_or_money(hit, between, candidate):
            return _Rank.NEVER
        between = _NUMBER_SIGN.sub("", between)
        others = _other_words(between, _CLOSE)
        broken = _BREAK.search(between.rstrip()) is not None
        if _ANNOUNCE in hit.kinds and not broken:
            words = WORD.findall(between)
            ends_with_is = _IS_BEFORE.search(between) or (words and "copula" in kinds_of(words[-1]))
            is_said = others <= _MOST_WORDS and ends_with_is and not candidate.capitals
            return _Rank.BESIDE if is_said or not others else _Rank.NO_WORD
        if others or (broken and not _DOT.fullmatch(between)):
            return _Rank.NO_WORD
        if hit.kinds & _LABELS and not _APART.search(between):
            # The purpose of a code: `code de retrait 4829`, `código de compra 4829`.
            is_purpose = _TOPIC in hit.kinds and any(
                _ANNOUNCE in one.kinds and before.strip() in _OF - {""}
                for one, before in self._back(hit.start)
            )
            return _Rank.BESIDE if is_purpose else _Rank.LABELLED
        if _VERB in hit.kinds and not broken:
            return _Rank.BESIDE_A_VERB
        return _Rank.NUMBERED if _NUMBER in hit.kinds else _Rank.NO_WORD

    def _is_time_or_money(self, hit: KnownWord, between: str, candidate: Candidate) -> bool:
        if "money_before" in hit.kinds and _MONEY.fullmatch(between):
            return True
        if not between.isspace():
            return False
        if "clock" in hit.kinds and is_clock(self.low[candidate.start : candidate.end]):
            return True
        if "to" not in hit.kinds:
            return False
        # An earlier word of the sentence asks the reader to send an SMS: `text STOP to 89203`.
        for verb, before in self._back(hit.start):
            if "send" in verb.kinds or _BREAK.search(before):
                return _BREAK.search(before) is None
        return False

    # --- the words after it -----------------------------------------------------------------

    def _forth(self, at: int) -> _WordsNearby:
        """Yield known words after a place, the nearest first, each with the text between."""
        first = bisect_left(self.starts, at)
        for hit in self.hits[first : first + _NEAREST]:
            if hit.start - at > _FAR:
                return
            yield hit, self.low[at : hit.start]

    def _after(self, candidate: Candidate) -> _JudgedCandidate | None:
        labelled = False
        for hit, between in self._forth(candidate.end):
            if len(between) > _REACH or _DIGIT.search(between) or _BREAK.search(between):
                break
            others = _other_words(between, _MOST_LETTERS)
            is_said = _begins_with_is(between)
            if _ANNOUNCE in hit.kinds and not _NUMBER_FOLLOWS.match(self.low, hit.end):
                is_beside = not others and not _CLAUSE.search(between)
                if is_beside or (is_said and others <= _MOST_WORDS):
                    return _JudgedCandidate(_Rank.BESIDE, len(between), candidate)
            labelled = labelled or (is_said and not others and bool(hit.kinds & _LABELS))
        return _JudgedCandidate(_Rank.LABELLED, 0, candidate) if labelled else None

    # --- the sentence around it -------------------------------------------------------------

    def _in_sentence(self, candidate: Candidate) -> tuple[_WordsNearby, _WordsNearby]:
        """Return the known words of its sentence before it and after it, the nearest first."""

        def belongs(word: tuple[KnownWord, str]) -> bool:
            # The whole text is searched, so that the `.` of `Rs.` does not end a sentence.
            start, end = min(word[0].end, candidate.end), max(word[0].start, candidate.start)
            return _BREAK.search(self.low, start, end) is None

        back, forth = self._back(candidate.start), self._forth(candidate.end)
        return takewhile(belongs, back), takewhile(belongs, forth)

    def _is_about(self, candidate: Candidate) -> bool:
        """Whether the text is about something else: money, orders, places or times."""
        if self.low[: candidate.end].endswith("00"):  # nearly always an amount
            return True
        has_verb = False
        for hit, between in chain(*self._in_sentence(candidate)):
            if between.isspace() and hit.end < candidate.start and hit.kinds & _PLACES:
                return True
            has_verb = has_verb or _VERB in hit.kinds
        return not has_verb and not self.kinds.isdisjoint((_TOPIC, "about"))

    def _is_expired(self, index: int) -> bool:
        if self.kinds.isdisjoint(("expired", "old")):
            return False
        candidate = self.candidates[index]
        following = self.candidates[index + 1 : index + 2]
        end = following[0].start if following else len(self.low)
        for hit, between in self._forth(candidate.end):
            if hit.start >= end or len(between) > _REACH or _BREAK.search(between):
                break
            # `will be expired in 5 minutes` is about the future.
            is_future = _FUTURE_BEFORE.search(
                self.low, max(0, hit.start - _REACH), hit.start
            ) or _FUTURE_AFTER.match(self.low, hit.end)
            if "expired" in hit.kinds and not is_future:
                return True
        for hit, between in self._back(candidate.start):
            stop = _CLAUSE.search(between) or _BREAK.search(between) or _DIGIT.search(between)
            if stop or _other_words(between, _CLOSE, known=frozenset({_ANNOUNCE})):
                break
            if "old" in hit.kinds or "expired" in hit.kinds:
                return True
        return False


def _other_words(between: str, letters: int, known: Iterable[str] = ()) -> int:
    """Count the words that are neither fillers nor known; unspaced letters count once."""
    allowed = _FILLERS | frozenset(known)
    unspaced = len(UNSPACED.findall(between))
    spaced = sum(
        1
        for word in WORD.findall(between)
        if not UNSPACED.search(word) and not kinds_of(word) & allowed
    )
    return spaced + (unspaced > letters) * _MOST_WORDS + (unspaced > letters)


def _begins_with_is(between: str) -> bool:
    words = WORD.findall(between[:_REACH])
    return bool(_IS_AFTER.match(between)) or bool(words and "copula" in kinds_of(words[0]))
