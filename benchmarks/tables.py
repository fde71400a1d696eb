"""What was measured, as tables in Markdown. Pure: same results, same tables."""

import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence

from .peers import PEERS
from .ratios import ratio
from .results import Figure, Goal, Results
from .stages import STAGES
from .words import MISSING, number, percent, quantity, rounded, spread

#: What all rates are compared with: it does nothing but answer.
FLOOR = "noop/64"
#: The figure of smshook that those of its peers stand beside.
PIPELINE = "pipeline/http"
#: The figures of `peers.PEERS`, in their order.
PEER_FIGURES = ("peer/mq-bridge-sqlite", "peer/mq-bridge-spool", "peer/node-red", "peer/webhook")
#: Where the figures of the API's questions are.
READS = "read/10m"
#: Rows of a profile that are no stage.
WHOLE = "whole"
DISK = "waiting for the disk"

_DURABILITY = (
    "the event, its keys and all that it is owed to are in SQLite, synced, when it answers; "
    "a copy owes nothing again, also after a power cut"
)
_NONE = "-"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Nothing was measured where there is no row."""
    lines = [f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |" for row in rows]
    if not lines:
        return f"{MISSING.capitalize()}."
    return "\n".join([f"| {' | '.join(head)} |", f"|{'---|' * len(head)}", *lines])


def goals(results: Results) -> str:
    """Met or missed is judged by the median of the repetitions."""
    head = ("goal", "what", "wanted", "median", "", "each repetition")
    return table(head, [_goal(one) for one in results.goals])


def goals_met(results: Results) -> str:
    """How many, in words that are true of any number."""
    verdicts = [one.verdict for one in results.goals]
    if not verdicts or set(verdicts) == {MISSING}:
        return "No goal was measured."
    said = f"{verdicts.count('met')} of {len(verdicts)} goals are met"
    if MISSING in verdicts:
        said += f", {verdicts.count(MISSING)} {MISSING}"
    missed = [f"`{one.name}`" for one in results.goals if one.verdict == "missed"]
    return f"{said}; missed: {', '.join(missed)}." if missed else f"{said}."


def figures(results: Results, names: Iterable[str]) -> str:
    """Those that are asked for, in this order; what is missing says so."""
    rows = [_figure(name, results.figure(name), results) for name in names]
    return table(("figure", "what", "median", "low to high"), rows)


def rates(results: Results, chosen: Iterable[Figure]) -> str:
    """Rates, each beside that of the floor."""
    floor = results.figure(FLOOR)
    return table(
        ("figure", "what", "median", "low to high", f"/ `{FLOOR}`"),
        [(*_named(one), _over(one, floor)) for one in chosen],
    )


def values(chosen: Iterable[Figure]) -> str:
    """Figures that are compared with no other."""
    return table(("figure", "what", "median", "low to high"), [_named(one) for one in chosen])


def peers(results: Results) -> str:
    """What people would pick instead, and smshook among them: the fastest first."""
    contestants = [("**smshook**", _DURABILITY, PIPELINE)]
    contestants += [
        (peer.name, peer.durability, name) for peer, name in zip(PEERS, PEER_FIGURES, strict=True)
    ]
    contestants.sort(key=lambda one: -_median(results.figure(one[2])))
    return table(
        ("", "median", "low to high", f"/ `{FLOOR}`", "/ smshook", "what is on disk"),
        [_contestant(*one, results) for one in contestants],
    )


def profile(results: Results, name: str) -> str:
    """Where the processor time of one event goes: rows that sum to the last but one."""
    parts = stages(results, name)
    if not parts:
        return table((), ())
    times = rounded(list(parts.values()), decimals=1)
    shares = rounded([100 * part / sum(parts.values()) for part in parts.values()], decimals=1)
    rows = [
        (stage, f"{spell:.1f}", f"{share:.1f} %")
        for stage, spell, share in zip(parts, times, shares, strict=True)
    ]
    rows.append(("**whole**", f"**{sum(times):.1f}**", "**100.0 %**"))
    disk = results.figure(f"{name}/{DISK}")
    if disk:
        rows.append((f"{DISK}, meanwhile", f"{disk.median:.1f}", _NONE))
    return table(("stage", "µs an event", "of the whole"), rows)


def stages(results: Results, name: str) -> Mapping[str, float]:
    """Microseconds an event by stage, in the order of an event's way.

    Means where there are several, for only means of parts sum to the mean of the whole.
    """
    found = {
        one.name.removeprefix(f"{name}/"): statistics.mean(one.values)
        for one in results.figures_of(name)
    }
    ordered = [*(stage for stage in STAGES if stage in found), *sorted(found.keys() - {*STAGES})]
    return {stage: found[stage] for stage in ordered if stage not in {WHOLE, DISK}}


def part(results: Results, name: str, wanted: Iterable[str]) -> str:
    """The share of some stages of a profile; `other` is also what no stage of today is."""
    parts = stages(results, name)
    whole = sum(parts.values())
    if not whole:
        return MISSING
    asked = set(wanted)
    found = [
        spell
        for stage, spell in parts.items()
        if stage in asked or (stage not in STAGES and "other" in asked)
    ]
    return percent(sum(found) / whole)


def reads(results: Results) -> str:
    """The questions of the API on a large journal: a row each, the median beside the p99."""
    asked: dict[str, dict[str, Figure]] = {}
    for one in results.figures_of(READS):
        question, _, which = one.name.removeprefix(f"{READS}/").rpartition("/")
        asked.setdefault(question, {})[which] = one
    rows = [
        (question, *(_or_none(found.get(which)) for which in ("p50", "p99")))
        for question, found in asked.items()
    ]
    return table(("question", "median", "99th percentile"), rows)


def pairs(chosen: Mapping[str, str]) -> str:
    """What the machine is, or which version of each thing ran."""
    return table(("", ""), list(chosen.items()))


def not_measured(results: Results) -> str:
    if not results.not_measured:
        return "All that was asked for was measured."
    return table(("", "why"), [(f"`{one.name}`", one.why) for one in results.not_measured])


def _goal(goal: Goal) -> tuple[str, ...]:
    wanted = f"{goal.bound} {goal.wanted:,g} {goal.unit}".rstrip()
    if not goal.values:
        return (f"`{goal.name}`", goal.what, wanted, _NONE, MISSING, _NONE)
    return (
        f"`{goal.name}`",
        goal.what,
        wanted,
        quantity(goal.median, goal.unit),
        "**missed**" if goal.verdict == "missed" else goal.verdict,
        ", ".join(map(number, goal.values)),
    )


def _figure(name: str, figure: Figure | None, results: Results) -> tuple[str, ...]:
    if figure is None:
        return (f"`{name}`", _why(name, results), MISSING, _NONE)
    return _named(figure)


def _why(name: str, results: Results) -> str:
    """Of the figure, or of all that begin so."""
    return next(
        (one.why for one in results.not_measured if f"{name}/".startswith(f"{one.name}/")), _NONE
    )


def _named(figure: Figure) -> tuple[str, ...]:
    return (
        f"`{figure.name}`",
        figure.what,
        quantity(figure.median, figure.unit),
        spread(figure.values),
    )


def _contestant(name: str, durability: str, figure: str, results: Results) -> tuple[str, ...]:
    found = results.figure(figure)
    if found is None:
        return (name, MISSING, _NONE, _NONE, _NONE, durability)
    return (
        name,
        quantity(found.median, found.unit),
        spread(found.values),
        _over(found, results.figure(FLOOR)),
        _over(found, results.figure(PIPELINE)),
        durability,
    )


def _or_none(figure: Figure | None) -> str:
    return quantity(figure.median, figure.unit) if figure else _NONE


def _over(figure: Figure, base: Figure | None) -> str:
    found = ratio(figure, base)
    return _NONE if found is None else number(found)


def _median(figure: Figure | None) -> float:
    return figure.median if figure else 0.0


#: By what follows the word `table` in a placeholder.
TABLES: Mapping[str, Callable[[Results], str]] = {
    "goals": goals,
    "peers": peers,
    "machine": lambda results: pairs(results.machine),
    "reads": reads,
    "versions": lambda results: pairs(results.versions),
    "not measured": not_measured,
    "profile/accept": lambda results: profile(results, "profile/accept"),
    "profile/pipeline": lambda results: profile(results, "profile/pipeline"),
}
