"""All cases, in the order in which each repetition takes them."""

from . import accepting, beside, delivering, generator, latency, profiled, scale

CASES = (
    *accepting.CASES,
    *generator.CASES,
    *delivering.CASES,
    *beside.CASES,
    *latency.CASES,
    *scale.CASES,
    *profiled.CASES,
)
