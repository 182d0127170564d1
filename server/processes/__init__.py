"""The processes of one academy: which there are, who they belong to, how none is left behind."""
