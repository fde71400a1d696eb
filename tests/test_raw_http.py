"""Raw HTTP to the listener of a real service: requests that no library sends.

Each has the answer of the contract of the callback URL, or its connection is closed. The path has
the right token, so a request that is read wrongly would be stored.
"""

import re
import socket

import live
import pytest

PATH = f"/in/tellabot/{live.TOKEN}".encode()
BODY = live.sms(1, at=1_700_000_000)
LENGTH = b"Content-Length: %d\r\n" % len(BODY)
CHUNKED = b"Transfer-Encoding: chunked\r\n"
#: BODY with one byte a chunk.
BYTEWISE = b"".join(b"1\r\n%c\r\n" % byte for byte in BODY) + b"0\r\n"


def post(*fields, body=BODY, path=PATH, version=b"1.1", host=b"Host: x\r\n"):
    return b"POST %s HTTP/%s\r\n%s%s\r\n%s" % (path, version, host, b"".join(fields), body)


def get(path=PATH, *fields):
    return b"GET %s HTTP/1.1\r\nHost: x\r\n%s\r\n" % (path, b"".join(fields))


WHOLE = post(LENGTH)
READY = get()
CHUNK = b"%x\r\n%s\r\n" % (len(BODY), BODY)
LAST = b"0\r\n\r\n"
CLOSE = b"Connection: close\r\n"

#: Requests that must not be stored, each with the statuses of its answers. None: any answer but
#: a 5xx, or no answer.
REFUSED = {
    # Requests that another server could read as two.
    "length and chunked": (post(LENGTH, CHUNKED, body=CHUNK + LAST), [400]),
    "chunked and length": (post(CHUNKED, LENGTH, body=CHUNK + LAST), [400]),
    "length 0 and chunked": (post(b"Content-Length: 0\r\n", CHUNKED, body=CHUNK + LAST), [400]),
    "two lengths": (post(LENGTH, b"Content-Length: 1\r\n"), [400]),
    "the same length twice": (post(LENGTH, LENGTH), [400]),
    "a list of lengths": (post(b"Content-Length: 5, 5\r\n", body=b"pin=1"), [400]),
    "a signed length": (post(b"Content-Length: +5\r\n", body=b"pin=1"), [400]),
    "a negative length": (post(b"Content-Length: -1\r\n"), [400]),
    "a length in hex": (post(b"Content-Length: 0x5\r\n", body=b"pin=1"), [400]),
    "a length with a blank in it": (post(b"Content-Length: 1 2\r\n"), [400]),
    "a length with an underscore": (post(b"Content-Length: 1_0\r\n"), [400]),
    "a length in Arabic digits": (
        post("Content-Length: \u0665\r\n".encode(), body=b"pin=1"),
        [400],
    ),
    "a length beyond 64 bits": (post(b"Content-Length: 18446744073709551617\r\n"), [400]),
    "a length of forty digits": (post(b"Content-Length: " + b"9" * 40 + b"\r\n"), [400]),
    "a length over the limit": (post(b"Content-Length: 99999999\r\n", body=b""), [413]),
    "an unknown coding": (post(b"Transfer-Encoding: xchunked\r\n", body=CHUNK + LAST), [400]),
    "gzip, chunked": (post(b"Transfer-Encoding: gzip, chunked\r\n", body=CHUNK + LAST), [400]),
    "chunked, identity": (
        post(b"Transfer-Encoding: chunked, identity\r\n", body=CHUNK + LAST),
        [400],
    ),
    "chunked twice": (post(CHUNKED, CHUNKED, body=CHUNK + LAST), [400]),
    "chunked behind a vertical tab": (
        post(b"Transfer-Encoding:\x0bchunked\r\n", body=CHUNK + LAST),
        [400],
    ),
    "chunked in quotes": (post(b'Transfer-Encoding: "chunked"\r\n', body=CHUNK + LAST), [400]),
    "chunked with a parameter": (
        post(b"Transfer-Encoding: chunked;q=1\r\n", body=CHUNK + LAST),
        [400],
    ),
    "chunked in HTTP/1.0": (post(CHUNKED, body=CHUNK + LAST, version=b"1.0"), [400]),
    "a coding before a blank": (post(b"Transfer-Encoding : chunked\r\n", body=CHUNK + LAST), [400]),
    "a coding folded": (post(b"Transfer-Encoding:\r\n chunked\r\n", body=CHUNK + LAST), [400]),
    "a request in the body of a GET": (get(PATH, LENGTH) + WHOLE, None),
    # Chunks.
    "a chunk without a number": (post(CHUNKED, body=b"zz\r\n" + CHUNK + LAST), [400]),
    "a signed chunk": (post(CHUNKED, body=b"-1\r\n" + CHUNK + LAST), [400]),
    "a chunk in 0x": (post(CHUNKED, body=b"0x" + CHUNK + LAST), [400]),
    "a chunk beyond 64 bits": (post(CHUNKED, body=b"1" + b"0" * 16 + b"\r\n" + BODY + LAST), [400]),
    "a chunk longer than it says": (post(CHUNKED, body=b"1\r\n" + BODY + b"\r\n" + LAST), [400]),
    "chunks that end in a bare LF": (
        post(CHUNKED, body=CHUNK.replace(b"\r\n", b"\n") + b"0\n\n"),
        [400],
    ),
    "a chunk of blanks": (post(CHUNKED, body=b"   \r\n" + CHUNK + LAST), [400]),
    "no last chunk": (post(CHUNKED, body=CHUNK), None),
    "chunks over the limit": (
        post(CHUNKED, body=(b"2000\r\n" + b"x" * 8192 + b"\r\n") * 40 + LAST),
        [413],
    ),
    # Fields.
    "no Host": (post(LENGTH, host=b""), [400]),
    "two Hosts": (post(LENGTH, host=b"Host: x\r\nHost: y\r\n"), [400]),
    "a field folded": (post(LENGTH, b"X: 1\r\n 2\r\n"), [400]),
    "a field folded with a tab": (post(LENGTH, b"X: 1\r\n\t2\r\n"), [400]),
    "a first field folded": (post(b" X: 1\r\n", LENGTH, host=b""), [400]),
    "a blank before the colon": (post(LENGTH, b"X : 1\r\n"), [400]),
    "a field without a colon": (post(LENGTH, b"X\r\n"), [400]),
    "a field without a name": (post(LENGTH, b": 1\r\n"), [400]),
    "NUL in a field": (post(LENGTH, b"X: a\0b\r\n"), [400]),
    "NUL in a name": (post(LENGTH, b"X\0: a\r\n"), [400]),
    "CR in a field": (post(LENGTH, b"X: a\rY: b\r\n"), [400]),
    "bare LFs": (WHOLE.replace(b"\r\n", b"\n"), [400]),
    "one bare LF": (post(LENGTH, b"X: a\n"), [400]),
    "a name that is not ASCII": (post(LENGTH, "Ü: a\r\n".encode()), [400]),
    "fields of 17 KiB": (post(LENGTH, b"X: " + b"a" * 17_000 + b"\r\n"), [431]),
    "two hundred fields": (post(LENGTH, b"X: a\r\n" * 200), [431]),
    "a target of 17 KiB": (post(LENGTH, path=PATH + b"?" + b"a" * 17_000), [414]),
    "trailers of 17 KiB": (
        post(CHUNKED, body=CHUNK + b"0\r\nX: " + b"a" * 17_000 + b"\r\n\r\n"),
        None,
    ),
    # Versions, methods, targets.
    "HTTP/0.9": (b"GET " + PATH + b"\r\n", []),
    "HTTP/0.9 with its version": (b"GET " + PATH + b" HTTP/0.9\r\nHost: x\r\n\r\n", [400]),
    "HTTP/2 with its preface": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(9), [400]),
    "HTTP/2.0": (post(LENGTH, version=b"2.0"), [400]),
    "HTTP/1.2": (post(LENGTH, version=b"1.2"), None),
    "HTTP/11": (post(LENGTH, version=b"11"), [400]),
    "no version": (b"POST " + PATH + b"\r\nHost: x\r\n" + LENGTH + b"\r\n" + BODY, [400]),
    "http in small letters": (WHOLE.replace(b"HTTP", b"http"), [400]),
    "tabs in the first line": (WHOLE.replace(b" ", b"\t", 2), [400]),
    "a TLS hello": (b"\x16\3\1\0\xa5\1\0\0\xa1\3\3" + bytes(200), [400]),
    "an SSH greeting": (b"SSH-2.0-OpenSSH_9.2\r\n", [400]),
    "random bytes": (bytes(range(128, 256)) * 8, [400]),
    "an unknown method": (WHOLE.replace(b"POST", b"FOO", 1), [400]),
    "a small method": (WHOLE.replace(b"POST", b"post", 1), [400]),
    "CONNECT": (b"CONNECT x:443 HTTP/1.1\r\nHost: x:443\r\n\r\n", [400]),
    "TRACE": (WHOLE.replace(b"POST", b"TRACE", 1), [405]),
    "DELETE": (WHOLE.replace(b"POST", b"DELETE", 1), [405]),
    "OPTIONS *": (b"OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n", None),
    "an absolute target without a path": (post(LENGTH, path=b"http://x"), [400]),
    "a target that begins with two slashes": (post(LENGTH, path=b"/" + PATH), [404]),
    "a target with a backslash": (post(LENGTH, path=PATH.replace(b"/", b"\\")), [400]),
    "a target with NUL": (post(LENGTH, path=PATH + b"\0"), [400]),
    "a target up and down": (post(LENGTH, path=b"/x/.." + PATH), [404]),
    # Ends.
    "nothing at all": (b"", []),
    "half a first line": (WHOLE[:10], []),
    "half a head": (WHOLE[:60], []),
    "half a body": (WHOLE[:-10], []),
    "Expect, and no body": (post(LENGTH, b"Expect: 100-continue\r\n", body=b""), None),
    "an Expect of something else": (post(LENGTH, b"Expect: 200-ok\r\n", body=b""), None),
    "a ready, then a broken one": (READY + b"BROKEN\r\n\r\n", None),
    "three ready, then a length too many": (READY * 3 + post(LENGTH, LENGTH), None),
    "line ends without end": (b"\r\n" * 20_000, [431]),
}

#: Odd but valid requests: the event is accepted once.
ACCEPTED = {
    "a byte a chunk": post(CHUNKED, body=BYTEWISE + b"\r\n"),
    "chunk extensions": post(CHUNKED, body=b'%x;a=b;c="d"\r\n%s\r\n' % (len(BODY), BODY) + LAST),
    "trailers": post(CHUNKED, body=CHUNK + b"0\r\nX-Forwarded-For: 192.0.2.1\r\n\r\n"),
    "CHUNKED in capitals": post(b"TRANSFER-ENCODING: CHUNKED\r\n", body=CHUNK + LAST),
    "an absolute target": post(LENGTH, path=b"http://other.example" + PATH),
    "an empty Host": post(LENGTH, host=b"Host:\r\n"),
    "HTTP/1.0": post(LENGTH, host=b"", version=b"1.0"),
    "Expect and the body at once": post(LENGTH, b"Expect: 100-continue\r\n"),
    "an offer of websocket": post(
        LENGTH,
        b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
        b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n",
    ),
    "an offer of h2c": post(
        LENGTH, b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AA\r\n"
    ),
    "line ends before it": b"\r\n\r\n" + WHOLE,
    "a right one, then a broken one": WHOLE + b"BROKEN\r\n\r\n",
    "fields of 15 KiB": post(LENGTH, b"X: " + b"a" * 15_000 + b"\r\n"),
    "a field that is not UTF-8": post(LENGTH, b"X: \xff\xfe\r\n"),
    "two blanks before the version": WHOLE.replace(b" HTTP", b"  HTTP"),
    "an absolute target of ftp": post(LENGTH, path=b"ftp://x" + PATH),
    "a target with a fragment": post(LENGTH, path=PATH + b"#x"),
    "Connection: close": post(LENGTH, CLOSE),
}


def statuses(service, request, *, ends):
    """Send it and return the final statuses of all answers until the connection is closed.

    With `ends`, this side ends first, because the service would wait for more.
    """
    with socket.create_connection(service.address(), 30) as sock:
        answer = b""
        try:
            sock.sendall(request)
            if ends:
                sock.shutdown(socket.SHUT_WR)
            while part := sock.recv(65536):
                answer += part
        except ConnectionError:
            pass  # closed while this side was still sending
    found = [int(status) for status in re.findall(rb"^HTTP/1\.1 (\d{3}) ", answer, re.MULTILINE)]
    return [status for status in found if status != 100]


def stored(service):
    stats = service.stats()
    return stats["events"], stats["quarantine"], stats["duplicates"]


@pytest.mark.slow
def test_raw_requests_are_refused_and_store_nothing(tmp_path):
    """Mutant: `_is_well_framed` is always true."""
    with live.Live(tmp_path) as service:
        got = {
            name: statuses(service, request, ends=not expected or expected[0] in (404, 405))
            for name, (request, expected) in REFUSED.items()
        }

        assert stored(service) == (0, 0, 0)
        assert service.post(live.sms(2)).json()["status"] == "accepted"
        assert service.stop() == 0

    expected = {name: answers for name, (_, answers) in REFUSED.items() if answers is not None}
    assert {name: got[name] for name in expected} == expected
    assert not [name for name, answers in got.items() if max(answers, default=0) >= 500]


@pytest.mark.slow
def test_odd_requests_are_accepted_once(tmp_path):
    """Mutant: `_go_on_without_upgrade` does nothing."""
    with live.Live(tmp_path) as service:
        got = {name: statuses(service, sent, ends=True) for name, sent in ACCEPTED.items()}

        assert stored(service) == (1, 0, len(ACCEPTED) - 1)
        assert service.stop() == 0

    assert [name for name, answers in got.items() if answers[:1] != [200]] == []
