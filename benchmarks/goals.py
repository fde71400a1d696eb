"""What is wanted of the figures: each goal within one repetition, then the median of all."""

from collections.abc import Iterator, Mapping, Sequence

from .case import Wanted
from .results import Figure, Goal

GOALS: tuple[Wanted, ...] = (
    Wanted(
        name="accept",
        what="durable accept, of a bare ASGI app on the same server (64 connections)",
        figure="accept/tellabot/64/1",
        over="noop/64",
        bound="at least",
        wanted=0.40,
    ),
    Wanted(
        name="group-commit",
        what="durable accept, times one transaction a request",
        figure="accept/tellabot/64/1",
        over="one-transaction/64",
        bound="at least",
        wanted=4,
    ),
    Wanted(
        name="pipeline",
        what="in, durable, out and settled, of a bare ASGI app",
        figure="pipeline/http",
        over="noop/64",
        bound="at least",
        wanted=0.25,
    ),
    Wanted(
        name="mq-bridge",
        what="in, durable and out, times mq-bridge",
        figure="pipeline/http",
        over="peer/mq-bridge-sqlite",
        bound="at least",
        wanted=2,
    ),
    Wanted(
        name="node-red",
        what="in, durable and out, times Node-RED",
        figure="pipeline/http",
        over="peer/node-red",
        bound="at least",
        wanted=8,
    ),
    Wanted(
        name="hanging",
        what="accepted while one of two sinks hangs, of when both work",
        figure="hanging/with",
        over="hanging/without",
        bound="at least",
        wanted=0.95,
    ),
    Wanted(
        name="growth",
        what="through the pipeline at ten million events, of an empty journal",
        figure="scale/10m",
        over="scale/empty",
        bound="at least",
        wanted=0.90,
    ),
    Wanted(
        name="idle",
        what="in to out when idle, the median, times one fdatasync of the disk",
        figure="latency/idle/p50",
        over="fdatasync",
        bound="at most",
        wanted=8,
    ),
    Wanted(
        name="p99",
        what="answers at half the capacity, the 99th percentile",
        figure="latency/half/answer/p99",
        bound="at most",
        wanted=10,
        unit="ms",
    ),
    Wanted(
        name="start",
        what="ready with ten million events and 100,000 deliveries owed",
        figure="start/10m",
        bound="at most",
        wanted=5,
        unit="s",
    ),
    Wanted(
        name="memory-owed",
        what="resident memory with 100,000 deliveries owed to a sink that hangs",
        figure="memory/owed",
        bound="at most",
        wanted=150,
        unit="MB",
    ),
    Wanted(
        name="memory-flat",
        what="growth of resident memory, in the second half of ten minutes at half the capacity",
        figure="memory/slope",
        bound="at most",
        wanted=100,
        unit="KB/min",
    ),
    Wanted(
        name="copies",
        what="bytes that a further copy of a known callback adds to the journal",
        figure="duplicates/bytes",
        bound="at most",
        wanted=8,
        unit="B",
    ),
)


def judged(wanted: Sequence[Wanted], figures: Mapping[str, Figure]) -> Iterator[Goal]:
    """All of them; those whose figures were not measured have no values."""
    for one in wanted:
        yield Goal(
            name=one.name,
            what=one.what,
            bound=one.bound,
            wanted=one.wanted,
            unit=one.unit,
            values=_values(one, figures),
        )


def _values(one: Wanted, figures: Mapping[str, Figure]) -> tuple[float, ...]:
    figure = figures.get(one.figure)
    if figure is None or one.over is None:
        return figure.values if figure else ()
    over = figures.get(one.over)
    if over is None or len(over.values) != len(figure.values):
        return ()
    return tuple(a / b for a, b in zip(figure.values, over.values, strict=True))
