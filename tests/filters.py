"""Filters of every kind, for Hypothesis."""

from hypothesis import strategies as st

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.sampled_from(["", "1", "1.5", "US", "ab"]),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["id", "a"]), inner)
    ),
    max_leaves=4,
)
VALUES = st.none() | st.booleans() | st.integers(-3, 3) | st.sampled_from(["", "1", "1.5", "US"])
BOUNDS = st.integers(-3, 3) | st.sampled_from(["", "1", "1.5", "US"])
TEXTS = st.sampled_from(["", "1", "U", "S"])


def operators(values):
    """Return the operators on one value, as keys of a mapping."""
    lists = st.lists(values, min_size=1, max_size=3)
    return {
        **dict.fromkeys(("$eq", "$ne"), values | lists),
        **dict.fromkeys(("$gt", "$gte", "$lt", "$lte"), BOUNDS),
        **dict.fromkeys(("$in", "$nin"), lists | TEXTS),
        **dict.fromkeys(("$startsWith", "$endsWith", "$regex"), TEXTS),
        "$exists": st.booleans(),
    }


def joined(inner):
    """Return the joins of a filter or condition, as more keys of a mapping."""
    several = st.lists(inner, min_size=1, max_size=3)
    return {"$and": several, "$or": several, "$not": inner}


def some_of(keys):
    """Return a mapping with one to three of these keys."""
    names = st.lists(st.sampled_from(sorted(keys)), min_size=1, max_size=3, unique=True)
    return names.flatmap(
        lambda chosen: st.fixed_dictionaries({name: keys[name] for name in chosen})
    )


def conditions(values):
    """Return conditions with some of these values."""
    simple = operators(values)
    return st.recursive(
        values | st.lists(values, min_size=1, max_size=3) | some_of(simple),
        lambda inner: some_of({**simple, **joined(inner)}),
        max_leaves=4,
    )


def filters(paths, values=VALUES):
    """Return filters with conditions on some of these paths."""
    clauses = {"keys": st.sampled_from(paths), "values": conditions(values)}
    return st.recursive(
        st.dictionaries(**clauses, max_size=3),
        lambda inner: st.builds(
            lambda clauses, joins: {**clauses, **joins},
            st.dictionaries(**clauses, max_size=2),
            some_of(joined(inner)),
        ),
        max_leaves=6,
    )
