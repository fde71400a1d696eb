"""A simulated provider's HTTP side: its API, its page, its controls."""
