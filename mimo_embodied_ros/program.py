"""Runs a program that ends quietly when it is interrupted, and only once."""

from __future__ import annotations

import gc
import signal
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    from collections.abc import Callable


def run(main: Callable[[], int]) -> NoReturn:
    """Run the main function of a program, and end the process with its exit code.

    The first Ctrl-C is a KeyboardInterrupt, and exit code 0 where ``main`` does not handle it. The
    next ones do nothing, since they would break what the first one ends.

    Args:
        main: returns the exit code; what is slow to import is best imported there.

    """
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # not with nohup or `&`
        signal.signal(signal.SIGINT, _interrupt)
    try:
        code = main()
    except KeyboardInterrupt:
        code = 0
    _begin_to_end()
    raise SystemExit(code)


def _begin_to_end() -> None:
    signal.signal(signal.SIGINT, _ignore)
    gc.freeze()  # else Python looks through all that was loaded before it ends, with torch for 1 s


def _interrupt(*_: Any) -> None:
    _begin_to_end()
    raise KeyboardInterrupt


def _ignore(*_: Any) -> None:
    pass
