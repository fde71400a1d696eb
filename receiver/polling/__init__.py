"""Polls a provider for messages that its callbacks missed."""
