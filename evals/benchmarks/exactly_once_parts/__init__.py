"""What `exactly_once` is made of: worlds that count effects, mortal processes, and their judge."""
