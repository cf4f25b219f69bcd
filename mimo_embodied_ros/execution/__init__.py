"""Executing plans: the robot's own actions do each step, and the model checks what they did."""
