"""What the samples of all providers are made of."""


def code_of(number: int) -> str:
    """Six digits, others for each of a million numbers."""
    return f"{(number * 7919 + 104729) % 1_000_000:06d}"
