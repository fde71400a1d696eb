"""Verify an export of the audit log of smshook: find changed, added, removed and moved lines.

  python3 audit_verify.py DIR --key KEY [--anchor FILE] [--fresh 10m]
  python3 audit_verify.py OLD NEW --key KEY_OF_OLD --key KEY_OF_NEW      (after a restore)
DIR is made by `smshook audit export`. KEY is the key of the first epoch, which the service printed
when the log was made: never take it from the giver of the export. FILE has checkpoints that others
kept, such as `checkpoints` of an older export. Exit code 0: unchanged, 1: changed, 2: not checked.
1. The lines are leaves of a Merkle tree (RFC 6962). A checkpoint (c2sp.org/tlog-checkpoint) has its
   size and root, signed with the key of its epoch, usually a day (c2sp.org/tlog-cosignature).
2. The last line of an epoch names the next key. The first checkpoint with this line is signed with
   the old key, which the service then destroys: nobody can sign another yesterday.
3. A line that had to go is `{"erased": its hash}`, and a later line audit.erased names it.
4. pruned.json has the right edge of the tree of lines that are left out, and proves their keys.
Not visible without an anchor: rewritten lines of this epoch; without --fresh, too: a cut-off end.
"""

from __future__ import annotations

import argparse
import json
import re
import time
from base64 import b64decode
from collections import namedtuple
from hashlib import sha256, sha512
from pathlib import Path

# Ed25519: RFC 8032, section 5.1. A point is (x, y, z, t): its place is x/z and y/z, and t = xy/z.
P, ORDER = 2**255 - 19, 2**252 + 27742317777372353535851937790883648493
D, BASE = -121665 * pow(121666, -1, P) % P, b"X" + 31 * b"f"


def add(p: tuple[int, ...], q: tuple[int, ...]) -> tuple[int, ...]:
    a, b = (p[1] - p[0]) * (q[1] - q[0]) % P, (p[1] + p[0]) * (q[1] + q[0]) % P
    c, d = 2 * p[3] * q[3] * D % P, 2 * p[2] * q[2] % P
    e, f, g, h = b - a, d - c, d + c, b + a
    return e * f % P, g * h % P, f * g % P, e * h % P


def read_point(data: bytes) -> tuple[int, ...]:
    sign, y = divmod(int.from_bytes(data, "little"), 2**255)
    square = (y * y - 1) * pow(D * y * y + 1, -1, P) % P
    x = pow(square, (P + 3) // 8, P)
    if (x * x - square) % P:
        x = x * pow(2, (P - 1) // 4, P) % P
    if y >= P or (x * x - square) % P or (sign and not x):
        raise ValueError("not a point of the curve")
    x = x if x % 2 == sign else P - x
    return x, y, 1, x * y % P


def is_signed(public: bytes, message: bytes, signature: bytes) -> bool:
    (x, y, z, t), base = read_point(public), read_point(BASE)
    r, s = signature[:32], int.from_bytes(signature[32:], "little")
    h = int.from_bytes(sha512(r + public + message).digest(), "little") % ORDER
    minus, total = (P - x, y, z, P - t), read_point(b"\1")
    choices = [total, base, minus, add(base, minus)]
    for bit in range(252, -1, -1):  # total becomes s * BASE - h * key, which must be r
        total = add(add(total, total), choices[(s >> bit & 1) + 2 * (h >> bit & 1)])
    x, y = (number * pow(total[2], -1, P) % P for number in total[:2])
    return s < ORDER and r == (y + (x % 2 << 255)).to_bytes(32, "little")


# The tree: RFC 6962, section 2.1. The hash of a line is sha256(0, line).
def node_hash(left: bytes, right: bytes) -> bytes:
    return sha256(b"\1" + left + right).digest()


def root_of_proof(leaf: bytes, n: int, size: int, proof: list[bytes]) -> bytes:
    """Return the root of the tree of that size in which line n has the hash `leaf`."""
    if size == 1:
        return leaf
    half, *below, other = 1 << (size - 1).bit_length() - 1, *proof
    if n < half:
        return node_hash(root_of_proof(leaf, n, half, below), other)
    return node_hash(other, root_of_proof(leaf, n - half, size - half, below))


# Keys and checkpoints: c2sp.org/signed-note. An anchor needs no signature.
Wrong = argparse.ArgumentTypeError  # its text is shown for an option, too
Key = namedtuple("Key", "name id public")
Checkpoint = namedtuple("Checkpoint", "kind text origin size root signatures")
NOTE = re.compile(
    r"\n*(([!-~]+)\n(0|[1-9][0-9]{0,18})\n([A-Za-z0-9+/]{43}=)\n)\n"
    r"((?:\u2014 [^ \n]+ [A-Za-z0-9+/=]+\n)+)\n*"
)


def read_key(text: str) -> Key:
    if found := re.fullmatch(r"\s*([^+\s]+)\+([0-9a-f]{8})\+(B[A-Za-z0-9+/]{43})\s*", text):
        data = b64decode(found[3])
        key = Key(found[1], sha256(found[1].encode() + b"\n" + data).digest()[:4], data[1:])
        if (data[0], key.id.hex()) == (4, found[2]):
            return key
    raise Wrong(f"{text[:150]!r} is not the key of an epoch: see `smshook audit key`")


def read_checkpoints(text: str, file: object, kind: str = "a checkpoint") -> list[Checkpoint]:
    if NOTE.sub("", text) or not text.strip():
        raise Wrong(f"{file}: something in it is not a checkpoint")
    return [Checkpoint(kind, a, b, int(c), b64decode(d), e) for a, b, c, d, e in NOTE.findall(text)]


def read_file(path: str | Path, kind: str = "an anchor") -> list[Checkpoint]:
    return read_checkpoints(Path(path).read_text("utf-8", "replace"), path, kind)


def signed_at(one: Checkpoint, key: Key) -> int:
    """Return the time of the signature with this key; 0 if there is none, or a wrong one."""
    for _, name, encoded in (line.split(" ") for line in one.signatures.splitlines()):
        data = b64decode(encoded, validate=True)
        if (name, data[:4]) == (key.name, key.id):
            at = int.from_bytes(data[4:12], "big")
            message = f"cosignature/v1\ntime {at}\n{one.text}".encode()
            return at if is_signed(key.public, message, data[12:]) else 0
    return 0


class Log:
    def __init__(self, folder: Path) -> None:
        self.lines = folder / "entries.jsonl"
        paths = folder / "checkpoints", folder / "checkpoint"
        self.checkpoints = [one for path in paths for one in read_file(path, "a checkpoint")]
        self.origin = self.checkpoints[-1].origin
        pruned = json.loads((folder / "pruned.json").read_text("utf-8"))
        self.pruned, self.size, self.start = pruned["epochs"], pruned["size"], pruned["size"]
        self.edge = [b64decode(one) for one in pruned["frontier"]]  # roots of complete subtrees
        self.next: Key | None = None  # the key of the next epoch, once a line has named it
        self.begun = self.covered = self.at = 0  # lines before this epoch; the last checkpoint
        self.due: dict[int, list[Checkpoint]] = {}  # checkpoints and anchors by size
        self.erased, self.named = set(b""), set(b"")  # lines; the latter by audit.erased

    def verify(self, first: Key, anchors: list[Checkpoint]) -> None:
        self.keys = [first]  # of the epochs so far
        for epoch in self.pruned:
            self.skip(epoch["line"].encode(), epoch["checkpoint"], epoch["proof"])
        for one in self.checkpoints + anchors:
            if one.size >= self.start:
                self.due.setdefault(one.size, []).append(one)
        self.compare()
        with self.lines.open("rb") as file:
            for line in iter(lambda: file.readline(20_000), b""):  # lines have at most 16 KiB
                self.take(line.rstrip(b"\n"))
        for size, due in sorted(self.due.items()):
            raise Wrong(f"line {self.size} is missing: there are {size} in {due[0].kind}")
        if self.covered < self.size:
            raise Wrong(f"line {self.covered} is in no checkpoint")
        for n in sorted(self.erased - self.named):
            raise Wrong(f"line {n} is erased, but no line audit.erased names it")

    def skip(self, line: bytes, note: str, proof: list[str]) -> None:
        """Take a line that is left out, and names a key."""
        fact, [one] = json.loads(line), read_checkpoints(note, "pruned.json")
        leaf, hashes = sha256(b"\0" + line).digest(), [b64decode(other) for other in proof]
        root = root_of_proof(leaf, fact["n"], one.size, hashes)
        if (root, fact["do"]) != (one.root, "audit.epoch") or not signed_at(one, self.keys[-1]):
            raise Wrong(f"line {fact['n']!r}, in pruned.json, did not end its epoch")
        self.keys.append(read_key(fact["key"]))
        self.begun = one.size

    def take(self, line: bytes) -> None:
        n, hash_ = self.size, sha256(b"\0" + line).digest()
        if line.startswith(b'{"erased":"'):
            hash_ = b64decode(json.loads(line)["erased"])
            self.erased.add(n)
        elif not line.startswith(b'{"n":%d,"at":"' % n):
            raise Wrong(f"line {n}: in its place is {line[:60]!r}")
        elif line.endswith(b"\r"):
            raise Wrong(f"line {n} ends as in Windows: copy the export again, unconverted")
        elif b'"do":"audit.e' in line:
            fact = json.loads(line)
            if fact["do"] == "audit.erased":
                self.named.add(fact["of"])
            elif fact["do"] == "audit.epoch" and n:  # the first key comes from --key only
                self.next = read_key(fact["key"])
        while n & 1:
            hash_, n = node_hash(self.edge.pop(), hash_), n >> 1
        self.edge.append(hash_)
        self.size += 1
        if self.size in self.due:
            self.compare()

    def compare(self) -> None:
        """Compare the lines so far with the checkpoints and anchors of as many lines."""
        root, lines = sha256().digest(), f"lines {self.covered} to {self.size - 1}"
        for place, left in enumerate(reversed(self.edge)):
            root = node_hash(left, root) if place else left
        for one in self.due.pop(self.size, ()):
            if (one.root, one.origin) != (root, self.origin):
                raise Wrong(f"{lines} are not those in {one.kind} of {one.size} lines")
            if one.kind == "an anchor":
                continue
            # The last state of an epoch may be signed again, with the next key.
            keys = self.keys[-2:] if self.size == self.begun else self.keys[-1:]
            self.covered, self.at = self.size, max(signed_at(one, key) for key in keys)
            if not self.at:
                raise Wrong(f"{lines}: the key of their epoch did not sign their checkpoint")
            if self.next:
                self.keys.append(self.next)
                self.begun, self.next = self.size, None


def read_seconds(text: str) -> int:
    if not re.fullmatch("0*[1-9][0-9]{0,8}[smhd]", text):
        raise Wrong(f"{text[:150]!r} is not an age such as 10m")
    return int(text[:-1]) * (1, 60, 3600, 86400)["smhd".index(text[-1:])]


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser("audit_verify.py", description=__doc__.partition("\n")[0])
    parser.add_argument("folders", nargs="+", type=Path, metavar="DIR")
    parser.add_argument("--key", action="append", default=[], type=read_key)
    parser.add_argument("--anchor", action="extend", default=[], type=read_file, metavar="FILE")
    parser.add_argument("--fresh", default=0, type=read_seconds, metavar="10m")
    try:
        options = parser.parse_args(arguments)
        logs, keys, given = [Log(one) for one in options.folders], options.key, options.anchor
        anchors = [a for a in given for b in logs if a.origin == b.origin and a.size >= b.start]
        if len(keys) < len(logs):
            raise OSError("each log needs the key of its first epoch: --key KEY")
        if given and not anchors:
            raise OSError("no --anchor is of this log and of lines that it still has")
        for log, new in zip(logs, [*logs[1:], None]):
            if new:
                with new.lines.open("rb") as file:
                    fact = json.loads(file.readline())
                if (fact["do"], fact.get("origin")) != ("journal.restored", log.origin):
                    raise OSError(f"{new.origin} does not continue {log.origin}")
                end = log.origin, fact["size"], b64decode(fact["root"])
                anchors.append(Checkpoint("an anchor", "", *end, ""))
            first = next((key for key in keys if key.name == f"{log.origin}/epoch"), keys[0])
            log.verify(first, [one for one in anchors if one.origin == log.origin])
            at = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(log.at))
            proved = max([log.begun, *(a.size for a in given if a.origin == log.origin)])
            if not new and options.fresh and abs(time.time() - log.at) > options.fresh:
                raise Wrong(f"the last checkpoint is of {at}: the end may be missing")
            print(f"unchanged: {log.origin}, lines {log.start} to {log.size - 1}, signed {at}")
            print(f"  {len(log.erased)} erased; only an anchor proves line {proved} and later")
    except OSError as error:
        print(f"NOT CHECKED: {error}")
        return 2
    except (ArithmeticError, LookupError, RuntimeError, TypeError, ValueError, Wrong) as error:
        damaged = "" if isinstance(error, Wrong) else "a line or pruned.json is damaged: "
        print(f"CHANGED: {damaged}{error}")
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
