"""One numbered step for each change of the schema: the same number and name in every dialect."""

# There is no m009: it was never released.
