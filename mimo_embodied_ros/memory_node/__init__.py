"""The node that remembers what was seen where."""
