"""Healing: the fleet, its signals and incidents, and the operations that repair it.

Refuses: any target that `fleet.toml` doesn't name; archiving outside folders a service declares
`archivable`. Owns the tables replica_state, signal, incident and incident_event.
"""
