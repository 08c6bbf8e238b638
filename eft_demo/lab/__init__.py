"""Engine runs turned into tables and figures. Knows nothing of the user interface."""
