"""Maps services of providers to a readable name and to one key across providers."""

import csv
from collections.abc import Mapping
from functools import lru_cache
from importlib import resources

import msgspec

from core.event import Service
from core.services import key_of_slug

from .text import slug

#: The longest name that is cached, to limit the memory that hostile callbacks can use.
_LONGEST = 80


class ListedService(msgspec.Struct, frozen=True, kw_only=True):
    """A service in a provider's table."""

    #: The readable name, such as `Google`.
    name: str
    #: The key, such as `google`; None: the slug of the name, else of the id.
    key: str | None = None
    #: The provider's own name, such as `Google,youtube,Gmail`.
    listed: str = ""


def listed_services(table: str) -> Mapping[str, ListedService]:
    """Read a table of `receiver/fields/tables` with the columns `code,name,key,listed`.

    `listed` is the provider's own name, if that is not `name`.
    """
    with (resources.files(__package__) / "tables" / table).open(encoding="utf-8") as file:
        return {
            row["code"]: ListedService(
                name=row["name"], key=row["key"] or None, listed=row["listed"] or row["name"]
            )
            for row in csv.DictReader(file)
        }


def service(id_: str | None, listed: ListedService | None = None) -> Service | None:
    """Return the service with this id, as an event has it; None without an id."""
    if id_ is None or id_.isspace():
        return None
    if listed is None:
        return Service(id=id_, name=None, key=key_of_slug(slug(id_)) or None)
    key = listed.key or slug(listed.name) or slug(id_) or None
    return Service(id=id_, name=listed.name, key=key)


def named_service(name: str | None) -> Service | None:
    """Return the service of a provider that sends names instead of ids."""
    if name is None or name.isspace():
        return None
    return (_named if len(name) <= _LONGEST else _named.__wrapped__)(name)


@lru_cache(maxsize=4096)
def _named(name: str) -> Service:
    return Service(id=name, name=name, key=key_of_slug(slug(name)) or None)
