"""Reads countries as providers write them: a code of ISO 3166-1, or an English name."""

import csv
import re
import unicodedata
from functools import lru_cache
from importlib import resources

import phonenumbers

_NO_LETTERS = re.compile(r"[^a-z]+")
#: No name is longer.
_LONGEST = 80
#: More names in use, as `_plain` writes them.
_OTHER_NAMES = {
    "brunei darussalam": "BN",
    "burma": "MM",
    "cabo verde": "CV",
    "cote d ivoire": "CI",
    "czechia": "CZ",
    "democratic republic of the congo": "CD",
    "east timor": "TL",
    "england": "GB",
    "eswatini": "SZ",
    "great britain": "GB",
    "holland": "NL",
    "korea": "KR",
    "lao people s democratic republic": "LA",
    "macau": "MO",
    "macedonia": "MK",
    "palestinian territories": "PS",
    "republic of korea": "KR",
    "republic of the congo": "CG",
    "russian federation": "RU",
    "state of palestine": "PS",
    "syrian arab republic": "SY",
    "turkiye": "TR",
    "uae": "AE",
    "uk": "GB",
    "united states": "US",
    "united states of america": "US",
    "viet nam": "VN",
}


@lru_cache(maxsize=1024)
def _plain(name: str) -> str:
    """Return `cote d ivoire` for `Côte d'Ivoire`."""
    spread = unicodedata.normalize("NFKD", name.casefold().replace("&", " and "))
    letters = "".join(char for char in spread if not unicodedata.combining(char))
    return _NO_LETTERS.sub(" ", letters).strip().removeprefix("the ")


_table = resources.files(__package__) / "tables" / "sms_activate_countries.csv"
with _table.open(encoding="utf-8") as _file:
    _NAMES = {_plain(row["name_en"]): row["iso2"] for row in csv.DictReader(_file)} | _OTHER_NAMES
_CODES = frozenset(_NAMES.values()) | phonenumbers.SUPPORTED_REGIONS


def country_code(text: str) -> str | None:
    """Return the ISO 3166-1 alpha-2 code of a code or English name in any case, else None."""
    if len(text) > _LONGEST:
        return None
    code = text.strip().upper()
    return code if code in _CODES else _NAMES.get(_plain(text))
