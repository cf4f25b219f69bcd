"""Points that stay on their thing, from image to image; without ROS."""
