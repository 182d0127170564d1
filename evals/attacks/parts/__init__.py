"""What attacks on the agents share: the stage, the hostile and the obedient model, weak tools."""
