"""The Slack sink."""
