"""An executor for programs that an interrupt may end at any time."""

from rclpy.executors import SingleThreadedExecutor


class Executor(SingleThreadedExecutor):
    """Ends quietly where ROS was shut down while it was made, too.

    rclpy's own looks for this attribute when it is deleted, and sets it last.
    """

    _sigint_gc = None
