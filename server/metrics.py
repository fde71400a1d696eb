"""The metrics of the service, and their text: Prometheus exposition format 0.0.4."""

import csv
import functools
import gc
import os
import resource
from collections.abc import Iterable, Iterator, Mapping, Sequence
from importlib import resources
from pathlib import Path

import msgspec

from core.meters import Histogram

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_ESCAPES = str.maketrans({"\\": r"\\", "\n": r"\n", '"': r"\""})


class Metric(msgspec.Struct, frozen=True):
    """The name of a figure, and its meaning."""

    name: str
    #: `counter`, `gauge` or `histogram`.
    kind: str
    #: Names of its labels, separated by blanks. No value of a label comes from outside.
    labels: str
    help: str


with (resources.files(__package__) / "metrics.csv").open(encoding="utf-8") as _file:
    METRICS = msgspec.convert([*csv.DictReader(_file)], tuple[Metric, ...])


class Exposition:
    """The figures of one scrape."""

    def __init__(self, metrics: Sequence[Metric] = METRICS) -> None:
        self._metrics = {metric.name: metric for metric in metrics}
        self._lines: dict[str, list[str]] = {metric.name: [] for metric in metrics}

    def add(self, name: str, value: float, *labels: str) -> None:
        """Add a sample, with a value for each label of the metric."""
        self._lines[name].append(f"{name}{self._labels(name, labels)} {_number(value)}")

    def add_histogram(self, name: str, histogram: Histogram, *labels: str) -> None:
        lines, total = self._lines[name], 0
        for bound, total in histogram.cumulative():
            le = "+Inf" if bound == float("inf") else _number(bound)
            lines.append(f"{name}_bucket{self._labels(name, labels, le=le)} {total}")
        plain = self._labels(name, labels)
        lines.append(f"{name}_sum{plain} {_number(histogram.sum)}")
        lines.append(f"{name}_count{plain} {total}")

    def text(self) -> str:
        return "".join(self._written())

    def _written(self) -> Iterator[str]:
        for name, lines in self._lines.items():
            metric = self._metrics[name]
            yield f"# HELP {name} {metric.help}\n# TYPE {name} {metric.kind}\n"
            yield from (f"{line}\n" for line in lines)

    def _labels(self, name: str, values: Iterable[str], **more: str) -> str:
        names = self._metrics[name].labels.split()
        pairs = {**dict(zip(names, values, strict=True)), **more}
        written = ",".join(f'{key}="{value.translate(_ESCAPES)}"' for key, value in pairs.items())
        return f"{{{written}}}" if written else ""


def _number(value: float) -> str:
    return str(int(value)) if value == int(value) else repr(value)


def process_figures() -> Mapping[str, float]:
    """Return the figures of this process, named as prometheus_client names them."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    figures: dict[str, float] = {
        "process_cpu_seconds_total": used.ru_utime + used.ru_stime,
        "process_max_fds": resource.getrlimit(resource.RLIMIT_NOFILE)[0],
    }
    proc = Path("/proc/self")
    if not proc.exists():  # macOS
        return figures
    # The second field, the name of the program, may have blanks: proc(5).
    fields = proc.joinpath("stat").read_text().rpartition(")")[2].split()
    return figures | {
        "process_virtual_memory_bytes": float(fields[20]),
        "process_resident_memory_bytes": float(fields[21]) * os.sysconf("SC_PAGE_SIZE"),
        "process_start_time_seconds": _booted_at() + float(fields[19]) / os.sysconf("SC_CLK_TCK"),
        "process_open_fds": sum(1 for _ in proc.joinpath("fd").iterdir()),
    }


@functools.cache  # the file is long on a machine with many cores
def _booted_at() -> float:
    lines = Path("/proc/stat").read_text().splitlines()
    return next(float(line.split()[1]) for line in lines if line.startswith("btime"))


def add_process(found: Exposition) -> None:
    """Add the figures of the process and of the garbage collector."""
    for name, value in process_figures().items():
        found.add(name, value)
    for generation, stats in enumerate(gc.get_stats()):
        for word, name in (
            ("collected", "objects_collected"),
            ("uncollectable", "objects_uncollectable"),
            ("collections", "collections"),
        ):
            found.add(f"python_gc_{name}_total", stats[word], str(generation))
