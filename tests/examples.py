"""How many examples a property gets."""

import hypothesis

#: Of each property without a number of its own.
IN_CI = 100


def examples(few):
    """Return that number in CI, and twenty times as many with the profile `search`."""
    return few * hypothesis.settings.default.max_examples // IN_CI
