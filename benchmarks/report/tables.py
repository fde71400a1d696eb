"""Rows of the tables that need more than a list of figures. Pure."""

import statistics
from collections.abc import Mapping

from ..cases.beside import FIGURES
from ..lab.profile import DISK, STAGES, WHOLE
from ..peers import PEERS
from .figures import UnknownName
from .numbers import MISSING, number, rounded
from .results import Figure, Results

#: A server that only answers. Rates are compared with its rate.
FLOOR = "noop/64"
#: The rate of smshook that stands beside those of its peers.
PIPELINE = "pipeline/http"
_DURABILITY = (
    "the event, its keys and its deliveries are in SQLite and synced when it answers; "
    "a copy makes no new delivery, even after a power cut"
)
#: Sections of the report, by the beginnings of the names of their figures.
_SECTIONS: Mapping[str, tuple[str, ...]] = {
    "Without smshook": ("bare/", "machine/"),
    "Accepting": ("noop/", "accept/", "one-transaction/", "duplicates", "retry-storm"),
    "The load generator": ("generator/",),
    "The whole pipeline": ("pipeline/", "hanging/"),
    "Latency": ("latency/", "fdatasync"),
    "A large journal": ("scale/", "start/", "read/"),
    "Memory": ("memory/",),
    "Bytes": ("bytes/",),
}
#: Figures with tables of their own.
_APART = ("peer/", "profile/")


def sections(results: Results) -> dict[str, list[Figure]]:
    """Divide the figures among the sections of the report; `Other figures` has the rest."""
    found = {title: results.figures_of(*names) for title, names in _SECTIONS.items()}
    shown = [*results.figures_of(*_APART), *(one for part in found.values() for one in part)]
    rest = [one for one in results.figures if one not in shown]
    return {**found, "Other figures": rest} if rest else found


def contestants(results: Results) -> list[tuple[str, str, Figure | None]]:
    """Smshook and its peers, the fastest first: name, durability and rate."""
    found = [("**smshook**", _DURABILITY, results.figure(PIPELINE))]
    found += [(peer.name, peer.durability, results.figure(FIGURES[peer.name])) for peer in PEERS]
    return sorted(found, key=lambda one: -one[2].median if one[2] else 0.0)


def stages(results: Results, profile: str) -> dict[str, float]:
    """Microseconds an event by stage, in the order of an event's life.

    They are means: only means of the parts sum to the mean of the whole.
    """
    found = {
        one.name.removeprefix(f"{profile}/"): statistics.mean(one.values)
        for one in results.figures_of(f"{profile}/")
    }
    order = [*STAGES, *sorted(found.keys() - {*STAGES, WHOLE, DISK})]
    return {stage: found[stage] for stage in order if stage in found}


def shares(results: Results, profile: str) -> list[tuple[str, float, float]]:
    """Stages with microseconds and percents, rounded so that the columns sum to their totals."""
    found = stages(results, profile)
    percents = rounded([100 * one / sum(found.values()) for one in found.values()])
    return list(zip(found, rounded(list(found.values())), percents, strict=True))


def part(results: Results, profile: str, *wanted: str) -> str:
    """Return the share of these stages; `other` includes stages that only this run has.

    Raises UnknownName.
    """
    if unknown := {*wanted} - {*STAGES}:
        raise UnknownName(f"no stage is {', '.join(unknown)}")
    found = stages(results, profile)
    if not sum(found.values()):
        return MISSING
    chosen = [
        value for stage, value in found.items() if (stage if stage in STAGES else "other") in wanted
    ]
    return f"{number(100 * sum(chosen) / sum(found.values()))} %"


def answers(results: Results, group: str) -> dict[str, dict[str, Figure]]:
    """Percentiles of the API's answers, by the question."""
    found: dict[str, dict[str, Figure]] = {}
    for one in results.figures_of(f"{group}/"):
        question, _, percentile = one.name.removeprefix(f"{group}/").rpartition("/")
        found.setdefault(question, {})[percentile] = one
    return found
