"""A small world of known truth: a drawn table, a camera over it, a gripper that drops things."""
