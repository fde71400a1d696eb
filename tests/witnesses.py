"""A witness of transparency logs: a real HTTP server, written from c2sp.org/tlog-witness.

It shares no code with smshook: it reads notes, keys and proofs by itself (c2sp.org/signed-note,
c2sp.org/tlog-checkpoint, c2sp.org/tlog-cosignature, RFC 9162, section 2.1.4.2).

    with witness({origin: log_key}) as friend:
        ...  # POST to f"{friend.url}/add-checkpoint"
"""

import base64
import contextlib
import hashlib
import re
import threading
import time

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from serving import Handler, serving

ED25519, COSIGNATURE = b"\x01", b"\x04"
MOST_HASHES = 63


class Refusal(Exception):
    """A status, and the body with its media type."""

    def __init__(self, status, body="", kind="text/plain"):
        self.status, self.body, self.kind = status, body, kind


class Witness:
    """What a witness knows: keys of logs, and of each log the size and root that it signed last."""

    def __init__(self, logs, *, name="witness.example/w1", seed=b"w" * 32, now=time.time):
        self.logs = dict(logs)
        self.name, self.now = name, now
        self.seen = {}
        self.requests = []
        self._private = Ed25519PrivateKey.from_private_bytes(seed)
        self._public = COSIGNATURE + self._private.public_key().public_bytes_raw()
        self._id = hashlib.sha256(f"{name}\n".encode() + self._public).digest()[:4]
        self._lock = threading.Lock()

    @property
    def key(self):
        encoded = base64.b64encode(self._public).decode()
        return f"{self.name}+{self._id.hex()}+{encoded}"

    def add_checkpoint(self, body):
        """Return the signature line. Raises Refusal."""
        with self._lock:
            return self._add_checkpoint(body)

    def _add_checkpoint(self, body):
        head, _, note = body.decode().partition("\n\n")
        first, *lines = head.split("\n")
        asked = re.fullmatch("old (0|[1-9][0-9]*)", first)
        if asked is None or len(lines) > MOST_HASHES:
            raise Refusal(400)
        old = int(asked[1])
        proof = [base64.b64decode(line, validate=True) for line in lines]
        text, _, signatures = note.rpartition("\n\n")
        text += "\n"
        origin, size, root = text.split("\n")[:3]
        size, root = int(size), base64.b64decode(root, validate=True)
        if origin not in self.logs:
            raise Refusal(404)
        if not _is_signed(text, signatures.splitlines(), self.logs[origin]):
            raise Refusal(403)
        if old > size:
            raise Refusal(400)
        known, known_root = self.seen.get(origin, (0, hashlib.sha256().digest()))
        if size == 0 and root != hashlib.sha256().digest():
            raise Refusal(422)
        if old != known:
            raise Refusal(409, f"{known}\n", "text/x.tlog.size")
        if not _continues(old, known_root, size, root, proof):
            raise Refusal(422)
        self.seen[origin] = size, root
        return self._signature(text)

    def _signature(self, text):
        at = int(self.now())
        signed = self._private.sign(f"cosignature/v1\ntime {at}\n{text}".encode())
        encoded = base64.b64encode(self._id + at.to_bytes(8, "big") + signed).decode()
        return f"\u2014 {self.name} {encoded}\n"


def _is_signed(text, lines, vkey):
    name, id_, encoded = vkey.split("+", 2)
    key = base64.b64decode(encoded)
    assert key[:1] == ED25519
    for line in lines:
        _, signer, signature = line.split(" ")
        data = base64.b64decode(signature, validate=True)
        if (signer, data[:4].hex()) != (name, id_):
            continue
        try:
            Ed25519PublicKey.from_public_bytes(key[1:]).verify(data[4:], text.encode())
        except InvalidSignature:
            return False
        return True
    return False


def _pair(left, right):
    return hashlib.sha256(b"\x01" + left + right).digest()


def _continues(old, old_root, size, root, proof):
    """Return whether the proof is one of consistency (RFC 9162, 2.1.4.2)."""
    if old == size:
        return not proof and old_root == root
    if old == 0 or not proof:
        return old == 0 and not proof
    path = list(proof)
    if old & (old - 1) == 0:
        path.insert(0, old_root)
    fn, sn = old - 1, size - 1
    while fn & 1:
        fn, sn = fn >> 1, sn >> 1
    fr = sr = path[0]
    for c in path[1:]:
        if sn == 0:
            return False
        if fn & 1 or fn == sn:
            fr, sr = _pair(c, fr), _pair(c, sr)
            while fn and not fn & 1:
                fn, sn = fn >> 1, sn >> 1
        else:
            sr = _pair(sr, c)
        fn, sn = fn >> 1, sn >> 1
    return fr == old_root and sr == root and sn == 0


@contextlib.contextmanager
def witness(logs, **options):
    """Run a witness on loopback; its `url` is the submission prefix."""
    friend = Witness(logs, **options)

    class Answers(Handler):
        def respond(self, body):
            friend.requests.append(body)
            try:
                assert self.path == "/log/add-checkpoint"
                status, answer, kind = 200, friend.add_checkpoint(body), "text/plain"
            except Refusal as refusal:
                status, answer, kind = refusal.status, refusal.body, refusal.kind
            self.answer(status, answer.encode(), content_type=kind)

    with serving(Answers) as server:
        friend.url = f"{server.url}/log"
        yield friend
