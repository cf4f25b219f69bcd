"""Records answers in a folder, for review and training: ``answers.jsonl`` and JPEGs beside it.

A line has ``id``, ``images``, ``task``, ``question`` and ``thinking`` as those of
``evaluation.dataset``, and ``recorded``: the fields of ``msg/Outcome``, the ``answer`` as its
message, the ``prompt``, the ``options`` of the question, and the origin of each image
(``frames``). Images have the size of the camera's, and answers are in their pixels. A request that
failed before the model was asked is not recorded.
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
_WAITING = 16  # answers with their images
_REMEMBERED = 64  # names of written images, to which further answers may refer
_CLOSING_S = 5.0  # a disk that hangs must not hold up the node


class Recorder:
    """Writes in a thread of its own. An answer that cannot be written is lost, with one warning.

    Recording goes on when the folder can be written again. A full folder is left as it is.
    """

    def __init__(
        self, folder: str, max_bytes: int, limits: PixelLimits, warn: Callable[[str], Any]
    ) -> None:
        """Start the thread.

        Args:
            folder: made where it is missing.
            max_bytes: that the folder may hold, earlier recordings included.
            limits: image areas of the model, for the prompts.
            warn: called with the reason why answers are not recorded, in either thread.

        """
        self._folder, self._max_bytes = Path(folder), max_bytes
        self._limits, self._warn = limits, warn
        self._bytes = -1  # not counted yet
        self._warned: set[str] = set()
        self._names: OrderedDict[Hashable, str] = OrderedDict()  # of written images
        self._waiting: queue.Queue[tuple[Query, Any, Any] | None] = queue.Queue(_WAITING)
        self._thread = threading.Thread(target=self._run, name='recorder', daemon=True)
        self._thread.start()

    def add(self, query: Query, outcome: Any, answer: Any) -> None:
        """Queue an answer to be written; from any thread, without waiting.

        Args:
            query: what the model was asked; the first query of several.
            outcome: ``msg/Outcome`` of the request.
            answer: the message of the answer; None where there is none.

        """
        try:
            self._waiting.put_nowait((query, outcome, answer))
        except queue.Full:
            self._warn_once('slow', (
                f'answers come faster than {self._folder} takes them; some are not recorded'))

    def close(self) -> None:
        """Write the queued answers, for a few seconds at most, and end the thread."""
        with contextlib.suppress(queue.Full):
            self._waiting.put(None, timeout=_CLOSING_S)
        self._thread.join(_CLOSING_S)

    def _run(self) -> None:
        while (item := self._waiting.get()) is not None:
            self._record(*item)

    def _record(self, query: Query, outcome: Any, answer: Any) -> None:
        try:
            self._write(query, outcome, answer)
            self._warned.discard('fault')
        except (OSError, ValueError) as error:  # ValueError: the picture cannot be a JPEG
            self._warn_once('fault', (
                f'{error}: answers are not recorded; free the disk or see to the permissions of '
                'the folder that record_to names'))

    def _warn_once(self, kind: str, text: str) -> None:
        if kind not in self._warned:
            self._warned.add(kind)
            self._warn(text)

    def _write(self, query: Query, outcome: Any, answer: Any) -> None:
        """Write one line and its images that are not written yet: all of them or nothing.

        Raises:
            OSError, ValueError: it cannot be written.

        """
        if 'full' in self._warned:
            return
        try:
            prompt = build_prompt(query, self._limits).text
        except MimoError:
            return  # the model was not asked either
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
                'frames': [_origin(frame) for frame in query.frames]},
        }), ensure_ascii=False).encode(errors='replace') + b'\n'
        size = len(line) + sum(len(data) for _, data in new.values())
        if self._bytes + size > self._max_bytes:
            self._warn_once('full', (
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
    """Append a line or nothing, since half a line would spoil the next one, too."""
    with file.open('ab', buffering=0) as output:
        before = output.tell()
        if output.write(line) < len(line):
            output.truncate(before)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(file))


def _origin(frame: Frame) -> dict[str, Any]:
    """Camera, stamp, size, intrinsics and odometry of an image."""
    fields = {name: getattr(frame, name)
             for name in ('camera', 'stamp_ns', 'frame_id', 'width', 'height')}
    for name in ('intrinsics', 'odometry'):
        value = getattr(frame, name)
        fields[name] = None if value is None else dataclasses.asdict(value)
    return fields
