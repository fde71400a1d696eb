"""All cases, in the order of each repetition."""

from . import accepting, bare, beside, delivering, generator, latency, profiled, readers, scale

CASES = (
    *bare.CASES,
    *accepting.CASES,
    *generator.CASES,
    *delivering.CASES,
    *beside.CASES,
    *latency.CASES,
    *readers.CASES,
    *scale.CASES,
    *profiled.CASES,
)
