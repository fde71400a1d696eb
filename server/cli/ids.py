"""Ids as people type them: in full, or the end that a table shows."""

import re
from collections.abc import Iterable
from itertools import islice
from urllib.parse import quote

import click

from core.printable import named, plain

from .client import ApiClient, ApiProblem
from .command import Failure, Wrong

#: Ids begin with a time, so only their ends differ enough.
_SHORTEST = 6
#: An end of this length has 48 random bits: a second match is not searched for.
_CERTAIN = 12
#: Items that are searched, newest first.
SEARCHED = 10_000
#: Matches that an error lists.
_SHOWN = 10
_WHOLE = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
_NOT_FOUND = 404


def typed_id(text: str) -> str:
    """Check an id option. The ellipsis of a table may precede it."""
    text = text.strip().removeprefix("…")
    if not text.strip("."):
        raise click.BadParameter("write an id, or its last 6 characters or more")
    return text


def resolve(client: ApiClient, kind: str, path: str, typed: str) -> str:
    """Return the full id with that end, as a segment of a URL's path.

    `kind` is its noun, `path` the list to search. Raise Wrong for an end that is too short or
    ambiguous, and Failure if no recent id has it.
    """
    if _WHOLE.fullmatch(typed):
        return typed.lower()
    if path == "/v1/deliveries" and _exists(client, path, typed):
        return quote(typed, safe="")
    ids = (
        str(item.get("event", item)["id"] if path == "/v1/events" else item["id"])
        for item in client.pages(path, {"order": "desc"}, limit=SEARCHED)
    )
    end = typed if path == "/v1/deliveries" else typed.lower()
    return quote(choose(kind, typed, (id_ for id_ in ids if id_.endswith(end))), safe="")


def choose(kind: str, typed: str, ending: Iterable[str]) -> str:
    """Return the only one of the ids that end as typed. Raises as `resolve` does."""
    if len(typed) < _SHORTEST:
        raise Wrong(f"{typed!r}: write the last {_SHORTEST} characters of the id or more")
    found = list(islice(ending, 1 if len(typed) >= _CERTAIN else None))
    if not found:
        raise Failure(f"no {kind} has an id that ends in {named(typed)!r}")
    if len(found) > 1:
        known = [f"  {plain(id_)}" for id_ in found[:_SHOWN]]
        raise Wrong(f"{typed!r}: {len(found)} ids have this end; write more of one:", *known)
    return found[0]


def _exists(client: ApiClient, path: str, typed: str) -> bool:
    try:
        client.get(f"{path}/{quote(typed, safe='')}")
    except ApiProblem as exc:
        if exc.status == _NOT_FOUND:
            return False
        # If the key may not read, the next call reports whether the id exists.
        if exc.status not in (401, 403):
            raise
    return True
