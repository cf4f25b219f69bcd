"""Answers written to a folder, for review and training: ``answers.jsonl`` and JPEGs beside it.

A line has ``id``, ``images``, ``task``, ``question`` and ``thinking`` as those of
``evaluation.dataset``, and ``recorded``: the fields of ``msg/Outcome``, the ``answer`` as its
message, the ``prompt``, the ``options`` of the question, and what is known of each image
(``frames``). Images have the size of the camera's, in whose pixels the answers are. What the model
was never asked is not recorded.
"""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import json
import os
import queue
import threading
import time
from collections import OrderedDict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mimo_embodied_ros.core.errors import MimoError
from mimo_embodied_ros.core.prompts import build_prompt
from mimo_embodied_ros.pictures import jpeg
from mimo_embodied_ros.ros.messages import plain

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

    from mimo_embodied_ros.core.frames import Frame
    from mimo_embodied_ros.core.query import Query
    from mimo_embodied_ros.core.resize import PixelLimits

FILE = 'answers.jsonl'
_WAITING = 16  # with their images
_REMEMBERED = 64  # images that further answers may be about
_CLOSING_S = 5.0  # a disk that hangs must not hold up the node


class Recorder:
    """Writes in a thread of its own. What cannot be written is lost; that is said once.

    Recording goes on when it can be written again. Nothing is deleted: a full folder stays.
    """

    def __init__(
        self, folder: str, max_bytes: int, limits: PixelLimits, say: Callable[[str], Any]
    ) -> None:
        """Start the thread.

        Args:
            folder: made where it is not; ``~`` is the user's own.
            max_bytes: what the folder may hold, earlier recordings included.
            limits: areas of the model, for the prompts.
            say: gets why something is not recorded; in the thread or in that of ``add``.

        """
        self._folder, self._max_bytes = Path(folder).expanduser(), max_bytes
        self._limits, self._say = limits, say
        self._bytes = -1  # not counted yet
        self._said: set[str] = set()
        self._names: OrderedDict[Hashable, str] = OrderedDict()  # of images that are written
        self._waiting: queue.Queue[tuple[Query, Any, Any] | None] = queue.Queue(_WAITING)
        self._thread = threading.Thread(target=self._run, name='recorder', daemon=True)
        self._thread.start()

    def add(self, query: Query, outcome: Any, answer: Any) -> None:
        """Take an answer to write; from any thread, without waiting.

        Args:
            query: what the model was asked, the first where it was several things.
            outcome: ``msg/Outcome`` of the request.
            answer: its message; None where there is none.

        """
        try:
            self._waiting.put_nowait((query, outcome, answer))
        except queue.Full:
            self._say_once('slow', (
                f'answers come faster than {self._folder} takes them; some are not recorded'))

    def close(self) -> None:
        """Write what waits, for a few seconds at most, and end the thread."""
        with contextlib.suppress(queue.Full):
            self._waiting.put(None, timeout=_CLOSING_S)
        self._thread.join(_CLOSING_S)

    def _run(self) -> None:
        while (item := self._waiting.get()) is not None:
            self._record(*item)

    def _record(self, query: Query, outcome: Any, answer: Any) -> None:
        try:
            self._write(query, outcome, answer)
            self._said.discard('fault')
        except (OSError, ValueError) as error:  # the latter of pictures that are no JPEG
            self._say_once('fault', (
                f'{error}: answers are not recorded; free the disk or see to the permissions of '
                'the folder that record_to names'))

    def _say_once(self, kind: str, what: str) -> None:
        if kind not in self._said:
            self._said.add(kind)
            self._say(what)

    def _write(self, query: Query, outcome: Any, answer: Any) -> None:
        """Write one line and those of its images that are not there yet, all or nothing.

        Raises:
            OSError, ValueError: it cannot be written.

        """
        if 'full' in self._said:
            return
        try:
            prompt = build_prompt(query, self._limits).text
        except MimoError:
            return  # so that the model was not asked
        if self._bytes < 0:
            self._folder.mkdir(parents=True, exist_ok=True)
            self._bytes = sum(f.stat().st_size for f in self._folder.iterdir() if f.is_file())
        id_ = f'{outcome.kind}-{time.time_ns()}'
        new: dict[Hashable, tuple[str, bytes]] = {}
        images = []
        for frame in query.frames:
            key = frame.image_id
            if key not in self._names and key not in new:
                name = f'{id_}-{len(new)}.jpg'
                new[key] = name, jpeg(frame.pixels, size=(frame.width, frame.height))
            images.append(self._names.get(key) or new[key][0])
        line = json.dumps(plain({
            'id': id_, 'images': images, 'task': query.task.name, 'question': query.text,
            'thinking': query.thinks,
            'recorded': {
                **plain(outcome), 'answer': answer, 'prompt': prompt, 'options': query.options,
                'frames': [_known(frame) for frame in query.frames]},
        }), ensure_ascii=False).encode(errors='replace') + b'\n'
        size = len(line) + sum(len(data) for _, data in new.values())
        if self._bytes + size > self._max_bytes:
            self._say_once('full', (
                f'{self._folder} holds {self._bytes / 1e6:.1f} MB of at most '
                f'{self._max_bytes / 1e6:g}: answers are not recorded any more; move what it holds '
                'elsewhere or raise record_max_mb'))
            return
        try:
            for name, data in new.values():
                (self._folder / name).write_bytes(data)
            _append(self._folder / FILE, line)
        except OSError:
            for name, _ in new.values():
                with contextlib.suppress(OSError):
                    (self._folder / name).unlink(missing_ok=True)
            raise
        self._bytes += size
        self._names.update((key, name) for key, (name, _) in new.items())
        while len(self._names) > _REMEMBERED:
            self._names.popitem(last=False)


def _append(file: Path, line: bytes) -> None:
    """Add a line, or nothing: half of one would spoil the next, too."""
    with file.open('ab', buffering=0) as output:
        before = output.tell()
        if output.write(line) < len(line):
            output.truncate(before)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(file))


def _known(frame: Frame) -> dict[str, Any]:
    """What is known of an image."""
    known = {name: getattr(frame, name)
             for name in ('camera', 'stamp_ns', 'frame_id', 'width', 'height')}
    for name in ('intrinsics', 'odometry'):
        value = getattr(frame, name)
        known[name] = None if value is None else dataclasses.asdict(value)
    return known
