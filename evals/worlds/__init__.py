"""Start states that evaluations act on, and the sample fleet that comes with an academy."""
