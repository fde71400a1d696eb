"""The signature of samples."""

from hypothesis import given
from hypothesis import strategies as st

from receiver.samples import SampleSigner

SIGNER = SampleSigner("x" * 32)


@given(source=st.text(max_size=9), body=st.binary(max_size=20), other=st.binary(max_size=20))
def test_sample_needs_its_own_signature(source, body, other):
    signature = SIGNER.sign(source, body)

    assert SIGNER.is_sample(source, body, signature)
    assert SIGNER.is_sample(source, other, signature) == (body == other)
    assert not SIGNER.is_sample(f"{source}x", body, signature)
    assert not SIGNER.is_sample(source, body, signature[:-1])
    assert not SIGNER.is_sample(source, body, "é")
    assert not SIGNER.is_sample(source, body, None)


def test_signature_is_that_of_earlier_versions():
    """The replay of an old sample is still a sample. Mutants: another key; another hash."""
    assert SIGNER.sign("tellabot", b"event=x") == (
        "acc1b9c1f5e124a307e0762015e9fbe1d406c0bf158105432a2223c6d8b0452e"
    )
