"""Configuration: options, reading, checks, display, schema."""
