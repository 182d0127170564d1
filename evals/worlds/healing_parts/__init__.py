"""Parts of the world in which healing is tried: a small fleet, its faults, its measurements."""
