"""Work on several items at once, so that a server that batches its requests is busy."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence

    Cancelled = Callable[[], bool]

T = TypeVar('T')
R = TypeVar('R')


def side_by_side(
    work: Callable[[T, Cancelled], R], items: Sequence[T], at_once: int
) -> Generator[tuple[int, R], None, None]:
    """Yield the index and the result of each item as soon as it is there.

    Close it if not all is taken (``contextlib.closing``): what has begun then ends before its time.
    So it does where the work at another item raises.

    Args:
        work: is called with an item, and with a function that returns True from when on the result
            is not wanted any more.
        items: to work on; they are begun in this order.
        at_once: how many at the same time, each in a thread; 1: in the calling thread.

    Raises:
        Exception: whatever ``work`` raised first.

    """
    if at_once == 1:
        for index, item in enumerate(items):
            yield index, work(item, lambda: False)
        return
    ended = threading.Event()
    with ThreadPoolExecutor(at_once, 'question') as pool:
        indices = {pool.submit(work, item, ended.is_set): index for index, item in enumerate(items)}
        try:
            for done in as_completed(indices):
                yield indices[done], done.result()
        finally:
            ended.set()
            pool.shutdown(wait=False, cancel_futures=True)
