"""What can be done: one room per capability, the adapters that touch the world, and the kit."""
