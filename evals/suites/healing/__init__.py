"""Healing: what restarting a replica and archiving old data must get right and leave alone."""
