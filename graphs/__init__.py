"""The supervisor, the processes around specialists, and the composition root of all mains."""
