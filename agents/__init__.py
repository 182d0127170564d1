"""Who decides: the specialists, the model endpoint and the gated toolset. Start at `roster.py`."""
