"""Runs a program that ends quietly when it is interrupted."""

from __future__ import annotations

import math
import signal
import time
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    from collections.abc import Callable

_AGAIN_S = 10.0  # a later Ctrl-C is another one, since a library may have lost the first
_last = -math.inf


def run(main: Callable[[], int]) -> NoReturn:
    """Run the main function of a program, and end the process with its exit code.

    Ctrl-C is a KeyboardInterrupt, and exit code 0 where ``main`` does not handle it. When it is
    pressed again soon nothing happens, since that would break what ends already.

    Args:
        main: returns the exit code; what is slow to import is best imported there.

    """
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # not with nohup or `&`
        signal.signal(signal.SIGINT, _interrupt)
    try:
        code = main()
    except KeyboardInterrupt:
        code = 0
    except Exception:
        if not interrupted():
            raise
        code = 0
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    raise SystemExit(code)


def interrupted() -> bool:
    """Whether Ctrl-C was pressed; a library that is being imported may turn it into an error."""
    return _last > -math.inf


def _interrupt(*_: Any) -> None:
    global _last  # noqa: PLW0603 - signals are of the process
    if time.monotonic() < _last + _AGAIN_S:
        return
    _last = time.monotonic()
    raise KeyboardInterrupt
