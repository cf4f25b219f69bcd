"""Prompts, parsing and coordinates: no ROS and no torch in here."""
