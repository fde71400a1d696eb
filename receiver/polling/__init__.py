"""Asking a provider for what its callbacks missed. Read-only."""
