"""Simulated providers, written from the providers' own documents. State is in memory."""
