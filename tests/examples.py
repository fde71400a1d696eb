"""How many examples a costly property gets."""

import hypothesis


def examples(few):
    """Return that number in CI, and twenty times as many with the profile `search`."""
    return few * hypothesis.settings.default.max_examples // 100
