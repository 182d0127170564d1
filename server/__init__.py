"""The door for people and programs: launcher, front, web replicas and the command line."""
