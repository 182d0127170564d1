"""What is remembered: databases, tables, revisions, checkpoints and vectors."""
