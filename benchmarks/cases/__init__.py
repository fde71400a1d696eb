"""All cases, in the order in which each repetition takes them."""

from . import accepting, beside, delivering, profiled, scale

CASES = (
    *accepting.CASES,
    *delivering.CASES,
    *beside.CASES,
    *scale.CASES,
    *profiled.CASES,
)
