"""Asks a witness to sign the state of the audit log: c2sp.org/tlog-witness, `add-checkpoint`."""

import base64
import re
from collections.abc import Awaitable, Callable, Sequence

from journal.audit.note import Checkpoint, Note, Signature, VerifierKey
from sinks.http.client import Post, posting
from sinks.sink import Failed

#: Seconds for an answer.
WITHIN = 10.0
#: Bytes of an answer that are read: signatures of other algorithms are larger than ours.
_MOST_READ = 16 * 1024
#: Hashes of a proof (tlog-witness).
_MOST_HASHES = 63
_SIZE = re.compile(r"(0|[1-9][0-9]{0,18})\n?")
_OK, _CONFLICT, _UNPROCESSABLE = 200, 409, 422
#: Our words for answers that a person has to look into.
_WORDS = {403: "unknown_key", 404: "unknown_log"}

#: Returns the proof that the log of so many lines is the beginning of this one; None: it cannot.
Prove = Callable[[int], Awaitable[Sequence[bytes] | None]]


class Forked(Exception):
    """The witness has seen a log that this one does not continue."""


class WitnessClient:
    """One witness, and how many lines it has signed."""

    def __init__(self, url: str, key: VerifierKey) -> None:
        self._url, self._key = f"{url}/add-checkpoint", key
        self._seen = 0

    async def cosign(self, note: Note, prove: Prove) -> tuple[Signature, ...]:
        """Return the witness's signatures of a note.

        Raises Failed, with a word of `sinks.http.client.posting`, or with `unknown_key`,
        `unknown_log`, `status`, `answer` (it is no answer of a witness, or its signature is wrong)
        or `pruned` (it is so far behind that no proof can be made). Raises Forked.
        """
        async with posting(self._url, connections=1, within=WITHIN, keep=_MOST_READ) as post:
            return await self._ask(post, note, prove, again=True)

    async def _ask(
        self, post: Post, note: Note, prove: Prove, *, again: bool
    ) -> tuple[Signature, ...]:
        size, old = Checkpoint.parse(note.text).size, self._seen
        proof = await prove(old) if 0 < old < size else ()
        if proof is None or len(proof) > _MOST_HASHES:
            raise Failed("pruned")
        headers = {"content-type": "text/plain; charset=utf-8"}
        answer = await post(headers, encode_request(old, proof, note).encode())
        if answer.status == _OK:
            self._seen = size
            return read_cosignatures(answer.beginning, note, self._key)
        if answer.status == _CONFLICT:
            seen = _SIZE.fullmatch(answer.beginning.decode("latin-1"))
            if seen is None:
                raise Failed("answer")
            self._seen = int(seen[1])
            if self._seen > size:
                self._seen = 0
                raise Forked
            if again and self._seen != old:
                return await self._ask(post, note, prove, again=False)
            raise Failed("answer")
        if answer.status == _UNPROCESSABLE:
            raise Forked
        raise Failed(_WORDS.get(answer.status, "status"))


def encode_request(old: int, proof: Sequence[bytes], note: Note) -> str:
    """Return the body of `add-checkpoint`: the note, and a proof that it continues `old` lines."""
    hashes = [base64.b64encode(hash_).decode() for hash_ in proof]
    return "".join(f"{line}\n" for line in [f"old {old}", *hashes, ""]) + str(note)


def read_cosignatures(answer: bytes, note: Note, key: VerifierKey) -> tuple[Signature, ...]:
    """Return the signatures of `key` in an answer, verified; others are left out. Raises Failed."""
    try:
        signed = Note.parse(f"{note.text}\n{answer.decode()}")
        found = signed.verify(key)
    except ValueError:
        found = None
    if found is None or not found.at:
        raise Failed("answer")
    return tuple(one for one in signed.signatures if (one.name, one.key_id) == (key.name, key.id))
