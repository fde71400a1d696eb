"""An invented small run, for tests of reports."""

from benchmarks.report.results import Figure, Goal, Results, Series, Unmeasured

_RATES = {
    "noop/64": ("a bare ASGI app on the same server, 64 connections", (20_000, 25_000, 22_000)),
    "accept/tellabot/64/1": ("TellABot's form, durable", (9_000, 11_000, 11_000)),
    "pipeline/http": ("whole pipeline through one HTTP sink", (5_000, 5_000, 5_500)),
    "peer/mq-bridge-sqlite": ("mq-bridge", (10_000, 12_500, 11_000)),
    "peer/node-red": ("Node-RED", (500, 600, 550)),
    "scale/empty": ("on an empty journal", (5_000, 5_100, 5_200)),
    "scale/10m": ("on ten million events", (4_700, 4_900, 4_900)),
}
_STAGES = {
    "door": 10.04,
    "decode": 20.04,
    "other": 30.04,
    "a stage of tomorrow": 40.04,
    "whole": 100.16,
    "waiting for the disk": 25.0,
}
_PROCESSOR = {
    "noop/64": 30,
    "noop/64/event loop": 30,
    "accept/tellabot/64/1": 140,
    "accept/tellabot/64/1/event loop": 110,
    "accept/tellabot/64/1/writing the journal": 30,
}


def example():
    return Results(
        made_at="2026-11-26T12:00:00Z",
        version="0.1.0",
        commit="0123abc",
        quick=False,
        machine={"processor": "a loom", "cores": "2"},
        versions={"python": "3.11.7"},
        figures=(
            *(
                Figure(name=name, unit="1/s", what=what, values=tuple(map(float, values)))
                for name, (what, values) in _RATES.items()
            ),
            Figure(name="fdatasync", unit="ms", what="the disk", values=(0.5, 0.75)),
            Figure(name="bytes/kept/tellabot", unit="B", what="kept an event", values=(610.0,)),
            Figure(name="read/10m/a page/p50", unit="ms", what="a page", values=(1.25,)),
            *(
                Figure(name=f"processor/{name}", unit="µs", what=name, values=(float(spell),))
                for name, spell in _PROCESSOR.items()
            ),
            Figure(name="memory/grew/anonymous", unit="KB/min", what="a kind", values=(80.0,)),
            *(
                Figure(name=f"profile/pipeline/{stage}", unit="µs", what=stage, values=(spell,))
                for stage, spell in _STAGES.items()
            ),
        ),
        series=(
            Series(
                name="latency/half/answer",
                x="percentile",
                y="ms",
                points=((0, 0.5), (50, 1.0), (99, 4.0), (99.9, 9.0), (100, 20.0)),
            ),
            Series(
                name="latency/half/through",
                x="percentile",
                y="ms",
                points=((0, 0.8), (50, 2.0), (99, 8.0), (99.9, 18.0)),
            ),
            Series(name="memory", x="s", y="MB", points=((0, 90.0), (300, 95.0), (600, 95.5))),
        ),
        goals=(
            Goal(
                name="accept",
                what="accept / bare",
                bound="at least",
                wanted=0.4,
                aim=0.5,
                unit="",
                values=(0.45, 0.44, 0.5),
            ),
            Goal(
                name="answers",
                what="p99 of answers",
                bound="at most",
                wanted=10,
                unit="ms",
                values=(12.0, 9.0, 11.0),
            ),
        ),
        not_measured=(
            Unmeasured(name="peer/webhook", why="webhook is not there"),
            Unmeasured(name="start", why="no journal is kept"),
        ),
    )
