"""What a robot saw, where and when, in one SQLite file; without ROS."""
