"""Evaluators: what each says about a world played, the end state of the world before all else."""
