"""The door of people's programs: one module per room, each a router under `/api`."""
