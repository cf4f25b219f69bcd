"""The simulated tabletop as a ROS node with camera and gripper, and the demo's recorded bag."""
