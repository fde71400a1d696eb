"""Which sinks an event is owed to. Pure: same event, same answer."""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from .match import Invalid, Part, Predicate, compile_filter

#: What a route without `when` takes: all that tells of something new. An order that expired
#: tells that nothing came, so it is asked for by name.
_UNASKED = ("sms.", "call.", "rental.", "number.", "account.")


class Route(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """When its condition holds, the event is owed `to` these sinks."""

    #: Names of sinks. One that several routes name is owed the event once.
    to: tuple[str, ...]
    #: Conditions on dotted paths of the event, such as `{type: sms.received, data.country: US}`.
    #: Unset: every event about messages, calls, rentals, numbers and accounts, none about orders.
    when: Mapping[str, Any] | None = None


class CompiledRoute(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    to: tuple[str, ...]
    matches: Predicate
    #: What `matches` is made of, to explain its answer.
    when: Part


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What an event is owed, and why."""

    #: Once each, in the order of the configuration.
    sinks: tuple[str, ...]
    #: Names of the routes that matched, in the order of the configuration.
    routes: tuple[str, ...]


def compile_table(routes: Mapping[str, Route]) -> tuple[CompiledRoute, ...]:
    """Raises Invalid with the complaints of all routes, at places such as `routes.NAME.when`."""
    table: list[CompiledRoute] = []
    complaints: list[tuple[str, str]] = []
    for name, route in routes.items():
        try:
            when = _when(name, route)
        except Invalid as invalid:
            complaints.extend(invalid.complaints)
        else:
            matches = when.holds
            table.append(CompiledRoute(name=name, to=route.to, matches=matches, when=when))
    if complaints:
        raise Invalid(complaints)
    return tuple(table)


def plan(table: Sequence[CompiledRoute], event: Mapping[str, object]) -> Plan:
    """What `event`, as plain JSON values, is owed."""
    matched = [route for route in table if route.matches(event)]
    sinks = dict.fromkeys(sink for route in matched for sink in route.to)
    return Plan(sinks=tuple(sinks), routes=tuple(route.name for route in matched))


def _when(name: str, route: Route) -> Part:
    place = f"routes.{name}.when"
    if route.when is None:
        return _unwritten(place)
    return compile_filter(route.when, place)


def _unwritten(place: str) -> Part:
    """In place of a `when`: a condition on the type."""
    condition = Part(
        place=f"{place}.type",
        wanted=[f"{beginning}*" for beginning in _UNASKED],
        holds=lambda type_: str(type_).startswith(_UNASKED),
    )
    return Part(
        place=place,
        wanted=None,
        holds=_unasked,
        join="$and",
        parts=(condition,),
        path=("type",),
    )


def _unasked(event: Mapping[str, object]) -> bool:
    return str(event.get("type")).startswith(_UNASKED)
