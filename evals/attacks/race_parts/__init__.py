"""Parts of the attack on every route that changes something."""
