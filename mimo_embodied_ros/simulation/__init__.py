"""The ROS side of a world: its camera and gripper as a node, and the demo's recorded bag."""
