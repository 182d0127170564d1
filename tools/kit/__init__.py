"""What every room shares: callers, clocks, errors, outcomes and the shape of an operation."""
