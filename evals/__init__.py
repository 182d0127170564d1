"""Trials and evidence: suites, worlds, benchmarks and attacks."""
