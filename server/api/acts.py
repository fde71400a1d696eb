"""Records what commands on this machine do beside the API."""

from typing import Annotated, Literal

import msgspec
from litestar import post
from msgspec import Meta

from journal import Journal
from journal.actor import ACTING, Actor
from journal.audit.lines import Fact
from journal.writes import RecordFacts

from ..runtime.keys import Keys
from .auth import ApiRequest, NeedsScopeOrCommand
from .errors import bad_body
from .idempotency import Calls
from .operation import Operation
from .parameters import Text, read_body
from .router import ApiRouter

_A_COUNT = Meta(ge=0, description="write 0 or more")


class Act(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a command did: the fields of its line."""

    #: The action of the line.
    do: Literal["audit.exported", "audit.verified", "backup.made", "code.read"] | None = None
    #: The user who ran the command, by number. Only a command on this machine can name one.
    uid: Annotated[int, _A_COUNT] | None = None
    #: What it wrote: a file or a folder.
    file: Text | None = None
    #: The second file that it wrote: the keys.
    keys: Text | None = None
    #: The events in it.
    events: Annotated[int, _A_COUNT] | None = None
    #: The lines of the log in it.
    size: Annotated[int, _A_COUNT] | None = None
    #: The result of a check.
    outcome: Literal["unchanged", "changed"] | None = None
    #: How it read: `prove`.
    how: Literal["prove"] | None = None
    #: The id of the event that it read.
    event: Text | None = None
    #: The fields that it read in clear.
    fields: tuple[Text, ...] | None = None

    def fact(self, who: Actor) -> Fact:
        """Return the fact; its actor comes first."""
        assert self.do is not None  # noqa: S101 - the caller has checked it
        given = msgspec.structs.asdict(self)
        its = {name: value for name, value in given.items() if value is not None}
        return Fact(self.do, {**who.fields, **{n: its[n] for n in its if n not in ("do", "uid")}})


class RecordedAct(msgspec.Struct, frozen=True, kw_only=True):
    """An act that has its line."""

    do: str


def acts(*, journal: Journal, keys: Keys, calls: Calls) -> ApiRouter:
    @post(
        "/",
        guards=[NeedsScopeOrCommand(("admin",), whole=True, keys=keys)],
        operation=Operation(body=Act, required=("do",)),
    )
    async def record(request: ApiRequest) -> RecordedAct:
        """Record an act.

        Commands that work beside the API call it: the audit log then has a line that says who did
        what. The line is on disk when the call is answered.
        """
        given = read_body(await request.body(), Act, "a JSON object is expected")
        if given.do is None:
            raise bad_body("do", "missing; name an action, such as backup.made")
        who = ACTING.get()
        if request.auth is keys.local and given.uid is not None:
            who = Actor(f"cli/{given.uid}")
        answer = RecordedAct(do=given.do)
        async with calls.begin(request) as call:
            guard = call.guard(lambda _: answer, lambda _: 201)
            await journal.submit(guard(RecordFacts((given.fact(who),))))
        return answer

    return ApiRouter("/audit/acts", route_handlers=[record])
