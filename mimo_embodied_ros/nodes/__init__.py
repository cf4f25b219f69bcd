"""The ROS 2 side: messages in, messages out."""
