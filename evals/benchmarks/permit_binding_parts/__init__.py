"""What `permit_binding` is made of: the stage, the attacks on it, and the bare boolean."""
