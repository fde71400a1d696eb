"""Subscriptions: list, add, show, change, rotate, resume, delete."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from functools import partial
from typing import Annotated, Any, Literal

import msgspec
from litestar import delete, get, patch, post
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath
from msgspec import UNSET, Meta, UnsetType

from core.clock import utc
from journal import Journal
from journal.reads import Counters, SinkRecords
from journal.records import SinkRecord, owed_in
from routes.index import is_tried_always
from routes.match import Invalid, compile_filter
from sinks.health import Pause
from sinks.http.subscription import ChallengeFailed, check_subscribed_url
from sinks.sink import Failed

from ..runtime.keys import Access
from ..runtime.subscriptions import (
    CodesHidden,
    KeyEnded,
    Live,
    LiveSubscriptions,
    SecretMissing,
    TooManySubscriptions,
)
from .auth import ApiRequest, needs
from .errors import Problem, bad_body, bad_filter, not_found
from .idempotency import Calls, MadeId
from .operation import Operation
from .paging import Cursors, PageAnswer, Paging, first_page
from .parameters import Text, read, read_body
from .router import ApiRouter
from .shown_sinks import ShownError, last_error_of, state_of

#: Bytes of a `when` as JSON.
LONGEST_WHEN = 4096
#: Regular expressions in one `when`. Each takes time and up to half a megabyte of memory.
MOST_PATTERNS = 4
_SCOPE = "subscriptions:write"
#: A key that may only read has subscriptions from the time when it could make them.
_READING = ("events:read", _SCOPE)
_BLOCKED = "has no address, or one that is not public"
_EXPECTED = "a JSON object is expected, with url, and optionally when and format"

Format = Literal["json", "cloudevents", "standard"]
When = Annotated[Mapping[str, Any], Meta(title="write paths and conditions, as in a route")]


class SubscriptionBody(msgspec.Struct, frozen=True, kw_only=True):
    """The fields of a subscription that a client may send."""

    #: The endpoint. It must return the challenge that it is sent.
    url: Text | None = None
    #: Conditions as in routes. Missing: the events of a route without `when`.
    when: When | None = None
    #: The body of each delivery; missing: `json`.
    format: Format | None = None


class ShownSubscription(msgspec.Struct, frozen=True, kw_only=True):
    """A subscription as it is listed. Its secret is not shown."""

    id: str
    #: The name of its sink in deliveries and logs.
    sink: str
    #: The name of the API key that made it.
    key: str
    url: str
    when: Mapping[str, Any] | None
    format: str
    #: Whether text, code and urls are masked, because the key does not have codes:read.
    masked: bool
    #: Whether its filter is tried for every event, as it names no value to look up.
    tried_always: bool
    #: `active`, `failing` (nothing succeeded since its last failure) or `paused`.
    state: str
    #: `failing` (for five days), `gone` (it answered 410), `key` (its API key ended),
    #: `secret` (its secret cannot be opened; rotate it) or `operator`.
    paused_by: str | None
    paused_at: datetime | None
    #: Deliveries that are pending or being sent.
    owed: int
    failing_since: datetime | None
    last_success_at: datetime | None
    last_error: ShownError | None
    created_at: datetime


class ShownSecret(msgspec.Struct, frozen=True, kw_only=True):
    """The secret that signs deliveries. It is shown only once."""

    id: str
    secret: str


def subscriptions(
    *, subscriptions: LiveSubscriptions, journal: Journal, cursors: Cursors, calls: Calls
) -> ApiRouter:
    views = _Views(subscriptions, journal)
    handlers = [*_reading(views, cursors), *_making(views, calls), *_steering(views, calls)]
    return ApiRouter("/subscriptions", route_handlers=handlers)


class _Views:
    """The subscriptions as a key sees them: its own, with `admin` all."""

    def __init__(self, subscriptions: LiveSubscriptions, journal: Journal) -> None:
        self.all, self._journal = subscriptions, journal

    def owned(self, access: Access) -> list[Live]:
        return [live for live in self.all if _owns(access, live)]

    def find(self, access: Access, id_: str) -> Live:
        """Return a subscription. Raise Problem if it does not exist or is another key's."""
        live = self.all.get(id_)
        if live is None or not _owns(access, live):
            raise not_found("subscription")
        return live

    async def shown(self, access: Access, found: Iterable[Live]) -> Sequence[ShownSubscription]:
        records = await self._journal.ask(SinkRecords())
        owed = owed_in(await self._journal.ask(Counters()))
        return [
            _shown(live, records.get(live.name) or SinkRecord(name=live.name), owed, access)
            for live in found
        ]

    async def one(self, access: Access, live: Live) -> ShownSubscription:
        [item] = await self.shown(access, [live])
        return item


def _reading(views: _Views, cursors: Cursors) -> list[HTTPRouteHandler]:
    @get(
        "/",
        guards=[needs(*_READING)],
        operation=Operation(query=Paging),
    )
    async def listed(request: ApiRequest) -> PageAnswer[ShownSubscription]:
        """List subscriptions.

        They are those that the key made; with `admin`, those of all keys.
        """
        asked = await cursors.asked(read(request.scope, Paging))
        rows = [(live.place, live) for live in views.owned(request.auth)]
        if asked.desc:
            rows.reverse()
        if asked.after is not None:
            after, sign = asked.after, -1 if asked.desc else 1
            rows = [row for row in rows if sign * (row[0] - after) > 0]
        page = first_page(rows, asked)
        [next_cursor] = await cursors.at([page.next_seq], desc=asked.desc)
        return PageAnswer(
            data=await views.shown(request.auth, (live for _, live in page.items)),
            next_cursor=next_cursor,
            has_more=page.has_more,
        )

    @get(
        "/{subscription_id:str}",
        guards=[needs(*_READING)],
        operation=Operation(),
    )
    async def one(request: ApiRequest, subscription_id: FromPath[str]) -> ShownSubscription:
        """Get a subscription."""
        return await views.one(request.auth, views.find(request.auth, subscription_id))

    return [listed, one]


def _making(views: _Views, calls: Calls) -> list[HTTPRouteHandler]:
    @post(
        "/",
        guards=[needs(_SCOPE)],
        operation=Operation(
            body=SubscriptionBody,
            required=("url",),
            errors=(
                "already_made",
                "too_many_subscriptions",
                "key_ended",
                "url_blocked",
                "challenge_failed",
            ),
        ),
    )
    async def create(request: ApiRequest) -> ShownSecret:
        """Subscribe an endpoint.

        Only this answer shows the secret that signs.
        """
        async with calls.begin(request, reread=True) as call:
            if call.made is not None:
                raise _already_made("made the subscription", MadeId.of(call.made))
            given = _read(await request.body())
            if given.url is None:
                raise bad_body("url", "missing; write the URL that events are sent to")
            with _problems(request.auth):
                id_, secret = await views.all.create(
                    request.auth.name,
                    given.url,
                    given.when,
                    given.format or "json",
                    guard=lambda id_: call.guard(lambda _: MadeId(id_), lambda _: 201),
                )
        return ShownSecret(id=id_, secret=secret.reveal())

    @patch(
        "/{subscription_id:str}",
        guards=[needs(_SCOPE)],
        operation=Operation(
            body=SubscriptionBody, errors=("key_ended", "url_blocked", "challenge_failed")
        ),
    )
    async def change(request: ApiRequest, subscription_id: FromPath[str]) -> ShownSubscription:
        """Change a subscription.

        Missing fields stay. `when` null is the default of routes.
        """
        body = await request.body()
        given, live = _read(body), views.find(request.auth, subscription_id)
        # For other fields, null is the same as missing.
        written = msgspec.json.decode(body, type=dict[str, msgspec.Raw]).get("when")
        when: Mapping[str, Any] | UnsetType | None = UNSET if written is None else given.when
        with _problems(request.auth):
            await views.all.change(live, url=given.url, when=when, format_=given.format)
        return await views.one(request.auth, views.find(request.auth, subscription_id))

    @delete(
        "/{subscription_id:str}",
        guards=[needs(_SCOPE)],
        operation=Operation(),
    )
    async def remove(request: ApiRequest, subscription_id: FromPath[str]) -> None:
        """Delete a subscription.

        Its pending deliveries become dead.
        """
        await views.all.delete(views.find(request.auth, subscription_id))

    return [create, change, remove]


def _steering(views: _Views, calls: Calls) -> list[HTTPRouteHandler]:
    @post(
        "/{subscription_id:str}/rotate",
        status_code=200,
        guards=[needs(_SCOPE)],
        operation=Operation(errors=("already_made", "too_many_secrets")),
    )
    async def rotate(request: ApiRequest, subscription_id: FromPath[str]) -> ShownSecret:
        """Rotate the secret of a subscription.

        The former secret also signs for 24 hours.
        """
        live = views.find(request.auth, subscription_id)
        async with calls.begin(request, reread=True) as call:
            if call.made is not None:
                raise _already_made("rotated the secret", MadeId.of(call.made))
            guard = call.guard(partial(_rotated, live.stored.id))
            try:
                secret = await views.all.rotate(live, guard)
            except TooManySubscriptions:
                text = "four secrets sign already; the oldest ends a day after its rotation"
                raise Problem(409, "too_many_secrets", text) from None
        return ShownSecret(id=live.stored.id, secret=secret.reveal())

    @post(
        "/{subscription_id:str}/resume",
        status_code=200,
        guards=[needs(_SCOPE)],
        operation=Operation(errors=("key_ended", "secret_missing", "paused_by_operator")),
    )
    async def resume(request: ApiRequest, subscription_id: FromPath[str]) -> ShownSubscription:
        """Resume a subscription.

        Its pending deliveries are sent.
        """
        live = views.find(request.auth, subscription_id)
        async with calls.begin(request, reread=True) as call:
            if call.made is None:
                by_operator = live.worker.paused is Pause.OPERATOR
                if by_operator and not request.auth.may("deliveries:write"):
                    text = "the operator paused it; a key with deliveries:write resumes it"
                    raise Problem(409, "paused_by_operator", text)
                with _problems(request.auth):
                    await views.all.resume(live, call.guard(lambda _: MadeId(live.stored.id)))
        return await views.one(request.auth, live)

    return [rotate, resume]


def _rotated(id_: str, changed: bool) -> MadeId | None:  # noqa: FBT001 - the result of the write
    return MadeId(id_) if changed else None


def _already_made(what: str, made: MadeId) -> Problem:
    text = f"this call {what} before; a secret is shown only once"
    return Problem(409, "already_made", text, id=made.id)


@contextmanager
def _problems(access: Access) -> Iterator[None]:
    """Turn the errors of a change into answers.

    Only `admin` gets another answer for a host without an address than for a blocked one.
    """
    try:
        yield
    except TooManySubscriptions:
        text = "the key has as many subscriptions as subscriptions.per_key allows; delete one"
        raise Problem(409, "too_many_subscriptions", text) from None
    except KeyEnded:
        text = "its API key is gone, or may no longer subscribe or filter on codes"
        raise Problem(409, "key_ended", text) from None
    except SecretMissing:
        text = "its secret cannot be opened, because the key file is missing or another; rotate it"
        raise Problem(409, "secret_missing", text) from None
    except CodesHidden:
        text = "when: a filter on text, code or urls needs a key with codes:read"
        raise Problem(403, "missing_scope", text) from None
    except Failed:
        text = "has an address that is not public" if access.may("admin") else _BLOCKED
        raise _blocked(text) from None
    except ChallengeFailed as error:
        if error.word == "dns" and not access.may("admin"):
            raise _blocked(_BLOCKED) from None
        raise Problem(422, "challenge_failed", f"url: {_reason(error)}") from None


def _blocked(why: str) -> Problem:
    text = f"url: its host {why}; subscriptions.allow_networks may allow a private one"
    return Problem(422, "url_blocked", text)


def _reason(error: ChallengeFailed) -> str:
    match error.word:
        case "dns":
            return "its host has no address"
        case "timeout":
            return "no complete answer within 5 seconds"
        case "status":
            return f"answered {error.status}; answer 200 with the challenge in the body"
        case "challenge":
            return "the body of its answer does not hold the challenge; return it as it was sent"
    return f"the challenge could not be sent: {error.word}"


def _read(body: bytes) -> SubscriptionBody:
    given = read_body(body, SubscriptionBody, _EXPECTED)
    if given.url is not None:
        try:
            check_subscribed_url(given.url)
        except ValueError as error:
            raise bad_body("url", str(error)) from None
    if given.when is not None:
        # Before it is compiled: a pattern may take a tenth of a second, and callbacks wait.
        written = msgspec.json.encode(given.when)
        if len(written) > LONGEST_WHEN:
            raise bad_body("when", f"longer than {LONGEST_WHEN} bytes")
        if written.count(b'"$regex"') > MOST_PATTERNS:
            raise bad_body("when", f"has more than {MOST_PATTERNS} $regex")
        try:
            compile_filter(given.when, "when")
        except Invalid as invalid:
            raise bad_filter(invalid) from None
    return given


def _owns(access: Access, live: Live) -> bool:
    """Return whether the key made it, or sees the subscriptions of all keys."""
    sees_all = "admin" in access.scopes and access.sees is None
    return sees_all or access.name == live.stored.key


def _shown(
    live: Live, record: SinkRecord, owed: Mapping[str, int], access: Access
) -> ShownSubscription:
    stored = live.stored
    return ShownSubscription(
        id=stored.id,
        sink=live.name,
        key=stored.key,
        url=stored.url,
        when=None if stored.filter is None else msgspec.json.decode(stored.filter),
        format=stored.format,
        masked=live.sink.redact is not None,
        tried_always=is_tried_always(live.filter),
        state=state_of(live.worker),
        paused_by=record.paused,
        paused_at=utc(record.paused_at),
        owed=owed.get(live.name, 0),
        failing_since=utc(record.failing_since),
        last_success_at=utc(record.last_success_at),
        last_error=last_error_of(record, access),
        created_at=utc(stored.created_at),
    )
