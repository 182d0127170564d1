"""SQLAlchemy models of every capability, together because relations cross rooms."""
