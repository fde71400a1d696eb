"""One spelling for codes and texts that providers spell differently."""

import re

_PREFIX = re.compile(r"\A[A-Za-z]{1,3}[\s-]+(?=\d[\d\s-]*\Z)")
_NOT_ALPHANUMERIC = re.compile(r"[\W_]+")


def canonical_code(code: str) -> str:
    """Return the code's letters and digits in upper case, its digits as ASCII.

    A prefix such as the `G-` of `G-804036` is left out: `G-804036`, `804 036` and `٨٠٤٠٣٦` are the
    same code. Empty if the code has no letter and no digit.
    """
    whole = _NOT_ALPHANUMERIC.sub("", _PREFIX.sub("", code.strip()))
    return "".join(str(int(char)) if char.isdecimal() else char for char in whole).upper()
