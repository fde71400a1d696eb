"""All cases, in the order in which each repetition takes them."""

from . import accepting, beside, delivering, profiled

CASES = (*accepting.CASES, *delivering.CASES, *beside.CASES, *profiled.CASES)
