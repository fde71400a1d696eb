"""Bytes become fields: a form, its parts or a JSON object, taken by what the body is.

The Content-Type is not asked: a wrong header must not cost a code. Nothing is decompressed.
All of it is linear in the size of the body.
"""

import json
import re
from binascii import unhexlify
from collections.abc import Iterable
from itertools import accumulate
from math import isinf
from typing import NoReturn

import multipart  # type: ignore[import-untyped]  # it ships no types

from .callback import Fields, Malformed, Number

MAX_FIELDS = 64
#: Objects and arrays in one another.
MAX_DEPTH = 32

#: The field that a list is where the body is one.
LIST = "."

_BLANKS = b" \t\r\n"
_BOM = b"\xef\xbb\xbf"


def decode(
    body: bytes,
    *,
    content_encoding: str | None,
    encodings: frozenset[str],
    lists: bool = False,
) -> Fields:
    """The fields of a callback. `encodings` are those that its provider may use.

    `lists`: a JSON list is taken, too; it is the one field LIST. Raises Malformed with the reason
    `encoding`, `empty` or `malformed`.
    """
    if (content_encoding or "").strip().lower() not in ("", "identity"):
        raise Malformed("encoding", "content-encoding: nothing is decompressed here")
    if not body.strip(_BLANKS):
        raise Malformed("empty", "body: nothing in it")
    encoding = encoding_of(body)
    if encoding not in encodings:
        allowed = ", ".join(sorted(encodings))
        raise Malformed("malformed", f"body: read as {encoding}, this provider sends {allowed}")
    if lists and encoding == "json":
        value = json_value(body)
        return {LIST: value} if isinstance(value, list) else _object_of_fields(value)
    return _DECODERS[encoding](body)


def encoding_of(body: bytes) -> str:
    """`json`, `multipart` or `form`: what the body looks like."""
    if body.removeprefix(_BOM).lstrip(_BLANKS)[:1] in (b"{", b"["):
        return "json"
    if body.startswith(b"--") and b"content-disposition" in body.lower():
        return "multipart"
    return "form"


def _collected(pairs: Iterable[tuple[str, object]]) -> Fields:
    """A name given twice is refused: whoever guesses which one counts can be made to guess."""
    given = list(pairs)
    fields: dict[str, object] = dict(given)
    if len(fields) != len(given):
        raise Malformed("malformed", "a field is given twice")
    if len(fields) > MAX_FIELDS:
        raise Malformed("malformed", f"more than {MAX_FIELDS} fields")
    return fields


# -- application/x-www-form-urlencoded ------------------------------------------------------------

_ESCAPE = re.compile(rb"%([0-9A-Fa-f]{2})")


def _form(body: bytes) -> Fields:
    # Counted before it is split: 60,000 ampersands must not become 60,000 objects. Twice the
    # limit leaves room for the empty pairs that clumsy senders produce.
    if body.count(b"&") >= 2 * MAX_FIELDS:
        raise Malformed("malformed", f"more than {MAX_FIELDS} fields")
    # Whatever is no UTF-8 is kept: with an escape beside it, it may be.
    text = body.replace(b"+", b" ").decode("utf-8", "surrogateescape")
    pairs = [pair.partition("=") for pair in text.split("&") if pair]
    return _collected([(_unescaped(name), _unescaped(value)) for name, _, value in pairs])


def _unescaped(text: str) -> str:
    if "%" not in text and text.isascii():
        return text
    # The standard library's `unquote_to_bytes` takes 20 ms for 64 KiB of `%`, this a tenth of it.
    plain = _ESCAPE.sub(
        lambda escape: unhexlify(escape[1]), text.encode("utf-8", "surrogateescape")
    )
    return plain.decode("utf-8", "replace")


# -- multipart/form-data --------------------------------------------------------------------------

_CHARSETS = (None, "utf-8", "utf8", "us-ascii", "ascii")
_TRANSFERS = (None, "7bit", "8bit", "binary")
#: `filename*=` too, which the library does not see.
_FILENAME = re.compile(r";\s*filename\*?\s*=", re.IGNORECASE)


def _multipart(body: bytes) -> Fields:
    # The header's boundary may be broken, or missing; the body's first line is what counts.
    boundary = body[2:].partition(b"\r\n")[0]
    try:
        return _collected(_parts(body, boundary))
    except multipart.MultipartError:
        raise Malformed("malformed", "body: broken multipart") from None


def _parts(body: bytes, boundary: bytes) -> Iterable[tuple[str, str]]:
    parser = multipart.PushMultipartParser(
        boundary,
        max_header_size=1024,
        max_header_count=8,
        max_segment_count=MAX_FIELDS,
        strict=True,
    )
    content: list[bytes] = []
    name = ""
    with parser:  # leaving it complains of a truncated body
        for event in parser.parse(body):
            if isinstance(event, multipart.MultipartSegment):
                name, content = _name(event), []
            elif event is not None:
                content.append(bytes(event))
            else:
                yield name, b"".join(content).decode("utf-8", "replace")


def _name(part: multipart.MultipartSegment) -> str:
    if _FILENAME.search(part.header("Content-Disposition", "")):
        raise Malformed("malformed", "a part is a file")
    if part.charset is not None and part.charset.lower() not in _CHARSETS:
        raise Malformed("malformed", "a part has a charset other than utf-8")
    transfer = part.header("Content-Transfer-Encoding")
    if transfer is not None and transfer.strip().lower() not in _TRANSFERS:
        raise Malformed("malformed", "a part is encoded once more")
    return part.name or ""


# -- application/json -----------------------------------------------------------------------------

#: A string, or the rest of the body after an opening quote that is never closed: so each byte is
#: looked at once.
_STRING = re.compile(rb'"(?:[^"\\]++|\\.)*+"?', re.DOTALL)
_NO_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))
_STEP = [0] * 256
_STEP[ord("[")] = _STEP[ord("{")] = 1
_STEP[ord("]")] = _STEP[ord("}")] = -1
#: The digits of 2**64, with a sign.
_LONGEST_INTEGER = 21


def json_value(body: bytes) -> object:
    """Whatever JSON says, numbers as their digits. Raises Malformed, as `decode` does."""
    _check_depth(body)
    try:
        value: object = _DECODER.decode(body.decode("utf-8"))
    except UnicodeDecodeError:
        raise Malformed("malformed", "body: not UTF-8") from None
    except json.JSONDecodeError:
        raise Malformed("malformed", "body: not JSON") from None
    if b"\\u" in body:
        _check_surrogates(value)
    return value


def _json(body: bytes) -> Fields:
    return _object_of_fields(json_value(body))


def _object_of_fields(fields: object) -> Fields:
    if not isinstance(fields, dict):
        raise Malformed("malformed", "body: an object is expected")
    if len(fields) > MAX_FIELDS:
        raise Malformed("malformed", f"more than {MAX_FIELDS} fields")
    return fields


def _check_depth(body: bytes) -> None:
    """Before parsing: Python's own answer to depth is a RecursionError."""
    if body.count(b"[") + body.count(b"{") <= MAX_DEPTH:
        return
    brackets = _STRING.sub(b"", body).translate(None, _NO_BRACKETS)
    if max(accumulate(map(_STEP.__getitem__, brackets)), default=0) > MAX_DEPTH:
        raise Malformed("malformed", f"body: nested deeper than {MAX_DEPTH}")


def _check_surrogates(value: object) -> None:
    """Half a character can be escaped in JSON, and then be written nowhere."""
    try:
        json.dumps(value, ensure_ascii=False).encode("utf-8")
    except UnicodeEncodeError:
        raise Malformed("malformed", "body: a lone surrogate") from None


def _object(pairs: list[tuple[str, object]]) -> dict[str, object]:
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise Malformed("malformed", "a field is given twice")
    return fields


def _integer(digits: str) -> Number:
    if len(digits) > _LONGEST_INTEGER or not -(2**63) <= int(digits) < 2**64:
        raise Malformed("malformed", "a number beyond 64 bits")
    return Number(digits)


def _decimal(digits: str) -> Number:
    if isinf(float(digits)):
        raise Malformed("malformed", "a number beyond 64 bits")
    return Number(digits)


def _constant(_name: str) -> NoReturn:
    raise Malformed("malformed", "NaN or Infinity")


_DECODER = json.JSONDecoder(
    object_pairs_hook=_object,
    parse_int=_integer,
    parse_float=_decimal,
    parse_constant=_constant,
)

_DECODERS = {"form": _form, "multipart": _multipart, "json": _json}
