"""Benchmarks: one module each, with `measure() -> dict` and `describe(result) -> str`."""
