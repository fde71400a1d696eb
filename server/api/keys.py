"""API keys: list, create, revoke; the rights of the key that asks."""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Annotated, Any, Literal

import msgspec
from litestar import delete, get, post
from litestar.params import FromPath
from msgspec import Meta

from core.clock import utc
from core.units import rate
from routes.match import Invalid

from ..config.options import Scope
from ..config.shapes import NAME
from ..config.show import plain
from ..runtime.keys import Access, Configured, Keys, KnownKey, NameTaken
from .auth import ApiRequest, needs
from .errors import Problem, bad_body, bad_filter, not_found
from .idempotency import Calls, MadeId
from .operation import Operation
from .paging import Cursors, PageAnswer, named_list
from .parameters import AN_END, is_uuid, read_body, read_end
from .router import ApiRouter

#: Characters of a `when` in JSON. Each new event is compared with it.
_LONGEST_WHEN = 16_384
_A_NAME = "write up to 63 of a-z 0-9 _ -, beginning with a letter or digit, and no UUID"
_A_FILTER = 'write conditions as in a route, such as {"data.labels.team": "growth"}'
_A_RATE = "write a rate such as 600/m"


class KeyBody(msgspec.Struct, frozen=True, kw_only=True):
    """The fields of a new key."""

    #: A name for people and logs.
    name: Annotated[str, Meta(description=_A_NAME)] | None = None
    #: The calls that it may make.
    scopes: tuple[Scope, ...] = ()
    #: Conditions, as in a route: the key sees only events that meet them.
    when: Annotated[dict[str, Any], Meta(description=_A_FILTER)] | None = None
    #: RFC 3339, or how long from now: `30d`.
    expires: Annotated[str, Meta(description=AN_END)] | None = None
    #: The most requests in a time: `600/m`.
    rate: Annotated[str, Meta(description=_A_RATE)] | None = None
    #: The most events that it gets in clear in a time: `600/h`.
    reads: Annotated[str, Meta(description=_A_RATE)] | None = None
    #: `required`: it must give a reason to reveal a code.
    reason: Literal["required"] | None = None


class ShownKey(msgspec.Struct, frozen=True, kw_only=True):
    """A key as it is listed. The key itself is stored nowhere."""

    #: Null for a key of the configuration.
    id: str | None
    name: str
    scopes: Sequence[str]
    when: Mapping[str, Any] | None
    expires: datetime | None
    #: As written in the configuration: `600/m`.
    rate: str | None
    #: The most events that it gets in clear, such as `600/h`.
    reads: str | None
    #: `required`: it must give a reason to reveal a code.
    reason: str | None
    #: `config` or `made`.
    origin: str
    #: `active`, `expired`, or `shadowed`: a key of the configuration has its name.
    state: str
    #: Null for a key of the configuration.
    created_at: datetime | None
    last_used_at: datetime | None


class NewKey(ShownKey, frozen=True, kw_only=True):
    """A key right after it was made: the only answer that shows it."""

    key: str


class OwnKey(msgspec.Struct, frozen=True, kw_only=True):
    """The rights of the key that asks."""

    name: str
    scopes: Sequence[str]
    when: Mapping[str, Any] | None
    expires: datetime | None
    rate: str | None
    #: The requests that its rate allows at once now; null: it has no limit.
    rate_left: int | None
    #: The most events that it gets in clear, such as `600/h`.
    reads: str | None
    #: `required`: it must give a reason to reveal a code.
    reason: str | None
    #: Whether it sees texts and codes in clear.
    codes: bool


def keys(*, keys: Keys, cursors: Cursors, calls: Calls, now: Callable[[], float]) -> ApiRouter:
    async def items(_: Access) -> Mapping[str, ShownKey]:
        # A shadowed key has the name of another, so the keys of the mapping are ids.
        return {known.access.id: ShownKey(**_fields(known)) for known in keys.known()}

    @post(
        "/",
        status_code=201,
        operation=Operation(
            body=KeyBody, required=("name", "scopes"), errors=("already_made", "name_taken")
        ),
    )
    async def create(request: ApiRequest) -> NewKey:
        """Create an API key.

        Only this answer shows the key.
        """
        async with calls.begin(request, reread=True) as call:
            if call.made is not None:
                text = "this call made the key before; a key is shown only once"
                raise Problem(409, "already_made", text, id=MadeId.of(call.made).id)
            given = _read_key(await request.body())
            expires_at = None if given.expires is None else read_end(given.expires, now())[0]
            try:
                access, key = await keys.create(
                    name=given.name or "",
                    scopes=tuple(dict.fromkeys(given.scopes)),
                    when=given.when,
                    expires_at=expires_at,
                    rate=given.rate,
                    reads=given.reads,
                    reason=given.reason,
                    guard=call.guard(lambda id_: id_ and MadeId(id_), lambda _: 201),
                )
            except NameTaken:
                raise Problem(409, "name_taken", "name: another key has it") from None
            except Invalid as exc:
                raise bad_filter(exc) from None
        made = KnownKey(access=access, state="active", last_used_at=None)
        return NewKey(**_fields(made), key=key)

    @delete("/{key:str}", operation=Operation(errors=("configured_key",)))
    async def revoke(key: FromPath[str]) -> None:
        """Revoke an API key.

        `key` is its id or its name.
        """
        try:
            is_revoked = await keys.revoke(key)
        except Configured:
            text = "a key of the configuration; remove it there and reload the configuration"
            raise Problem(409, "configured_key", text) from None
        if not is_revoked:
            raise not_found("key")

    listed = named_list(
        cursors, items, text="List API keys.", answer=PageAnswer[ShownKey], scope="admin"
    )
    return ApiRouter(
        "/keys",
        route_handlers=[listed, create, revoke],
        guards=[needs("admin", whole=True)],
    )


def me(keys: Keys) -> ApiRouter:
    @get("/", guards=[needs("events:read")], operation=Operation())
    async def own(request: ApiRequest) -> OwnKey:
        """Get the rights of the key."""
        access = request.auth
        return OwnKey(
            name=access.name,
            scopes=access.granted,
            when=access.when,
            expires=utc(access.expires_at),
            rate=plain(access.rate),
            rate_left=keys.left(access),
            reads=plain(access.reads_rate),
            reason=_reason(access),
            codes=access.may("codes:read"),
        )

    return ApiRouter("/me", route_handlers=[own])


def _read_key(body: bytes) -> KeyBody:
    """Return the key that a body describes. Raise Problem."""
    fields = ", ".join(KeyBody.__struct_fields__)
    given = read_body(body, KeyBody, f"a JSON object is expected, with {fields}")
    # A name that looks like the id of a key would be ambiguous.
    if given.name is None or not NAME.fullmatch(given.name) or is_uuid(given.name):
        raise bad_body("name", _A_NAME)
    if not given.scopes:
        raise bad_body("scopes", "missing; name at least one, such as events:read")
    if given.when is not None and "audit:read" in given.scopes:
        raise bad_body("when", "the audit log is about all events: not with the scope audit:read")
    if given.reason is not None and "codes:reveal" not in given.scopes:
        raise bad_body("reason", "only the scope codes:reveal asks for a reason; add that scope")
    if given.when is not None and len(msgspec.json.encode(given.when)) > _LONGEST_WHEN:
        raise bad_body("when", f"longer than {_LONGEST_WHEN} characters")
    for name, written in (("rate", given.rate), ("reads", given.reads)):
        if written is not None:
            try:
                rate(written)
            except ValueError:
                raise bad_body(name, _A_RATE) from None
    return given


def _reason(access: Access) -> str | None:
    return "required" if access.needs_reason else None


def _fields(known: KnownKey) -> dict[str, Any]:
    access = known.access
    is_made = access.created_at is not None
    return {
        "id": access.id if is_made else None,
        "name": access.name,
        "scopes": access.granted,
        "when": access.when,
        "expires": utc(access.expires_at),
        "rate": plain(access.rate),
        "reads": plain(access.reads_rate),
        "reason": _reason(access),
        "origin": "made" if is_made else "config",
        "state": known.state,
        "created_at": utc(access.created_at),
        "last_used_at": utc(known.last_used_at),
    }
