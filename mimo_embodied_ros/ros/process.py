"""Runs a node as a program, from its start to the end of its process."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import rclpy
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor

from mimo_embodied_ros.core.errors import MimoError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


def run(
    make: Callable[[], Any], name: str, args: Sequence[str] | None = None,
    start: Callable[[Any], bool] = lambda _: True,
) -> int:
    """Spin a node until it is interrupted; the exit code is 1 when it cannot start.

    Args:
        make: makes the node.
        name: of the logger that says why it cannot be made.
        args: of the command line; None: of this process.
        start: called with the node once it could be spun; False: it cannot start.

    """
    rclpy.init(args=args)
    node = None
    try:
        node = make()
        executor = SingleThreadedExecutor()
        executor.add_node(node)
        if not start(node):
            return 1
        executor.spin()
    except (KeyboardInterrupt, ExternalShutdownException):
        pass
    except MimoError as error:
        rclpy.logging.get_logger(name).fatal(f'{error.code.name}: {error}')
        return 1
    except RuntimeError:
        if rclpy.ok():  # else the interrupt came between the executor's check and its wait
            raise
    finally:
        if node is not None:
            node.destroy_node()
        rclpy.try_shutdown()
    return 0
