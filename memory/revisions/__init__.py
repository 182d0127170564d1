"""Alembic's revisions of the control and the tenant databases; run it to write the next one.

python -m memory.revisions "What the tables gain"
"""
