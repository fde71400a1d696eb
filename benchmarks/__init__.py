"""Benchmarks: the measurements that `docs/performance.md` quotes."""
