"""Recall: what the academy remembers of its own past, for the agents of one tenant.

Remembers closed incidents, notes and findings and finds those that resemble a question. It refuses
callers without a tenant's rights, and texts out of bounds; what it returns is outside content and
taints the run that reads it. It owns no table: its memories lie in the vector store.
"""
