"""Plans which sinks an event is delivered to. Pure: the same event has the same plan."""

from collections.abc import Mapping
from typing import Any

import msgspec

from .index import FilterIndex
from .match import Invalid, Part, Predicate, compile_filter

#: The types of events that a route without `when` takes. An expired order reports that nothing
#: happened, so a route must name it.
_DEFAULT_TYPES = ("sms.", "call.", "rental.", "number.", "account.")


class Route(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Delivers the events for which its condition holds to its sinks."""

    #: Names of sinks. A sink that several routes name gets the event once.
    to: tuple[str, ...]
    #: Conditions on dotted paths of the event, such as `{type: sms.received, data.country: US}`.
    #: Unset: every event about messages, calls, rentals, numbers and accounts, but not orders.
    when: Mapping[str, Any] | None = None


class CompiledRoute(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    to: tuple[str, ...]
    matches: Predicate
    #: Whether `matches` reads fields below `data`.
    reads_data: bool
    #: The parts of `matches`, from which `explain` explains its answer.
    when: Part


class Plan(msgspec.Struct, frozen=True):
    """The sinks that an event is delivered to, and why."""

    #: Each once, in the order of the configuration.
    sinks: tuple[str, ...]
    #: Names of the routes that matched, in the order of the configuration.
    routes: tuple[str, ...]


_NOTHING = Plan((), ())


def compile_table(routes: Mapping[str, Route]) -> tuple[CompiledRoute, ...]:
    """Compile all routes.

    Raises Invalid with the complaints about all of them, at places such as `routes.NAME.when`.
    """
    table: list[CompiledRoute] = []
    complaints: list[tuple[str, str]] = []
    for name, route in routes.items():
        place = f"routes.{name}.when"
        try:
            when = (
                default_filter(place) if route.when is None else compile_filter(route.when, place)
            )
        except Invalid as invalid:
            complaints.extend(invalid.complaints)
        else:
            table.append(
                CompiledRoute(
                    name=name,
                    to=route.to,
                    matches=when.holds,
                    reads_data=_reads_data(when),
                    when=when,
                )
            )
    if complaints:
        raise Invalid(complaints)
    return tuple(table)


def plan(table: FilterIndex[CompiledRoute], event: Mapping[str, object]) -> Plan:
    """Return the plan of an event, given as plain JSON values.

    `data` is only needed if a route reads it.
    """
    matched = table.matching(event)
    if not matched:
        return _NOTHING
    sinks = dict.fromkeys([sink for route in matched for sink in route.to])
    return Plan(tuple(sinks), tuple([route.name for route in matched]))


def _reads_data(part: Part) -> bool:
    is_below = part.path is not None and part.path[0] == "data"
    return is_below or any(map(_reads_data, part.parts))


def default_filter(place: str) -> Part:
    """Return the filter of a route or a subscription without `when`."""
    condition = Part(
        place=f"{place}.type",
        wanted=[f"{beginning}*" for beginning in _DEFAULT_TYPES],
        holds=lambda type_: str(type_).startswith(_DEFAULT_TYPES),
    )
    return Part(
        place=place,
        wanted=None,
        holds=lambda event: str(event.get("type")).startswith(_DEFAULT_TYPES),
        join="$and",
        parts=(condition,),
        path=("type",),
    )
