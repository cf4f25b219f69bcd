"""Tasks, prompts, readers of answers, skills and checks of plans, without ROS and torch."""
