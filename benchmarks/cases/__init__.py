"""All cases, in the order of each repetition."""

from . import (
    accepting,
    bare,
    beside,
    delivering,
    filters,
    generator,
    latency,
    profiled,
    readers,
    reloading,
    scale,
    scraping,
)

CASES = (
    *bare.CASES,
    *accepting.CASES,
    *filters.CASES,
    *generator.CASES,
    *delivering.CASES,
    *beside.CASES,
    *latency.CASES,
    *scraping.CASES,
    *reloading.CASES,
    *readers.CASES,
    *scale.CASES,
    *profiled.CASES,
)
