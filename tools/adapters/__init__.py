"""The only place that touches processes, network, disk or git."""
