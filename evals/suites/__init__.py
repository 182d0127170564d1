"""Suites: what an operation must do in fresh worlds before it may run without asking."""
