"""`python -m evals`: the same commands as `academy eval`."""

from evals.commands.group import app

if __name__ == "__main__":
    app(prog_name="python -m evals")
