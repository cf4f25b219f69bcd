"""Worlds with physics, by MuJoCo: a table with an arm, a room with a base, a road, any MJCF."""
