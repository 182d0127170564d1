"""The commands of `academy eval` and `python -m evals`: one module each, `group.py` lists them."""
