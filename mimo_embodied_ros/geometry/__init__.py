"""Compute positions in space from pixels, depth, camera models and transforms."""
