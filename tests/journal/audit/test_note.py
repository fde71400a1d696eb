"""Notes and checkpoints against the examples of the specifications and of Go."""

import base64
import string

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from hypothesis import given
from hypothesis import strategies as st

from journal.audit.note import (
    Algorithm,
    Checkpoint,
    Note,
    SigningKey,
    VerifierKey,
    split_notes,
)

#: https://c2sp.org/signed-note.
FOO_KEY = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k"
FOO = (
    "This is an example message.\n\n— example.com/foo Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ON"
    "ncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM=\n"
)
#: golang.org/x/mod/sumdb/note, note_test.go.
PETER_KEY = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
PETER_SEED = base64.b64decode("AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz")[1:]
#: https://c2sp.org/tlog-cosignature.
SOFA = (
    "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n\n"
    "— example.com/behind-the-sofa Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv"
    "2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=\n— witness.example.com/w1 jWbPPwAAAABkGFDLEZMHwSRaJNiIDoe9DYn"
    "/zXcrtPHeolMI5OWXEhZCB9dlrDJsX3b2oyin1nPZqhf5nNo0xUe+mbIUBkBIfZ+qnA==\n"
)
ORIGIN = "smshook/7f3a9c52e1d04b6c"
LOG = SigningKey(ORIGIN, Algorithm.ED25519, b"l" * 32)
EPOCH = SigningKey(f"{ORIGIN}/epoch", Algorithm.COSIGNATURE, b"e" * 32)
AT = 1_764_500_000.5
CHECKPOINT = Checkpoint(ORIGIN, 3000, bytes(range(32)))
SIGNED = CHECKPOINT.sign([LOG, EPOCH], AT)


def test_note_of_the_specification_is_verified():
    """Mutant: a key id without the byte of its algorithm."""
    key = VerifierKey.parse(FOO_KEY)
    note = Note.parse(FOO)

    assert (FOO_KEY, FOO) == (str(key), str(note))
    assert (None,) == note.verify(key)
    assert note.verify(LOG.verifier) is None


def test_note_of_go_is_made_again():
    """The key and the signature are those of Go's tests."""
    key = SigningKey("PeterNeumann", Algorithm.ED25519, PETER_SEED)
    text = (
        "If you think cryptography is the answer to your problem,\n"
        "then you don't know what your problem is.\n"
    )

    note = Note(text, (key.sign(text, AT),))

    assert PETER_KEY == str(key.verifier)
    assert (
        f"{text}\n— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKv"
        "qfqdngotpRZb6KE6RyyBwJnAM=\n"
    ) == str(note)


def test_checkpoint_of_the_specification_is_read():
    note = Note.parse(SOFA)

    assert SOFA == str(note)
    assert ("example.com/behind-the-sofa", 20852163) == (
        Checkpoint.parse(note.text).origin,
        Checkpoint.parse(note.text).size,
    )
    assert 1679315147 == int.from_bytes(note.signatures[1].data[:8], "big")


def test_cosignature_signs_time_and_text():
    """Mutant: `cosignature/v1` is left out, or the time is not signed."""
    signature = SIGNED.signatures[1]
    public = Ed25519PublicKey.from_public_bytes(EPOCH.verifier.public)

    public.verify(signature.data[8:], f"cosignature/v1\ntime 1764500000\n{CHECKPOINT}".encode())
    assert (None,) == SIGNED.verify(LOG.verifier)
    assert (int(AT),) == SIGNED.verify(EPOCH.verifier)


def test_checkpoint_has_three_lines_and_a_signature_of_each_key():
    root = base64.b64encode(bytes(range(32))).decode()
    lines = str(SIGNED).split("\n")

    assert [ORIGIN, "3000", root, ""] == lines[:4]
    assert [f"— {ORIGIN} ", f"— {ORIGIN}/epoch "] == [
        line.rpartition(" ")[0] + " " for line in lines[4:6]
    ]
    assert [""] == lines[6:]


@given(st.integers(0, 63), st.integers(1, 255))
def test_changed_signature_is_an_error(at, change):
    """Mutant: `verify` skips signatures that are wrong."""
    data = bytearray(SIGNED.signatures[1].data)
    data[8 + at] ^= change
    signature = SIGNED.signatures[1].__class__(EPOCH.verifier.name, EPOCH.verifier.id, bytes(data))

    with pytest.raises(ValueError, match="/epoch is wrong"):
        Note(SIGNED.text, (signature,)).verify(EPOCH.verifier)


def test_changed_text_or_time_is_an_error():
    first, second = SIGNED.signatures
    later = second.__class__(second.name, second.key_id, b"\1" + second.data[1:])
    changed = SIGNED.text.replace("3000", "3001")

    with pytest.raises(ValueError):
        Note(changed, (first, second)).verify(LOG.verifier)
    with pytest.raises(ValueError):
        Note(changed, (first, second)).verify(EPOCH.verifier)
    with pytest.raises(ValueError):
        Note(SIGNED.text, (first, later)).verify(EPOCH.verifier)


@pytest.mark.parametrize(
    "text",
    [
        "PeterNeumann+c74f20a4+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW",
        "PeterNeuman+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW",
        "PeterNeumann+cc469956+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TWBADKEY==",
        "PeterNeumann+173116ae+ZRpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW",
        "PeterNeumann+C74F20A3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW",
        "Peter Neumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW",
        "PeterNeumann+c74f20a3",
        "",
    ],
)
def test_damaged_verifier_key_is_an_error(text):
    with pytest.raises(ValueError):
        VerifierKey.parse(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "text\n",
        "text\n\n",
        FOO[:-1],
        FOO.replace("— ", "- "),
        FOO.replace("Uw2Q", "U!2Q"),
        FOO.replace("message", "mess\x01age"),
        FOO.replace("example.com/foo ", "example.com/foo+ "),
        "text\n\n— name QUJDRA==\n",
        "text\n\n" + FOO.partition("\n\n")[2] * 101,
    ],
)
def test_damaged_note_is_an_error(text):
    with pytest.raises(ValueError):
        Note.parse(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        CHECKPOINT.origin,
        str(CHECKPOINT)[:-1],
        str(CHECKPOINT) + "extension\n",
        str(CHECKPOINT).replace("3000", "03000"),
        str(CHECKPOINT).replace("3000", "-1"),
        str(CHECKPOINT).replace("3000", "\u0663"),
        str(CHECKPOINT).replace("AAEC", "A!EC"),
        f"{ORIGIN}\n1\nAAEC\n",
        "\n" + str(CHECKPOINT).partition("\n")[2],
    ],
)
def test_damaged_checkpoint_is_an_error(text):
    """Mutant: extension lines are allowed."""
    with pytest.raises(ValueError):
        Checkpoint.parse(text)


NAMES = st.text(string.ascii_letters + string.digits + "/.-_", min_size=1, max_size=20)


@given(NAMES, st.integers(0, 2**63), st.binary(min_size=32, max_size=32))
def test_checkpoint_is_read_as_written(origin, size, root):
    checkpoint = Checkpoint(origin, size, root)

    assert checkpoint == Checkpoint.parse(str(checkpoint))


@given(NAMES, st.sampled_from(Algorithm), st.binary(min_size=32, max_size=32))
def test_verifier_key_is_read_as_written(name, algorithm, seed):
    key = SigningKey(name, algorithm, seed).verifier

    assert key == VerifierKey.parse(str(key))


@given(st.lists(st.integers(0, 9), max_size=5), st.sampled_from(["", "\n", "\n\n"]))
def test_notes_of_a_file_are_split(sizes, between):
    """A file of anchors grows by `cat checkpoint >> file`. Mutant: a blank line ends a note."""
    notes = [str(Checkpoint(ORIGIN, size, bytes(32)).sign([LOG, EPOCH], AT)) for size in sizes]

    assert notes == list(split_notes(between.join(notes)))


def test_rest_of_a_file_that_is_no_note_is_shown():
    assert [str(SIGNED), "junk\n"] == list(split_notes(f"{SIGNED}\njunk\n"))
