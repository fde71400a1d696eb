import base64
import hmac
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks import Webhook, WebhookVerificationError

from core.secret import Secret
from core.signing import decode_key, hmac_once, make_hmac, make_signer

KEYS = st.binary(min_size=24, max_size=64)
#: An id may have any character of a header except the dot.
IDS = st.text(st.sampled_from("abcdefXYZ0123456789_-"), min_size=1, max_size=40)


def secret(key):
    return Secret(f"whsec_{base64.b64encode(key).decode()}")


def test_signature_equals_the_reference_vector():
    """From libraries/*/test of the specification's repository. Mutant: hex, or another order."""
    sign = make_signer([Secret("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")])

    signature = sign("msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}')

    assert signature == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


@given(keys=st.lists(KEYS, min_size=1, max_size=3), event_id=IDS, body=st.text())
def test_each_secret_verifies_a_signature_made_with_all(keys, event_id, body):
    """Mutants: only the first of several signs; signatures are joined by a comma."""
    now = int(time.time())
    headers = {
        "webhook-id": event_id,
        "webhook-timestamp": str(now),
        "webhook-signature": make_signer(map(secret, keys))(event_id, now, body.encode()),
    }

    for key in keys:
        assert Webhook(secret(key).reveal()).verify(body, headers, json_parse=False) is None
        with pytest.raises(WebhookVerificationError):
            Webhook(secret(key).reveal()).verify(f"{body} ", headers)


@given(key=KEYS)
def test_decode_key_returns_the_key_in_a_secret(key):
    assert decode_key(secret(key)) == key


@pytest.mark.parametrize(
    "text",
    [
        "whsec_",
        "canary",
        "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        "WHSEC_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaS",
        "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\n",
        "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaé=",
        secret(b"x" * 23).reveal(),
        secret(b"x" * 65).reveal(),
    ],
)
def test_invalid_secret_is_refused_without_its_value(text):
    with pytest.raises(ValueError) as refusal:
        decode_key(Secret(text))

    assert str(refusal.value) == (
        "not whsec_ and base64 of 24 to 64 bytes: echo whsec_$(openssl rand -base64 32)"
    )


@given(key=st.binary(min_size=1, max_size=200), messages=st.lists(st.binary(), min_size=1))
def test_make_hmac_is_hmac_for_each_message(key, messages):
    """RFC 2104. Mutant: the begun hash is updated instead of a copy."""
    digest = make_hmac(key)

    assert [digest(one) for one in messages] == [
        hmac.digest(key, one, "sha256") for one in messages
    ]


@given(st.binary(max_size=64), st.binary(max_size=200))
def test_hmac_once_is_hmac(key, message):
    """Mutant: the key is not filled up to a block."""
    assert hmac_once(key, message) == hmac.digest(key, message, "sha256")
