"""From pixels to positions in space."""
