"""The performance goals, and which of them a run meets."""

import csv
from collections.abc import Iterable
from pathlib import Path

import msgspec
from msgspec.structs import replace

from .results import MISSING, Figure, Goal, ratios

with Path(__file__).with_name("goals.csv").open(encoding="utf-8", newline="") as _file:
    #: Without values: nothing is measured yet.
    GOALS = msgspec.convert(
        [{**row, "aim": row["aim"] or None} for row in csv.DictReader(_file)],
        tuple[Goal, ...],
        strict=False,
    )


def judged(goals: Iterable[Goal], figures: Iterable[Figure]) -> tuple[Goal, ...]:
    """Return all goals, with values if their figures were measured in the same repetitions."""
    values = {one.name: one.values for one in figures}
    found = []
    for goal in goals:
        own, base = values.get(goal.figure, ()), values.get(goal.over, ())
        if goal.over:
            own = ratios(own, base) if len(own) == len(base) else ()
        found.append(replace(goal, values=own))
    return tuple(found)


def summary(goals: Iterable[Goal]) -> str:
    """Write how many goals are met, which are missed, and how many aims are reached."""
    goals = list(goals)
    verdicts = {one.name: one.verdict for one in goals}
    counts = {word: list(verdicts.values()).count(word) for word in ("met", "missed", MISSING)}
    if counts[MISSING] == len(verdicts):
        return "No goal was measured."
    text = f"{counts['met']} of {len(verdicts)} goals are met"
    if counts[MISSING]:
        text += f", {counts[MISSING]} {MISSING}"
    missed = [f"`{name}`" for name, verdict in verdicts.items() if verdict == "missed"]
    text += f"; missed: {', '.join(missed)}." if missed else "."
    aims = [one.aimed for one in goals if one.aim is not None]
    return f"{text} {aims.count('reached')} of {len(aims)} aims are reached." if aims else text
