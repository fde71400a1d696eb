"""Nouns and values that several rooms share. Pure: no I/O, and nothing of ours imported."""
