"""Canaries: no file of a service has a code, a text or a phone number that was sent to it.

`live.sms` and the services of other tests send codes and numbers of a reserved shape, which stands
nowhere else. Further secrets are those that the service's own sinks wrote in clear.

Mutants of the product, each caught by a test that looks for something else: a log line with the
code or the whole number; the callback, the quarantined one, the event or its place in line is
stored in clear.
"""

import base64
import fnmatch
import functools
import json
import re
from urllib.parse import quote, quote_plus

#: How the reserved codes and numbers begin. Numbers have four more digits.
CODE, NUMBER = "ZQ7-918", "1850555"
#: The reserved numbers, and those that many tests share.
_NUMBERS = (NUMBER, "1850381")
#: What no file may have: these, and the beginning of a text that many tests share.
RESERVED = (CODE, *_NUMBERS, "Your code is 4")
#: A reserved number in UTF-8. Seven digits alone stand in some hexadecimal id now and then.
_IN_UTF_8 = {
    begin: re.compile(rb"(?<![0-9a-f])%b\d{4}|%b\d{4}(?![0-9a-f])" % ((begin.encode(),) * 2))
    for begin in _NUMBERS
}

#: Names of files that may have codes and numbers, each with the reason.
ALLOWED = {
    "smshook.yaml": "a `when` of its operator may name a number",
    "*.jsonl*": "a sink that gets everything. With `redact`, its file has another ending",
}
#: The number that error messages show as an example.
_EXAMPLE = b"18503814729"
#: The journal and its copies, which may have them too where rows are in clear.
_JOURNALS = ("*.db*", "*.backup")
#: Events of each sink whose secrets are looked for: the first ones and the last ones.
_SAMPLE = 4
#: Shorter secrets may stand in a file by chance.
_SHORTEST = {"code": 8, "text": 12, "to": 10, "from": 10, "previous_to": 10}


@functools.lru_cache(256)
def spellings(secret):
    """Return a text as files may hold it.

    In UTF-8, JSON, base64 at each place, hex, and escaped in a URL.
    """
    plain = secret.encode()
    texts = {secret, json.dumps(secret)[1:-1], quote(secret, safe=""), quote_plus(secret)}
    found = {text.encode() for text in texts} | {plain.hex().encode(), plain.hex().upper().encode()}
    for shift in range(3):
        whole = b"\0" * shift + plain
        # The first and last characters depend on the neighbours, too.
        inner = slice((shift * 8 + 5) // 6, len(whole) * 8 // 6)
        found |= {code(whole)[inner] for code in (base64.b64encode, base64.urlsafe_b64encode)}
    return frozenset(found)


def secrets_in(paths, secrets):
    """Return the secrets that stand in files, each with the name of the file."""
    contents = [(path.name, path.read_bytes()) for path in paths if path.exists()]
    return [(secret, name) for name, content in contents for secret in found(content, secrets)]


def found(content, secrets=RESERVED):
    """Return the secrets that stand in bytes."""
    return [secret for secret in secrets if _stands(secret, content)]


def _stands(secret, content):
    number = _IN_UTF_8.get(secret)
    if number is None:
        return any(one in content for one in spellings(secret))
    plain = secret.encode()
    # A pattern looks at each byte, which takes a hundred times as long.
    if plain in content and number.search(content):
        return True
    return any(one in content for one in spellings(secret) - {plain})


def search(folder, *, in_clear=None, more=()):
    """Fail if a file in the folder of a service has a secret that it may not have.

    `in_clear`: the reason why the journal has rows in clear. `more`: further outputs, as bytes.
    """
    secrets = (*RESERVED, *sent(folder))
    allowed = (*ALLOWED, *(_JOURNALS if in_clear else ()))
    paths = [
        path
        for path in folder.rglob("*")
        if path.is_file() and not any(fnmatch.fnmatch(path.name, name) for name in allowed)
    ]
    leaks = secrets_in(paths, secrets)
    leaks += [(secret, "outputs") for secret in found(b"\n".join(more), secrets)]
    assert not leaks, leaks


def sent(folder):
    """Return the secrets of some events that the sinks of a service wrote."""
    secrets = set()
    for path in folder.glob("*.jsonl"):
        lines = path.read_bytes().split(b"\n")[:-1]  # after a kill, the last one is not whole
        for line in {*lines[:_SAMPLE], *lines[-_SAMPLE:]}:
            data = json.loads(line).get("data", {})
            for name, shortest in _SHORTEST.items():
                secret = (data.get(name) or "").removeprefix("+")
                if len(secret) >= shortest:
                    secrets.add(secret)
    return secrets


def check_problem(response):
    """Fail if an answer that reports an error has a secret. A hook of httpx."""
    if response.status_code >= 400:
        response.read()
        check_complaint(response.text + str(response.headers))


def check_complaint(text):
    """Fail if an error message has a secret."""
    leaks = found(text.encode().replace(_EXAMPLE, b""))
    assert not leaks, leaks
