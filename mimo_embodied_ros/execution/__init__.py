"""Doing plans: each step by the robot's own actions, watched by the model, planned again."""
