"""The console program ``mimo-embodied`` and its commands."""
