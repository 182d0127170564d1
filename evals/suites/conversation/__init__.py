"""Conversation: what staff ask the operations agent, and what may and may not come of it."""
