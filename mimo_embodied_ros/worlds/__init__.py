"""What has a known truth and can be looked at: drawn tables, drawn roads, a gripper's table."""
