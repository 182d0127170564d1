"""What the benchmark `routing` is made of: a curve, two tasks, and their controls."""
