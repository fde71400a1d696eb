"""The sink of a subscription: an endpoint that a service added by the API."""

import re
import secrets
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import ClassVar, Final

import msgspec
from pyreqwest.http import Url

from core.secret import Secret
from core.signing import Sign, make_signer
from core.units import Duration

from ..sink import Failed, Outgoing, PauseAfter, Receipt, Send, Unusable
from .answer import MOST_READ, confirmed
from .client import check_url
from .guard import BLOCKED, AddressGuard, is_port_allowed
from .guarded import GuardedClient, port_of
from .sink import Http

#: Seconds for the whole challenge.
CHALLENGE_WITHIN: Final = 5.0
#: Seconds without a success after which a subscription is paused: five days, as Svix does.
_FAILING_FOR: Final = Duration(5 * 86400)
#: The characters that end the host and port of a URL. Browsers read `\` as `/`.
_AUTHORITY_ENDS = re.compile(r"[/?#\\]")
#: The longest URL.
_LONGEST_URL = 2048


class SigningSecret(msgspec.Struct, frozen=True, kw_only=True):
    """A secret of a subscription."""

    secret: Secret
    #: It signs until then, in seconds since the epoch; None: it is the current one.
    until: float | None = None


class Subscription(Http, tag="subscription", frozen=True, kw_only=True):
    """One POST for each event, only to addresses that the guard allows."""

    guard: AddressGuard
    #: Each of them signs, until it ends.
    signing: tuple[SigningSecret, ...]
    #: Raises Refused or Failed if its API key may not get an event, given as it is stored.
    allow: Callable[[bytes], None]
    concurrency: int = 8
    pause_after: PauseAfter | None = PauseAfter(failing_for=_FAILING_FOR)

    stays_paused: ClassVar[bool] = True

    def check(self, body: bytes) -> None:
        self.allow(body)

    async def prepare(self) -> None:
        pass  # no part is shared

    @asynccontextmanager
    async def open(self) -> AsyncIterator[Send]:
        fixed, compose = self._fixed(), self._composing()
        client = GuardedClient(self.url.reveal(), self.guard, connections=self.concurrency)
        try:

            async def send(outgoing: Outgoing) -> Receipt:
                _, headers, body = compose(outgoing)
                answer = await client.post({**fixed, **headers}, body, within=self.timeout)
                return confirmed(answer, now=outgoing.at)

            yield send
        finally:
            await client.close()

    def _signer(self) -> Sign | None:
        signers = [(one.until, make_signer([one.secret])) for one in self.signing]

        def sign(event_id: str, timestamp: int, body: bytes) -> str:
            return " ".join(
                sign(event_id, timestamp, body)
                for until, sign in signers
                if until is None or timestamp < until
            )

        return sign


def check_subscribed_url(text: str) -> None:
    """Raise ValueError for a URL that cannot be subscribed; the error does not repeat it."""
    if len(text) > _LONGEST_URL:
        raise ValueError(f"longer than {_LONGEST_URL} characters")
    check_url(text)
    url = Url(text)
    if "@" in _AUTHORITY_ENDS.split(text.partition("://")[2])[0]:
        raise ValueError("has a user or password; deliveries are signed, so leave them out")
    if "#" in text or "\\" in text:
        raise ValueError("has # or a backslash; a request has no fragment, so leave them out")
    if not is_port_allowed(port_of(url)):
        raise ValueError("has a port below 1024 other than 80 and 443; use another")


class ChallengeFailed(Exception):
    """The endpoint did not return the challenge. `word` says why; `status` is of the answer."""

    def __init__(self, word: str, status: int | None = None) -> None:
        super().__init__(word)
        self.word, self.status = word, status


async def challenge(
    url: str,
    guard: AddressGuard,
    *,
    now: float,
    make: Callable[[], str] = lambda: secrets.token_urlsafe(24),
) -> None:
    """Ask an endpoint to return a text, which proves that it wants events.

    Raises Failed with `blocked`, and ChallengeFailed.
    """
    text = make()
    body = msgspec.json.encode({"type": "subscription.challenge", "challenge": text})
    headers = {
        "content-type": "application/json",
        "webhook-id": f"challenge_{secrets.token_hex(8)}",
        "webhook-timestamp": str(int(now)),
    }
    client = GuardedClient(url, guard, connections=0)
    try:
        answer = await client.post(
            headers, body, within=CHALLENGE_WITHIN, keep=MOST_READ, patience=CHALLENGE_WITHIN
        )
    except Failed as failure:
        if failure.word == BLOCKED:
            raise
        raise ChallengeFailed(failure.word) from None
    except Unusable:
        raise ChallengeFailed("fault") from None
    finally:
        await client.close()
    if not 200 <= answer.status <= 299:  # noqa: PLR2004 - RFC 9110, 15.3
        raise ChallengeFailed("status", answer.status)
    if text.encode() not in answer.beginning:
        raise ChallengeFailed("challenge", answer.status)
