"""The commands of `academy`, one module each, named as the command is."""
