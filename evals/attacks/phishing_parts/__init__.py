"""Parts of the attack on what a person sees before they say yes."""
