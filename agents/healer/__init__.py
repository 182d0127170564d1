"""The fleet healer: looks after the running services, explains, and asks before it acts."""
