"""Runs a node as a program, from its start to the end of its process."""

from __future__ import annotations

import contextlib
import gc
import os
import sys
from typing import TYPE_CHECKING, Any, NoReturn

import rclpy
from rclpy.exceptions import (
    NameValidationException,
    NotInitializedException,
    ParameterException,
)
from rclpy.executors import ExternalShutdownException

from mimo_embodied_ros.core.characters import valid_text
from mimo_embodied_ros.core.errors import InvalidRequestError, MimoError
from mimo_embodied_ros.core.files import expand, reason

from .arguments import checked_arguments
from .executor import Executor
from .given_parameters import check_given
from .parameters import ros_reason

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, Sequence


LOST = 3
"""Exit code of a process that cannot go on where a new one could."""


class _ProcessLostError(Exception):
    """The process cannot do its work any more; the message says why."""


def give_up(reason: str) -> NoReturn:
    """End the process with the exit code LOST; called where callbacks run."""
    raise _ProcessLostError(reason)


def run(
    make: Callable[[], Any], name: str, args: Sequence[str] | None = None,
    start: Callable[[Any], bool | Awaitable[bool]] = lambda _: True,
) -> int:
    """Spin a node until it is interrupted.

    Args:
        make: makes the node.
        name: of the logger that says why it cannot be made.
        args: of the command line; None: of this process.
        start: a function, or a coroutine, that is called with the node when it is spun; False: it
            cannot start.

    Returns:
        The exit code: 0 after an interrupt, 1 if the node cannot start, LOST. If the node is
        ``hanging``, the process ends here.

    """
    node, code = None, 0
    args = sys.argv if args is None else args
    try:
        with until_shutdown():
            init(args)
            node = _made(make)
            for sentence in check_given(node, args):
                node.get_logger().warning(sentence)
            executor = Executor()
            executor.add_node(node)
            started = executor.create_task(start, node)
            executor.spin_until_future_complete(started)
            if started.done() and not started.result():
                code = 1
            else:
                executor.spin()
    except KeyboardInterrupt:
        pass
    except _ProcessLostError as error:
        rclpy.logging.get_logger(name).fatal(f'{error}; the exit code is {LOST}')
        code = LOST
    except MimoError as error:
        rclpy.logging.get_logger(name).fatal(f'{error.code.name}: {error}')
        code = 1
    finally:
        gc.freeze()  # else Python looks through all that was loaded while it ends, for seconds
        if node is not None:
            node.destroy_node()
        rclpy.try_shutdown()
    if getattr(node, 'hanging', False):
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    return code


@contextlib.contextmanager
def until_shutdown() -> Iterator[None]:
    """End quietly what is done when ROS is shut down, as an interrupt does."""
    try:
        yield
    except ExternalShutdownException:
        pass
    except (RuntimeError, NotInitializedException):
        # else the interrupt came before the node was made, or between the executor's check and its
        # wait
        if rclpy.ok():
            raise


def init(args: Sequence[str], **options: Any) -> None:
    """Initialise ROS, without a file for its log where none can be written.

    Args:
        args: of the command line; paths after ``--params-file`` may begin with ``~``.
        options: further arguments of ``rclpy.init``.

    Raises:
        InvalidRequestError: ROS does not take an argument, or a file of parameters.

    """
    args = checked_arguments(args)
    unwritable = _unwritable_log()
    if unwritable:
        args += ['--ros-args', '--disable-external-lib-logs']
    try:
        rclpy.init(args=args, **options)
    except UnicodeEncodeError as error:
        msg = f'{error.object!r} is not UTF-8; see the arguments after --ros-args'
        raise InvalidRequestError(msg) from error
    except (RuntimeError, NameValidationException) as error:
        msg = f'{ros_reason(error)}; see the arguments after --ros-args'
        raise InvalidRequestError(msg) from error
    if unwritable:
        rclpy.logging.get_logger('rcl').warning(valid_text(
            f'there is no file with the log ({unwritable}); set ROS_LOG_DIR to have one'))


def _made(make: Callable[[], Any]) -> Any:
    """Make the node.

    Raises:
        InvalidRequestError: a name or a parameter that ROS itself reads is not allowed.

    """
    try:
        return make()
    except (NameValidationException, ParameterException) as error:
        msg = f'{ros_reason(error)}; see the parameters and the arguments after --ros-args'
        raise InvalidRequestError(msg) from error


def _unwritable_log() -> str:
    """Why ROS cannot write a file with its log, which would end the program; else ''."""
    home = os.environ.get('ROS_HOME') or (os.environ.get('HOME') and os.environ['HOME'] + '/.ros')
    folder = os.environ.get('ROS_LOG_DIR') or (home and home + '/log')
    if not folder:
        return 'HOME is not set'
    try:
        expand(folder).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        return reason(error)
    return '' if os.access(expand(folder), os.W_OK) else f'{folder} cannot be written'
