"""Worlds with ground truth: drawn tables, drawn roads, and a table with a simulated gripper."""
