"""Signatures of providers cover the bytes as received, and no forgery passes."""

import base64
import hashlib
import hmac
from datetime import UTC, datetime

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.secret import Secret
from receiver.callback import Callback
from receiver.signatures import Basic, HeaderSecret, Hmac, Twilio, verify_standard

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
KEY, OTHER = "the-secret", "another-secret"
WHSEC = "whsec_Y3JtLXNlY3JldC0wMTIzNDU2Nzg5LTAxMjM0NTY3"
BODY = b'{"a":"\xc3\xa9"}'
TARGET = "/in/s/t"


def came(body=BODY, **headers):
    return Callback(
        headers=tuple((name.replace("_", "-"), value) for name, value in headers.items()),
        body=body,
        peer="192.0.2.1",
        received=NOW,
    )


@pytest.mark.parametrize("algorithm", ["sha1", "sha256", "sha512"])
@pytest.mark.parametrize("encoding", ["hex", "base64"])
def test_hash_with_any_of_the_secrets_is_valid(algorithm, encoding):
    """Mutants: only the first secret is tried; the prefix is not checked."""
    digest = hmac.digest(OTHER.encode(), BODY, algorithm)
    written = digest.hex() if encoding == "hex" else base64.b64encode(digest).decode()
    lock = Hmac(
        secrets=(Secret(KEY), Secret(OTHER)),
        header="X-Hub",
        algorithm=algorithm,
        encoding=encoding,
        prefix="v=",
    )

    assert lock.verifies(came(x_hub=f"v={written}"))
    assert not lock.verifies(came(x_hub=written))
    assert not lock.verifies(came(BODY + b" ", x_hub=f"v={written}"))
    assert not lock.verifies(came())
    assert not lock.verifies(came(x_hub=f"v={written[:-4]}"))


def test_hexadecimal_digits_are_read_in_either_case():
    digest = hmac.digest(KEY.encode(), BODY, "sha256").hex()

    assert Hmac(secrets=(Secret(KEY),)).verifies(came(x_signature=digest.upper()))


def test_headers_can_be_signed_with_the_body():
    lock = Hmac(secrets=(Secret(KEY),), signed="v0:{X-Time}:{body}.")
    digest = hmac.digest(KEY.encode(), b"v0:17:" + BODY + b".", "sha256").hex()

    assert lock.verifies(came(x_signature=digest, x_time="17"))
    assert not lock.verifies(came(x_signature=digest, x_time="18"))
    assert not lock.verifies(came(x_signature=digest))


def test_body_that_looks_like_a_place_is_not_filled_in():
    """Mutant: fill in the body, then headers: the sender of a body could read headers."""
    body = b"{X-Time}"
    lock = Hmac(secrets=(Secret(KEY),), signed="{X-Time}{body}")

    digest = hmac.digest(KEY.encode(), b"17" + body, "sha256").hex()

    assert lock.verifies(came(body, x_signature=digest, x_time="17"))


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"secrets": ()}, "secrets: empty"),
        ({"header": "X Signature"}, "header: not the name"),
        ({"signed": "{X-Time}"}, "signed: {body} must be there once"),
        ({"signed": "{body}{body}"}, "signed: {body} must be there once"),
        ({"signed": "{body}{"}, "signed: {body} must be there once"),
        ({"signed": "{body}{a b}"}, "signed: only body or the name"),
        ({"signed": "{header.t}.{body}"}, "needs `part`"),
        ({"part": "v 1"}, "part: not the name"),
        ({"time": "X-Time"}, "time: not signed"),
    ],
)
def test_invalid_option_is_refused_at_start(options, complaint):
    with pytest.raises(ValueError, match=complaint):
        Hmac(**{"secrets": (Secret(KEY),), **options})


STRIPE = {"header": "Stripe-Signature", "part": "v1", "signed": "{header.t}.{body}"}


def stripe(at, *, key=KEY, body=BODY):
    return hmac.digest(key.encode(), f"{at}.".encode() + body, "sha256").hex()


def of_stripe(header, body=BODY):
    return came(body, stripe_signature=header)


def test_list_of_signatures_in_one_header_is_verified():
    """Mutants: only the first `v1` is tried; `t` is not signed; another version is accepted."""
    at = int(NOW.timestamp())
    lock = Hmac(secrets=(Secret(OTHER), Secret(KEY)), time="header.t", **STRIPE)
    good = stripe(at)

    for header in (
        f"t={at},v1={good}",
        f"t={at}, v1={good}",
        f"v1={'0' * 64},v0=x,v1={good},t={at}",
        f"t={at},v1=\xe9,v1={good},",
        f"t={at},v1={stripe(at, key=OTHER)}",
    ):
        assert lock.verifies(of_stripe(header)), header
    for header in (
        "",
        f"v1={good}",
        f"t={at}",
        f"t={at},v1=",
        f"t={at},v1={good[:-2]}",
        f"t={at},v1={stripe(at, key='x')}",
        f"t={at},v0={good}",
        f"t={at},V1={good}",
        f"t={at}v1={good}",
        f"t={at + 1},v1={good}",
        f"t={at},t={at},v1={good}",
        f"t={at}\xe9,v1={good}",
        good,
    ):
        assert not lock.verifies(of_stripe(header)), header
    assert not lock.verifies(of_stripe(f"t={at},v1={good}", BODY + b" "))
    assert not lock.verifies(came())


@pytest.mark.parametrize(
    ("late", "holds"), [(300, True), (301, False), (-300, True), (-301, False)]
)
@pytest.mark.parametrize("unit", [1, 1000])
def test_signed_time_is_valid_for_five_minutes(late, holds, unit):
    """Mutant: `time` is ignored, and a caught callback is valid for ever."""
    at = (int(NOW.timestamp()) - late) * unit
    lock = Hmac(secrets=(Secret(KEY),), time="header.t", **STRIPE)

    assert lock.verifies(of_stripe(f"t={at},v1={stripe(at)}")) is holds
    assert Hmac(secrets=(Secret(KEY),), **STRIPE).verifies(of_stripe(f"t={at},v1={stripe(at)}"))


def test_time_can_be_its_own_header():
    lock = Hmac(secrets=(Secret(KEY),), signed="{X-Time}{body}", time="X-Time")
    at = int(NOW.timestamp())
    digest = hmac.digest(KEY.encode(), f"{at}".encode() + BODY, "sha256").hex()
    old = hmac.digest(KEY.encode(), b"17" + BODY, "sha256").hex()

    assert lock.verifies(came(x_signature=digest, x_time=str(at)))
    assert not lock.verifies(came(x_signature=old, x_time="17"))
    assert not lock.verifies(came(x_signature=digest))


def test_secret_in_a_header_must_be_configured():
    """Mutants: only the first secret is tried; its beginning is accepted."""
    lock = HeaderSecret(name="X-Token", secrets=(Secret(OTHER), Secret("pässword")))

    assert lock.verifies(came(x_token=OTHER))
    assert lock.verifies(came(x_token="pässword".encode().decode("latin-1")))
    for wrong in ("", OTHER[:-1], OTHER + " ", "pässword"):
        assert not lock.verifies(came(x_token=wrong))
    assert not lock.verifies(came())


@pytest.mark.parametrize(("name", "secrets"), [("X Token", (Secret(KEY),)), ("X-Token", ())])
def test_header_secret_without_name_or_secret_is_refused(name, secrets):
    with pytest.raises(ValueError, match=r"name: not the name|secrets: empty"):
        HeaderSecret(name=name, secrets=secrets)


def whsec(at, body=BODY, *, key=WHSEC, id_="msg_1"):
    raw = base64.b64decode(key.removeprefix("whsec_"))
    digest = hmac.digest(raw, f"{id_}.{at}.".encode() + body, "sha256")
    return f"v1,{base64.b64encode(digest).decode()}"


def webhook(at, signature, body=BODY, id_="msg_1"):
    return came(body, webhook_id=id_, webhook_timestamp=str(at), webhook_signature=signature)


def test_standard_webhooks_sign_id_time_and_body():
    at = int(NOW.timestamp())
    secrets = (Secret(WHSEC),)

    assert verify_standard(secrets, webhook(at, whsec(at)))
    assert verify_standard(secrets, webhook(at, f"v1a,xyz v1,AAAA {whsec(at)}"))
    assert not verify_standard(secrets, webhook(at + 1, whsec(at)))
    assert not verify_standard(secrets, webhook(at, whsec(at), BODY + b" "))
    assert not verify_standard(secrets, webhook(at, whsec(at), id_="msg_2"))
    assert not verify_standard(secrets, webhook(at, ""))
    assert not verify_standard(secrets, came())


def test_standard_webhooks_may_have_another_prefix():
    """Mutant: `webhook-` is accepted where `svix-` is configured."""
    at = int(NOW.timestamp())
    secrets = (Secret(WHSEC),)
    signed = {"svix_id": "msg_1", "svix_timestamp": str(at), "svix_signature": whsec(at)}

    assert verify_standard(secrets, came(**signed), prefix="svix")
    assert not verify_standard(secrets, came(**signed))
    assert not verify_standard(secrets, webhook(at, whsec(at)), prefix="svix")
    for wrong in ("", "v1,", "v1", f"v2,{whsec(at)[3:]}", whsec(at)[:-4], f"v1,\xe9{whsec(at)}"):
        assert not verify_standard(
            secrets, came(**signed | {"svix_signature": wrong}), prefix="svix"
        )


@pytest.mark.parametrize(
    ("late", "holds"), [(300, True), (301, False), (-300, True), (-301, False)]
)
def test_standard_webhooks_are_valid_for_five_minutes(late, holds):
    """Mutant: only the past is limited, and a clock that is ahead signs for ever."""
    at = int(NOW.timestamp()) - late

    assert verify_standard((Secret(WHSEC),), webhook(at, whsec(at))) is holds


def authorization(text):
    return came(authorization=f"Basic {base64.b64encode(text.encode()).decode()}")


def test_basic_name_and_password_must_match():
    lock = Basic(user="me", password=Secret("pässword:1"))

    assert lock.verifies(authorization("me:pässword:1"))
    assert not lock.verifies(authorization("me:pässword:2"))
    assert not lock.verifies(authorization("you:pässword:1"))
    assert not lock.verifies(came(authorization="Bearer me:pässword:1"))
    assert not lock.verifies(came())


def test_basic_name_with_a_colon_is_refused():
    with pytest.raises(ValueError, match="user"):
        Basic(user="a:b", password=Secret("x"))


TWILIO = Twilio(auth_tokens=(Secret(OTHER), Secret(KEY)), url="https://h.example/")


def of_twilio(message):
    return base64.b64encode(hmac.digest(KEY.encode(), message.encode(), "sha1")).decode()


def test_twilio_signs_the_url_and_the_sorted_parameters():
    """Mutants: the order as sent; an empty parameter is left out."""
    signature = of_twilio("https://h.example/in/s/tA1B2C")

    assert TWILIO.verifies(came(b"B=2&A=1&C=", x_twilio_signature=signature), TARGET)
    assert not TWILIO.verifies(came(b"B=2&A=1", x_twilio_signature=signature), TARGET)
    assert not TWILIO.verifies(came(b"B=2&A=1&C=", x_twilio_signature=signature), "/in/s/u")
    assert not TWILIO.verifies(came(b"B=2&A=1&C="), TARGET)


@pytest.mark.parametrize(
    ("configured", "signed"),
    [
        ("https://h.example", "https://h.example:443"),
        ("https://h.example:8443", "https://h.example"),
        ("https://h.example:8443/", "https://h.example:8443"),
        ("http://h.example", "http://h.example:80"),
        ("HTTPS://h.example", "HTTPS://h.example:443"),
        ("http://h.example/hooks", "http://h.example:80/hooks"),
        ("https://[2001:db8::8443]:8443", "https://[2001:db8::8443]"),
        ("https://[2001:db8::1]", "https://[2001:db8::1]:443"),
    ],
)
def test_twilio_signs_the_url_with_and_without_its_port(configured, signed):
    """Any other port is still refused. Mutant: only the configured URL is tried."""
    lock = Twilio(auth_tokens=(Secret(KEY),), url=configured)

    assert lock.verifies(came(b"A=1", x_twilio_signature=of_twilio(f"{signed}{TARGET}A1")), TARGET)
    other = of_twilio(f"https://h.example:444{TARGET}A1")
    assert not lock.verifies(came(b"A=1", x_twilio_signature=other), TARGET)


def test_twilio_signs_the_url_alone_for_get():
    signature = of_twilio("https://h.example/in/s/t?B=2&A=1")

    assert TWILIO.verifies(came(b"B=2&A=1", x_twilio_signature=signature), f"{TARGET}?B=2&A=1")


def test_twilio_signs_the_hash_of_json_in_the_url():
    """Mutant: the hash is not compared, and any body passes."""
    target = f"{TARGET}?bodySHA256={hashlib.sha256(BODY).hexdigest()}"
    signature = of_twilio(f"https://h.example{target}")

    assert TWILIO.verifies(came(BODY, x_twilio_signature=signature), target)
    assert not TWILIO.verifies(came(BODY + b" ", x_twilio_signature=signature), target)


@pytest.mark.parametrize(
    "url", ["", "hooks.example.com", "ftp://x", "https://x?a=1", "https://ж.example", "https://[x"]
)
def test_invalid_base_url_is_refused(url):
    with pytest.raises(ValueError, match="url"):
        Twilio(auth_tokens=(Secret(KEY),), url=url)


@given(
    st.binary(max_size=60),
    st.text(st.characters(max_codepoint=255), max_size=60),
    st.text(max_size=20),
)
def test_random_signatures_are_invalid(body, header, target):
    """Mutant: a decoder raises an exception."""
    callback = msgspec.structs.replace(
        came(body),
        headers=tuple(
            (name, header)
            for name in (
                *("x-signature", "x-twilio-signature", "authorization", "webhook-id"),
                *("webhook-timestamp", "webhook-signature", "stripe-signature", "x-token"),
            )
        ),
    )

    for encoding in ("hex", "base64"):
        assert not Hmac(secrets=(Secret(KEY),), encoding=encoding).verifies(callback)
    assert not Hmac(secrets=(Secret(KEY),), **STRIPE).verifies(callback)
    assert not HeaderSecret(name="X-Token", secrets=(Secret("0" * 61),)).verifies(callback)
    assert not verify_standard((Secret(WHSEC),), callback)
    assert not Basic(user="me", password=Secret("x")).verifies(callback)
    assert not TWILIO.verifies(callback, "/" + target.encode("ascii", "ignore").decode())
