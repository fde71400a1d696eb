"""All cases, in the order of each repetition."""

from . import (
    accepting,
    auditing,
    backing_up,
    bare,
    beside,
    delivering,
    filters,
    generator,
    latency,
    profiled,
    pruning,
    readers,
    reloading,
    scale,
    scraping,
    sealing,
)

CASES = (
    *bare.CASES,
    *accepting.CASES,
    *sealing.CASES,
    *auditing.CASES,
    *filters.CASES,
    *generator.CASES,
    *delivering.CASES,
    *beside.CASES,
    *latency.CASES,
    *scraping.CASES,
    *reloading.CASES,
    *readers.CASES,
    *pruning.CASES,
    *backing_up.CASES,
    *scale.CASES,
    *profiled.CASES,
)
