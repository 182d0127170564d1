"""What the benchmark `tool-calls` is made of: the published calls, their mutations, the paths."""
