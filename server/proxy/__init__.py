"""What the front is made of: the wire to a replica, the replicas' states, answers of its own."""
