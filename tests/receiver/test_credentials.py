"""Secrets in headers are replaced by digests; all other headers stay as sent."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from receiver.credentials import hide_credentials

STORED = "digest:" + "0" * 32


def hidden(*headers, own=(), stored=False):
    return hide_credentials(headers, "s", frozenset(own), lambda _value: "#", stored=stored)


@pytest.mark.parametrize(
    "name",
    [
        *("authorization", "proxy-authorization", "cookie", "cookie2", "set-cookie"),
        *("x-api-key", "x-apikey", "api_key", "x-auth-key", "x-access-token", "x-auth"),
        *("x-gitlab-token", "x-telegram-bot-api-secret-token", "x-webhook-secret", "x-password"),
        *("cf-access-jwt-assertion", "x-csrf-token", "x-original-authorization"),
    ],
)
def test_header_named_like_a_secret_is_hidden(name):
    """Mutant: only the headers of HTTP count."""
    assert hidden((name, "v")) == ((name, "#"),)


@pytest.mark.parametrize(
    "name",
    [
        *("content-type", "user-agent", "host", "x-forwarded-for", "x-request-id", "author"),
        *("x-signature", "x-hub-signature-256", "x-twilio-signature", "webhook-signature"),
        *("idempotency-key", "smshook-sample", "webhook-id", "x-key-id", "content-encoding"),
    ],
)
def test_other_headers_stay_as_sent(name):
    """A signature is not secret, and the replay of a sample needs it."""
    assert hidden((name, "v")) == ((name, "v"),)


@pytest.mark.parametrize(
    "value", ["/in/s/token", "https://h.example/hooks/in/s/token?a=b", "/in/%73/token", "/%69n/s/t"]
)
def test_header_with_the_callback_url_is_hidden(value):
    """The URL contains the token. Mutant: an escaped path is not recognized."""
    assert hidden(("referer", value)) == (("referer", "#"),)
    assert hidden(("referer", "/in/other/token")) == (("referer", "/in/other/token"),)


def test_own_header_of_a_source_is_hidden():
    assert hidden(("x-own", "v"), own=("x-own",)) == (("x-own", "#"),)


def test_stored_digest_is_not_digested_again():
    """Mutant: a digest that a caller sends stays as it is."""
    assert hidden(("cookie", STORED), stored=True) == (("cookie", STORED),)
    assert hidden(("cookie", STORED)) == (("cookie", "#"),)
    for value in ("digest:", STORED + "0", STORED.upper(), STORED + "\n"):
        assert hidden(("cookie", value), stored=True) == (("cookie", "#"),)


@given(st.lists(st.tuples(st.text(max_size=20), st.text(max_size=40))))
def test_order_and_names_of_headers_stay(headers):
    assert [name for name, _ in hidden(*headers)] == [name for name, _ in headers]
