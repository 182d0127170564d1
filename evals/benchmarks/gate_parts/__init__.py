"""What the gate's benchmarks share: a gate over a real store, its operation proven."""
