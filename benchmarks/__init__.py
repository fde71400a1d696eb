"""What `docs/performance.md` quotes, measured."""
